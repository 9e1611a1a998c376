"""Executions of launch plan nodes: created as a client would create them, with the settings of their parent.

Satisfies `ports.Children` of the propeller, which knows nothing of launch plans. The name of a child follows from its
node, so creating it twice makes one.
"""

from collections.abc import Mapping, Sequence

import asyncpg
import grpc
import structlog
from flyteidl.admin import common_pb2, execution_pb2, matchable_resource_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.launch import Caller, Launcher
from wingbeat_controlplane.executions.launch_targets import LaunchTargets
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.executions.recovery_plans import RecoveryPlanner
from wingbeat_controlplane.executions.terminate import Terminator
from wingbeat_controlplane.registry.own_annotations import PRIORITY
from wingbeat_controlplane.registry.registry import Registry
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.plan import LaunchPlanSpec
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.ports.children import ChildEnd, ChildRefusedError, ChildRequest
from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.recovery.v1 import recovery_pb2

_log = structlog.get_logger(__name__)
_SQL = load_queries("wingbeat_controlplane.executions", "children.sql")

NESTING_MAX = 100
"""How deep executions may launch executions; a launch plan that launches itself ends there."""

_WORTH_A_RETRY = frozenset(
    {
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
_OWN_LABEL = "shard-key"


class ChildExecutions:
    """Creates, finds and terminates children; see `ports.Children`."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        launcher: Launcher,
        terminator: Terminator,
        planner: RecoveryPlanner | None = None,
    ) -> None:
        self._pool = pool
        self._planner = planner
        """Without one, whatever is recovered is taken to be of the same version."""
        self._launcher = launcher
        self._terminator = terminator

    async def launch(self, request: ChildRequest) -> int:
        """Create the child, or find the one that this node has created. Raises ChildRefusedError, OSError."""
        key = (request.parent, request.node_id, request.name)
        with outages_as_oserror():
            parent = await self._pool.fetchrow(_SQL["parent_settings"], request.parent)
        if parent is None:
            raise _refused(f"execution '{request.parent_name}' is not there any more")
        spec = execution_pb2.ExecutionSpec.FromString(parent["spec"])
        if spec.metadata.nesting >= NESTING_MAX:
            raise _refused(f"executions are nested {NESTING_MAX} levels deep: does the launch plan launch itself?")
        config = matchable_resource_pb2.WorkflowExecutionConfig.FromString(parent["config"])
        create = _create_request(request, config)
        if parent["priority"]:
            create.spec.annotations.values[PRIORITY] = str(parent["priority"])
        try:
            with outages_as_oserror():
                caller = Caller(parent["principal"], "propeller")
                recovery = await self._recovery(create, caller, request.recovers, parent["recovery"])
                await self._launcher.create(
                    create,
                    caller,
                    source_execution_id=None if recovery is None else recovery.source,
                    recovery=recovery,
                )
        except ApiError as error:
            if error.code in _WORTH_A_RETRY:
                raise OSError(error.message) from error
            if error.code is not grpc.StatusCode.ALREADY_EXISTS:
                raise _refused(error.message) from error
            found = await self.find([key])
            if key not in found:
                raise _refused(error.message) from error
            return found[key]
        return (await self.find([key]))[key]

    async def _recovery(
        self,
        create: execution_pb2.ExecutionCreateRequest,
        caller: Caller,
        recovers: str | None,
        around: bytes | None,
    ) -> recovery_pb2.Recovery | None:
        """How the child takes over what the execution `recovers` has done, which `create` then says; None when there is
        nothing to take over, or nothing any more. `around` is the recovery that the parent is."""
        if recovers is None:
            return None
        project, domain, name = recovers.split(":")
        source = await self._pool.fetchrow(_SQL["source"], project, domain, name)
        if source is None:
            return None
        metadata = create.spec.metadata
        metadata.mode = execution_pb2.ExecutionMetadata.RECOVERED
        metadata.reference_execution.project, metadata.reference_execution.domain = project, domain
        metadata.reference_execution.name = name
        if self._planner is None:
            return recovery_pb2.Recovery(source=source["id"])
        resolved = await self._launcher.resolve(create, caller, source_execution_id=source["id"])
        parent = recovery_pb2.Recovery.FromString(around or b"")
        try:
            return await self._planner.plan_child(
                source["id"], source["workflow_id"], resolved.decision.target.workflow_id, resolved.inputs, parent
            )
        except ApiError as error:
            if error.code is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
            _log.warning("a child takes nothing over", child=create.name, source=name, error=error.message)
            return None

    async def find(self, requests: Sequence[tuple[int, str, str]]) -> Mapping[tuple[int, str, str], int]:
        """Row ids of the children that exist, by parent, node and name."""
        parents = [parent for parent, _, _ in requests]
        nodes = [node_id for _, node_id, _ in requests]
        names = [name for _, _, name in requests]
        with outages_as_oserror():
            rows = await self._pool.fetch(_SQL["find"], parents, nodes, names)
        return {(row["parent"], row["node_id"], row["name"]): row["id"] for row in rows}

    async def ended(self, executions: Sequence[int]) -> Sequence[ChildEnd]:
        """Those that have ended or do not exist."""
        with outages_as_oserror():
            rows = await self._pool.fetch(_SQL["ended"], list(executions))
        return [
            ChildEnd(
                execution=row["id"],
                phase=row["phase"],
                outputs=row["outputs"],
                outputs_uri=row["outputs_uri"],
                failure=None if row["error"] is None else _failure(row["error"]),
                error_uri=row["error_uri"],
            )
            for row in rows
        ]

    async def abort(self, project: str, domain: str, name: str, cause: str) -> None:
        """Terminate a child; one that does not exist or has ended is no error."""
        identifier = identifier_pb2.WorkflowExecutionIdentifier(project=project, domain=domain, name=name)
        request = execution_pb2.ExecutionTerminateRequest(id=identifier, cause=cause)
        try:
            with outages_as_oserror():
                await self._terminator.terminate(request, principal="")
        except ApiError as error:
            if error.code not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION):
                raise OSError(error.message) from error

    async def abort_orphans(self) -> int:
        """Terminate executions whose node has ended without them, and those of eager tasks that failed or were cut."""
        with outages_as_oserror():
            orphans = await self._pool.fetchval(_SQL["abort_orphans"])
            return int(orphans) + int(await self._pool.fetchval(_SQL["abort_eager_orphans"]))


def open_children(pool: asyncpg.Pool, blobs: Blobs, registry: Registry, options: ExecutionOptions) -> ChildExecutions:
    """What an engine needs to create executions of its own; `options` are those that the server launches with."""
    launcher = Launcher(pool, blobs, registry.projects, registry.attributes, LaunchTargets(registry), options)
    return ChildExecutions(pool, launcher, Terminator(pool), RecoveryPlanner(pool, blobs, registry))


def _create_request(
    request: ChildRequest, config: matchable_resource_pb2.WorkflowExecutionConfig
) -> execution_pb2.ExecutionCreateRequest:
    parent = identifier_pb2.WorkflowExecutionIdentifier(
        project=request.project, domain=request.domain, name=request.parent_name
    )
    spec = child_spec(request.launch_plan, config)
    spec.metadata.CopyFrom(
        execution_pb2.ExecutionMetadata(
            mode=execution_pb2.ExecutionMetadata.CHILD_WORKFLOW,
            nesting=1,
            parent_node_execution=identifier_pb2.NodeExecutionIdentifier(node_id=request.node_id, execution_id=parent),
        )
    )
    return execution_pb2.ExecutionCreateRequest(
        project=request.project,
        domain=request.domain,
        name=request.name,
        spec=spec,
        inputs=literals_pb2.LiteralMap.FromString(request.inputs),
    )


def child_spec(
    plan: LaunchPlanSpec, config: matchable_resource_pb2.WorkflowExecutionConfig
) -> execution_pb2.ExecutionSpec:
    """What a child is launched with: what its node names, and what it inherits of its parent's effective settings."""
    spec = execution_pb2.ExecutionSpec(
        launch_plan=identifier_pb2.Identifier(
            resource_type=identifier_pb2.LAUNCH_PLAN,
            project=plan.project,
            domain=plan.domain,
            name=plan.name,
            version=plan.version,
        ),
        labels=common_pb2.Labels(
            values={key: value for key, value in config.labels.values.items() if key != _OWN_LABEL}
        ),
        annotations=config.annotations,
        security_context=config.security_context,
        max_parallelism=config.max_parallelism,
        raw_output_data_config=config.raw_output_data_config,
        overwrite_cache=config.overwrite_cache,
        envs=config.envs,
    )
    if config.HasField("interruptible"):
        spec.interruptible.CopyFrom(config.interruptible)
    return spec


def _refused(reason: str) -> ChildRefusedError:
    return ChildRefusedError(Failure(ErrorKind.USER, "RuntimeExecutionError", reason))


def _failure(data: bytes) -> Failure:
    error = core_execution_pb2.ExecutionError.FromString(data)
    return Failure(ErrorKind(error.kind), error.code, error.message)
