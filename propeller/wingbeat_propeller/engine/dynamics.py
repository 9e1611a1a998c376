"""Workflows that dynamic tasks make while they run: compiled once an attempt, kept beside futures.pb, loaded after a
restart.

Compiling is work for the processor, done in a thread so that the loop goes on serving the other executions.
"""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from flyteidl.core import compiler_pb2, identifier_pb2
from flyteidl.event import event_pb2

from wingbeat_propeller.compiler.dynamic import (
    FUTURES_FILE,
    BadDynamicWorkflowError,
    DynamicSpec,
    compile_dynamic,
    compiled_uri,
    read_futures,
)
from wingbeat_propeller.compiler.plan import MalformedClosureError, build_plan
from wingbeat_propeller.compiler.references import KnownReferences
from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.reuse import Reuse
from wingbeat_propeller.core.rows import ElementRow, NodeRow
from wingbeat_propeller.core.state import ExecutionState
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError, riding_out
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.ports.executions import ExecutionStore

FUTURES_BYTES_MAX = 512 << 20
"""Largest futures.pb that is read."""
COMPILED_BYTES_MAX = 2 << 30
_OUTAGE_TRIES = 20
_OUTAGE_S = 0.5


class DynamicPlan(NamedTuple):
    """A workflow that a dynamic task has made, ready to run."""

    plan: Plan
    identifier: bytes
    """Serialized flyteidl.core.Identifier of the workflow."""
    futures_uri: str
    reuse: Reuse | None = None
    """What of it may be taken over from an execution that is recovered."""


class Dynamics:
    """Compiles and loads dynamic workflows."""

    def __init__(self, blobs: Blobs, store: ExecutionStore) -> None:
        self._blobs = blobs
        self._store = store

    async def compile(self, state: ExecutionState, launch: Launch) -> DynamicPlan | Failure:
        """The workflow in the futures.pb of an attempt, or why it cannot run. The compiled form is stored."""
        uri = f"{launch.output_dir}/{FUTURES_FILE}"
        identifier = identifier_pb2.Identifier(
            resource_type=identifier_pb2.WORKFLOW,
            project=state.project,
            domain=state.domain,
            name=f"dynamic_{launch.node_id}",
            version=launch.generated_name,
        )
        try:
            data = await riding_out(lambda: self._blobs.get(uri, FUTURES_BYTES_MAX), f"reading {uri}")
            spec = await asyncio.to_thread(read_futures, data, launch.task.template, identifier)
            found = await self._references(spec)
            plan, compiled = await asyncio.to_thread(_compile, spec, found)
            await riding_out(lambda: self._blobs.put(compiled_uri(uri), compiled), f"writing {compiled_uri(uri)}")
        except (BadDynamicWorkflowError, MalformedClosureError, BlobTooLargeError) as error:
            return Failure(ErrorKind.USER, "DynamicWorkflowBuildFailed", f"the dynamic workflow cannot run: {error}")
        except BlobNotFoundError:
            return Failure(ErrorKind.SYSTEM, "FuturesFileNotFound", f"{uri} vanished while it was read", retryable=True)
        except BlobStoreFailedError as error:
            return error.failure()
        except OSError as error:
            text = f"what the dynamic workflow refers to cannot be looked up: {error}"
            return Failure(ErrorKind.SYSTEM, "DynamicWorkflowBuildFailed", text, retryable=True)
        return DynamicPlan(plan, identifier.SerializeToString(), uri)

    async def load(self, futures_uri: str) -> Plan:
        """The plan of a dynamic node that was compiled before. Raises BlobStoreFailedError, BlobNotFoundError,
        MalformedClosureError."""
        uri = compiled_uri(futures_uri)
        data = await riding_out(lambda: self._blobs.get(uri, COMPILED_BYTES_MAX), f"reading {uri}")
        return await asyncio.to_thread(_load, data)

    async def load_all(
        self, rows: Iterable[NodeRow], elements: Iterable[ElementRow] = ()
    ) -> dict[tuple[str, int], Plan]:
        """The plans of all dynamic nodes and elements under way, by unique node id (ElementRow.dynamic_id) and attempt.

        Raises as `load`, and DecodeError.
        """
        plans = {
            (row.node_id, row.attempt): await self.load(_futures_uri(row))
            for row in rows
            if row.phase == NodePhase.DYNAMIC_RUNNING
        }
        for element in elements:
            if element.is_dynamic and element.futures_uri is not None:
                plans[element.dynamic_id, element.attempt] = await self.load(element.futures_uri)
        return plans

    async def _references(self, spec: DynamicSpec) -> KnownReferences:
        """Raises OSError for a database that does not answer for ten seconds."""
        for attempt in range(_OUTAGE_TRIES):
            try:
                return await self._store.references(spec.missing.tasks, spec.missing.launch_plans)
            except OSError:
                if attempt + 1 == _OUTAGE_TRIES:
                    raise
            await asyncio.sleep(_OUTAGE_S)
        raise AssertionError("the loop returns or raises")


def _compile(spec: DynamicSpec, found: KnownReferences) -> tuple[Plan, bytes]:
    closure = compile_dynamic(spec, found)
    return build_plan(closure), closure.SerializeToString()


def _futures_uri(row: NodeRow) -> str:
    details = event_pb2.NodeExecutionEvent.FromString(row.details or b"")
    return details.task_node_metadata.dynamic_workflow.dynamic_job_spec_uri


def _load(data: bytes) -> Plan:
    return build_plan(compiler_pb2.CompiledWorkflowClosure.FromString(data))
