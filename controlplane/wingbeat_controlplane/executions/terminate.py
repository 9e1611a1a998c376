"""TerminateExecution: a wish written into the row. The engine carries it out; its ABORTED makes it final."""

import asyncpg
from flyteidl.admin import event_pb2, execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import failed_precondition, invalid_argument, not_found
from wingbeat_controlplane.executions.identifiers import check_execution_id
from wingbeat_propeller.postgres.queries import load_queries

CAUSE_BYTES_MAX = 64 * 1024
"""A cause stands in every answer about the execution, lists included."""

_SQL = load_queries("wingbeat_controlplane.executions", "changes.sql")


class Terminator:
    """Requests aborts."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def terminate(self, request: execution_pb2.ExecutionTerminateRequest, *, principal: str) -> None:
        """Show the execution as ABORTING at once and wake its engine; again while it aborts replaces the cause.

        Executions that its eager tasks have started, and theirs, go with it.

        Raises ApiError INVALID_ARGUMENT, NOT_FOUND, and FAILED_PRECONDITION (with an EventFailureReason) when the
        execution has ended.
        """
        identifier = request.id
        check_execution_id(identifier, present=request.HasField("id"))
        if len(request.cause.encode()) > CAUSE_BYTES_MAX:
            raise invalid_argument(f"invalid value for cause: longer than {CAUSE_BYTES_MAX} bytes")
        name = (identifier.project, identifier.domain, identifier.name)
        if await self._pool.fetchrow(_SQL["request_abort"], *name, request.cause, principal) is not None:
            await self._cascade(identifier, request.cause, principal)
            return
        phase = await self._pool.fetchval(_SQL["get_phase"], *name)
        if phase is None:
            raise not_found("execution", identifier)
        reason = event_pb2.EventFailureReason(
            already_in_terminal_state=event_pb2.EventErrorAlreadyInTerminalState(
                current_phase=core_execution_pb2.WorkflowExecution.Phase.Name(phase)
            )
        )
        raise failed_precondition("Cannot abort an already terminated workflow execution", [reason])

    async def _cascade(
        self, identifier: identifier_pb2.WorkflowExecutionIdentifier, cause: str, principal: str
    ) -> None:
        """Level by level, each a statement of its own that holds no locks for the next. What is started meanwhile, or
        when this process dies in between, is found by the engines' sweep for orphans."""
        reason = f"cascading abort as eager execution [{identifier.name}] was aborted, reason [{cause}]"
        names = [identifier.name]
        while names:
            rows = await self._pool.fetch(
                _SQL["abort_eager_children"], identifier.project, identifier.domain, names, reason, principal
            )
            names = [row["name"] for row in rows]
