"""Executions that others are made from: relaunched, or recovered."""

from dataclasses import dataclass

import asyncpg
from flyteidl.admin import execution_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import failed_precondition, not_found
from wingbeat_controlplane.executions.identifiers import check_execution_id, execution_label
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.executions", "changes.sql")


@dataclass(frozen=True, slots=True)
class SourceExecution:
    """An execution as it was asked for. The spec is the caller's to change."""

    id: int
    identifier: identifier_pb2.WorkflowExecutionIdentifier
    workflow_id: int
    spec: execution_pb2.ExecutionSpec
    user_inputs: bytes
    """Serialized LiteralMap: what its caller gave."""


class SourceExecutions:
    """Finds them."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs) -> None:
        self._pool = pool
        self._blobs = blobs

    async def find(
        self, identifier: identifier_pb2.WorkflowExecutionIdentifier, *, present: bool = True
    ) -> SourceExecution:
        """An execution in any phase; `present` says whether the request named one.

        What tied it to the node that made it is left out of the spec: the new one is nobody's child. Raises ApiError
        INVALID_ARGUMENT, NOT_FOUND, and FAILED_PRECONDITION when the blob with its inputs is gone.
        """
        check_execution_id(identifier, present=present)
        name = (identifier.project, identifier.domain, identifier.name)
        row = await self._pool.fetchrow(_SQL["find_source"], *name)
        if row is None:
            raise not_found("execution", identifier)
        inputs = row["user_inputs"] or b""
        if row["user_inputs_uri"] is not None:
            try:
                inputs = await self._blobs.get(row["user_inputs_uri"])
            except BlobNotFoundError as error:
                raise failed_precondition(
                    f"the inputs of execution [{execution_label(identifier)}] are gone from the blob store"
                ) from error
        spec = execution_pb2.ExecutionSpec.FromString(row["spec"])
        spec.metadata.ClearField("parent_node_execution")
        spec.metadata.ClearField("nesting")
        return SourceExecution(row["id"], identifier, row["workflow_id"], spec, inputs)
