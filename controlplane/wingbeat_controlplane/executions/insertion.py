"""The one statement that creates executions, however many: rows, tags and the notification of the engines.

Concurrent callers cannot lock each other out: rows whose names others may choose, too, go first and in the order of
their names, and names that the server made collide with nothing.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from wingbeat_controlplane.executions.new_execution import NewExecution
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.executions", "insertion.sql")

Connection: TypeAlias = "asyncpg.Pool | PoolConnectionProxy[asyncpg.Record]"
ExecutionName: TypeAlias = tuple[str, str, str]


async def insert_executions(
    connection: Connection, new: Sequence[NewExecution], base: str, *, waits: bool = False
) -> Mapping[ExecutionName, int]:
    """Insert what has a free name; row ids by project, domain and name. `base` is the prefix of the blob store, whose
    objects are the caller's business; `waits`: all of them, for their turn in the line of their launch plan."""
    if not new:
        return {}
    rows = [each.row(base, waits=waits) for each in new]
    tags = [(number, key, value) for number, each in enumerate(new, 1) for key, value in each.decision.tags]
    columns = [*zip(*rows, strict=True), *(zip(*tags, strict=True) if tags else ((), (), ()))]
    created = await connection.fetch(_SQL["insert_executions"], *columns)
    return {(row["project"], row["domain"], row["name"]): row["id"] for row in created}
