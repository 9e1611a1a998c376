"""UpdateExecution: archiving hides an execution from lists and changes nothing else; it goes on if it runs."""

import asyncpg
from flyteidl.admin import execution_pb2

from wingbeat_controlplane.errors import invalid_value, not_found
from wingbeat_controlplane.executions.identifiers import check_execution_id
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.executions", "changes.sql")


class Archiver:
    """Sets the state of executions."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def update(self, request: execution_pb2.ExecutionUpdateRequest, *, principal: str) -> None:
        """Archive or restore. Raises ApiError INVALID_ARGUMENT, NOT_FOUND."""
        identifier = request.id
        check_execution_id(identifier, present=request.HasField("id"))
        if request.state not in execution_pb2.ExecutionState.values():
            raise invalid_value("state")
        changed = await self._pool.fetchval(
            _SQL["set_state"], identifier.project, identifier.domain, identifier.name, request.state, principal
        )
        if changed is None:
            raise not_found("execution", identifier)
