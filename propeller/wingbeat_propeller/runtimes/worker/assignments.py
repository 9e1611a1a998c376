"""From a container request to what a worker is told; no I/O."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wingbeat_propeller.ports.tasks import ContainerRequest
from wingbeat_propeller.runtimes.local.process_environment import can_be_set, description, requested_environment
from wingbeatidl.worker.v1 import worker_pb2

_IDENTITY = frozenset(
    {
        "FLYTE_INTERNAL_EXECUTION_WORKFLOW",
        "FLYTE_INTERNAL_EXECUTION_ID",
        "FLYTE_ATTEMPT_NUMBER",
        "FLYTE_INTERNAL_TASK_NAME",
        "FLYTE_K8S_ARRAY_INDEX",
        "BATCH_JOB_ARRAY_INDEX_VAR_NAME",
        "WINGBEAT_LABELS",
        "WINGBEAT_ANNOTATIONS",
        "WINGBEAT_INTERRUPTIBLE",
    }
)
"""Variables that tell attempts of the same code apart; what reads them when it is imported sees those of the first."""
_DISTRIBUTION = "--additional-distribution"


CODES_MAX = 1_000
"""Kinds of environments that are remembered."""


class Handover(NamedTuple):
    """What a worker needs to run an attempt; `code` has what the assignment shares with others."""

    assignment: bytes
    """Serialized WorkResponse with nothing but the assignment: to read that into a message costs a fifth of copying the
    assignment there."""
    code: worker_pb2.Code


class Assignments:
    """Makes them. What attempts of the same code have in common is put together once."""

    def __init__(self, *, store_env: Mapping[str, str], extra_env: Mapping[str, str]) -> None:
        """`store_env` comes before all that tasks and executions ask for, `extra_env` after it."""
        self._store_env = store_env
        self._extra_env = extra_env
        self._extra_identity = {name: value for name, value in extra_env.items() if name in _IDENTITY}
        self._codes: dict[tuple[str, str, tuple[tuple[str, str], ...]], worker_pb2.Code] = {}

    def make(self, request: ContainerRequest, token: int) -> Handover:
        """For one handing over of an attempt."""
        shared = tuple([item for item in request.env.items() if item[0] not in _IDENTITY])
        kind = request.image, _archive(request.argv), shared
        code = self._codes.get(kind)
        if code is None:
            if len(self._codes) >= CODES_MAX:
                self._codes.clear()
            code = self._codes[kind] = self._code(request)
        own = description(request)
        if len(shared) < len(request.env):
            own.update([item for item in request.env.items() if item[0] in _IDENTITY])
        own |= self._extra_identity
        response = worker_pb2.WorkResponse()
        response.assign.add(
            reference=worker_pb2.Reference(name=request.name, token=token),
            code=code.key,
            argv=request.argv,
            env={name: value for name, value in own.items() if can_be_set(name, value)},
            inputs=request.inputs,
            timeout_s=request.timeout_s or 0.0,
            memory_limit_bytes=request.memory_limit_bytes or 0,
            cpu_limit=request.cpu_limit or 0.0,
        )
        return Handover(response.SerializeToString(), code)

    def _code(self, request: ContainerRequest) -> worker_pb2.Code:
        """Its key is equal for attempts that may run in the same process: same image and code archive, and the same
        environment but for what names the attempt. The version of the task is part of that environment."""
        env = {**self._store_env, **requested_environment(request, self._extra_env)}
        shared = {name: env[name] for name in sorted(env) if name not in _IDENTITY}
        parts = [request.image, _archive(request.argv), *(f"{name}={value}" for name, value in shared.items())]
        return worker_pb2.Code(key=hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32], env=shared)


def _archive(argv: Sequence[str]) -> str:
    """The code archive of a command of fast registration."""
    return argv[argv.index(_DISTRIBUTION) + 1] if _DISTRIBUTION in argv[:-1] else ""
