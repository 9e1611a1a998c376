"""Executions that others recover, as the engine reads them: only rows, and only those that it asks for."""

from collections.abc import Mapping, Sequence

import asyncpg

from wingbeat_propeller.core.rows import ElementRow, NodeRow
from wingbeat_propeller.ports.sources import SourceExecution
from wingbeat_propeller.postgres.executions import node_row
from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "sources.sql")


class PostgresSources:
    """Satisfies `ports.Sources`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def execution(self, execution: int) -> SourceExecution | None:
        """See `ports.Sources.execution`."""
        with outages_as_oserror():
            row = await self._pool.fetchrow(_SQL["source_execution"], execution)
        return None if row is None else SourceExecution(row["id"], row["name"], row["workflow_id"], row["config"])

    async def nodes(self, asked: Sequence[tuple[int, str]]) -> Mapping[tuple[int, str], NodeRow]:
        """See `ports.Sources.nodes`; one statement, whatever the number."""
        if not asked:
            return {}
        executions = [execution for execution, _ in asked]
        node_ids = [node_id for _, node_id in asked]
        with outages_as_oserror():
            rows = await self._pool.fetch(_SQL["source_nodes"], executions, node_ids)
        return {(row["execution_id"], row["node_id"]): node_row(row) for row in rows}

    async def elements(self, execution: int, array_id: str, *, after: int, limit: int) -> Sequence[ElementRow]:
        """See `ports.Sources.elements`."""
        with outages_as_oserror():
            rows = await self._pool.fetch(_SQL["source_elements"], execution, array_id, after, limit)
        return [ElementRow(*row.values()) for row in rows]

    async def last_attempt(self, execution: int, array_id: str, element: int) -> int | None:
        """See `ports.Sources.last_attempt`."""
        with outages_as_oserror():
            return await self._pool.fetchval(_SQL["source_last_attempt"], execution, array_id, element)
