"""RelaunchExecution: the same spec and the caller's inputs of then, through the whole way of a creation."""

from flyteidl.admin import execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2

from wingbeat_controlplane.executions.launch import Caller, Launcher
from wingbeat_controlplane.executions.source_executions import SourceExecutions


class Relauncher:
    """Launches executions again."""

    def __init__(self, sources: SourceExecutions, launcher: Launcher) -> None:
        self._sources = sources
        self._launcher = launcher

    async def relaunch(
        self, request: execution_pb2.ExecutionRelaunchRequest, caller: Caller
    ) -> identifier_pb2.WorkflowExecutionIdentifier:
        """A new execution that names the old one, which may be in any phase, as its reference.

        Raises ApiError as a creation does; NOT_FOUND also for the old execution, FAILED_PRECONDITION when the blob with
        its inputs is gone.
        """
        source = await self._sources.find(request.id, present=request.HasField("id"))
        creation = execution_pb2.ExecutionCreateRequest(
            project=source.identifier.project,
            domain=source.identifier.domain,
            name=request.name,
            spec=source.spec,
            inputs=literals_pb2.LiteralMap.FromString(source.user_inputs),
        )
        creation.spec.overwrite_cache = request.overwrite_cache
        creation.spec.metadata.mode = execution_pb2.ExecutionMetadata.RELAUNCH
        creation.spec.metadata.reference_execution.CopyFrom(source.identifier)
        return await self._launcher.create(creation, caller, source_execution_id=source.id)
