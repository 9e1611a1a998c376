"""Recovering executions: a new execution with the spec and inputs of an old one that takes over what succeeded there.

Here only the wish is written down, with the new row; the engine that takes it up looks each node up in the old
execution (`core.reuse`). AdminService recovers with the same version of everything. Our own RecoveryService may run
another version, says what becomes of each node, and can do no more than that.
"""

from dataclasses import dataclass

from flyteidl.admin import execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2

from wingbeat_controlplane.errors import invalid_argument
from wingbeat_controlplane.executions.launch import Caller, Launcher
from wingbeat_controlplane.executions.recovery_plans import RecoveryPlanner, Wish
from wingbeat_controlplane.executions.source_executions import SourceExecution, SourceExecutions
from wingbeatidl.recovery.v1 import recovery_pb2

NODES_DEFAULT = 1_000
NODES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Recoverer:
    """Goes on from executions."""

    sources: SourceExecutions
    launcher: Launcher
    planner: RecoveryPlanner

    async def recover(
        self, request: execution_pb2.ExecutionRecoverRequest, caller: Caller
    ) -> identifier_pb2.WorkflowExecutionIdentifier:
        """A new execution of the same code; the old one may be in any phase.

        Raises ApiError as a creation does; NOT_FOUND also for the old execution, FAILED_PRECONDITION when the blob with
        its inputs is gone.
        """
        source = await self.sources.find(request.id, present=request.HasField("id"))
        creation = _creation(source, request.name)
        if request.metadata.HasField("parent_node_execution"):
            creation.spec.metadata.parent_node_execution.CopyFrom(request.metadata.parent_node_execution)
        return await self.launcher.create(
            creation, caller, source_execution_id=source.id, recovery=recovery_pb2.Recovery(source=source.id)
        )

    async def recover_version(
        self, request: recovery_pb2.RecoverExecutionRequest, caller: Caller
    ) -> recovery_pb2.RecoverExecutionResponse:
        """A new execution of the same or another version, and what becomes of its nodes.

        Raises ApiError as `recover` does; NOT_FOUND also for the version, INVALID_ARGUMENT for names that fit nothing.
        """
        if request.nodes_max < 0:
            raise invalid_argument("invalid value for nodes_max: negative")
        if request.assume_unchanged and not request.version:
            raise invalid_argument("assume_unchanged is about another version of the code: name that version")
        execution = request.execution
        identifier = identifier_pb2.WorkflowExecutionIdentifier(
            project=execution.project, domain=execution.domain, name=execution.name
        )
        source = await self.sources.find(identifier, present=request.HasField("execution"))
        creation = _creation(source, request.name)
        if request.version:
            creation.spec.launch_plan.version = request.version
        resolved = await self.launcher.resolve(creation, caller, source_execution_id=source.id)
        wish = Wish(tuple(request.rerun), tuple(request.assume_unchanged))
        plan = await self.planner.plan(
            source.id, source.workflow_id, resolved.decision.target.workflow_id, resolved.inputs, wish
        )
        shown = min(request.nodes_max or NODES_DEFAULT, NODES_MAX)
        reused = sum(decision.fate == recovery_pb2.FATE_REUSED for decision in plan.decisions)
        answer = recovery_pb2.RecoverExecutionResponse(
            version=creation.spec.launch_plan.version,
            nodes=plan.decisions[:shown],
            reused_count=reused,
            run_count=len(plan.decisions) - reused,
            omitted_count=max(0, len(plan.decisions) - shown),
        )
        if not request.dry_run:
            created = await self.launcher.create(creation, caller, source_execution_id=source.id, recovery=plan.stored)
            answer.execution.project, answer.execution.domain = created.project, created.domain
            answer.execution.name = created.name
        return answer


def _creation(source: SourceExecution, name: str) -> execution_pb2.ExecutionCreateRequest:
    creation = execution_pb2.ExecutionCreateRequest(
        project=source.identifier.project,
        domain=source.identifier.domain,
        name=name,
        spec=source.spec,
        inputs=literals_pb2.LiteralMap.FromString(source.user_inputs),
    )
    creation.spec.metadata.mode = execution_pb2.ExecutionMetadata.RECOVERED
    creation.spec.metadata.reference_execution.CopyFrom(source.identifier)
    return creation
