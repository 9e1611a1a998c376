"""RecoverExecution: a new execution with the spec and inputs of an old one that takes over what succeeded there.

Here only the wish is written down, with the new row; the engine that takes it up looks each node up in the old
execution (`core.reuse`).
"""

from flyteidl.admin import execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2

from wingbeat_controlplane.executions.launch import Caller, Launcher
from wingbeat_controlplane.executions.source_executions import SourceExecution, SourceExecutions
from wingbeatidl.recovery.v1 import recovery_pb2


class Recoverer:
    """Goes on from executions."""

    def __init__(self, sources: SourceExecutions, launcher: Launcher) -> None:
        self._sources = sources
        self._launcher = launcher

    async def recover(
        self, request: execution_pb2.ExecutionRecoverRequest, caller: Caller
    ) -> identifier_pb2.WorkflowExecutionIdentifier:
        """A new execution of the same code; the old one may be in any phase.

        Raises ApiError as a creation does; NOT_FOUND also for the old execution, FAILED_PRECONDITION when the blob with
        its inputs is gone.
        """
        source = await self._sources.find(request.id, present=request.HasField("id"))
        creation = recovering(source, request.name)
        if request.metadata.HasField("parent_node_execution"):
            creation.spec.metadata.parent_node_execution.CopyFrom(request.metadata.parent_node_execution)
        return await self._launcher.create(
            creation, caller, source_execution_id=source.id, recovery=recovery_pb2.Recovery(source=source.id)
        )


def recovering(source: SourceExecution, name: str) -> execution_pb2.ExecutionCreateRequest:
    """The request that creates an execution which goes on from `source`."""
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
