"""From a container request to what a worker is told; no I/O."""

import hashlib
from collections.abc import Mapping

from wingbeat_propeller.ports.tasks import ContainerRequest
from wingbeat_propeller.runtimes.local.process_environment import requested_environment
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


def assignment_of(
    request: ContainerRequest, token: int, *, store_env: Mapping[str, str], extra_env: Mapping[str, str]
) -> worker_pb2.Assignment:
    """What a worker needs to run an attempt."""
    env = {**store_env, **requested_environment(request, extra_env)}
    return worker_pb2.Assignment(
        reference=worker_pb2.Reference(name=request.name, token=token),
        code=code_key(request, env),
        argv=request.argv,
        env=env,
        inputs=request.inputs,
        timeout_s=request.timeout_s or 0.0,
        memory_limit_bytes=request.memory_limit_bytes or 0,
        cpu_limit=request.cpu_limit or 0.0,
    )


def code_key(request: ContainerRequest, env: Mapping[str, str]) -> str:
    """Equal for attempts that may run in the same process: same image and code archive, and the same environment but
    for what names the attempt. The version of the task is part of that environment."""
    argv = request.argv
    archive = argv[argv.index(_DISTRIBUTION) + 1] if _DISTRIBUTION in argv[:-1] else ""
    parts = [request.image, archive]
    parts += [f"{key}={env[key]}" for key in sorted(env) if key not in _IDENTITY]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
