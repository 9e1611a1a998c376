"""RelaunchExecution: the same spec and the caller's inputs of then, through the whole way of a creation."""

import asyncpg
from flyteidl.admin import execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2

from wingbeat_controlplane.errors import failed_precondition, not_found
from wingbeat_controlplane.executions.identifiers import check_execution_id, execution_label
from wingbeat_controlplane.executions.launch import Caller, Launcher
from wingbeat_propeller.ports import BlobNotFoundError, Blobs
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.executions", "changes.sql")


class Relauncher:
    """Launches executions again."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs, launcher: Launcher) -> None:
        self._pool = pool
        self._blobs = blobs
        self._launcher = launcher

    async def relaunch(
        self, request: execution_pb2.ExecutionRelaunchRequest, caller: Caller
    ) -> identifier_pb2.WorkflowExecutionIdentifier:
        """A new execution that names the old one, which may be in any phase, as its reference.

        Raises ApiError as a creation does; NOT_FOUND also for the old execution, FAILED_PRECONDITION when the blob with
        its inputs is gone.
        """
        source = request.id
        check_execution_id(source, present=request.HasField("id"))
        row = await self._pool.fetchrow(_SQL["find_source"], source.project, source.domain, source.name)
        if row is None:
            raise not_found("execution", source)
        inputs = await self._user_inputs(row, source)
        creation = execution_pb2.ExecutionCreateRequest(
            project=source.project,
            domain=source.domain,
            name=request.name,
            spec=execution_pb2.ExecutionSpec.FromString(row["spec"]),
            inputs=literals_pb2.LiteralMap.FromString(inputs),
        )
        creation.spec.overwrite_cache = request.overwrite_cache
        creation.spec.metadata.mode = execution_pb2.ExecutionMetadata.RELAUNCH
        creation.spec.metadata.reference_execution.CopyFrom(source)
        return await self._launcher.create(creation, caller, source_execution_id=row["id"])

    async def _user_inputs(self, row: asyncpg.Record, source: identifier_pb2.WorkflowExecutionIdentifier) -> bytes:
        if row["user_inputs_uri"] is None:
            return row["user_inputs"] or b""
        try:
            return await self._blobs.get(row["user_inputs_uri"])
        except BlobNotFoundError as error:
            raise failed_precondition(
                f"the inputs of execution [{execution_label(source)}] are gone from the blob store"
            ) from error
