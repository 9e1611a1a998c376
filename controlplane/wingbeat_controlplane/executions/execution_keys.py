"""Row ids of executions by name. A name belongs to one row for ever, so what was found once is kept.

Reads of nodes and attempts come in thousands for the same execution (clients re-read all nodes at each poll); with the
row's id at hand each is one look into one index.
"""

import asyncpg
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.registry.recent import Recent
from wingbeat_propeller.postgres.queries import load_queries

KEPT_MAX = 20_000
"""Ids kept in memory, a few MiB."""

_SQL = load_queries("wingbeat_controlplane.executions", "execution_keys.sql")


class ExecutionKeys:
    """Finds row ids."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._kept: Recent[tuple[str, str, str], int] = Recent(KEPT_MAX)

    async def find(self, identifier: identifier_pb2.WorkflowExecutionIdentifier) -> int | None:
        """The row of an execution, None when there is none (yet)."""
        name = (identifier.project, identifier.domain, identifier.name)
        kept = self._kept.get(name)
        if kept is not None:
            return kept
        found: int | None = await self._pool.fetchval(_SQL["find_execution"], *name)
        if found is not None:
            self._kept.put(name, found, 1)
        return found
