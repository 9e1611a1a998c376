"""Takes executions out of the database, few rows at a time.

An execution leaves in three steps: one transaction deletes its row and notes it in `retired_executions`, so it is gone
for every reader at once; its other rows follow in bounded transactions; last the note is deleted. Whoever dies in
between leaves the note, and whoever comes next goes on from it. Doing a step twice does no harm. Values that other
tables refer to by an execution's row go with it by their foreign keys.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from wingbeat_propeller.postgres.queries import load_queries

SQL: Mapping[str, str] = load_queries("wingbeat_controlplane.retention", "rows.sql")

Connection: TypeAlias = "asyncpg.Connection | PoolConnectionProxy[asyncpg.Record]"

ROWS_MAX = 5_000
"""Most rows that one transaction deletes of a table."""
_CHUNKED = ("delete_elements", "delete_attempts", "delete_nodes")
_AT_ONCE = ("delete_search", "delete_slots")
_LATE = timedelta(days=1)
"""How long after an execution's end its last transition may be dated."""


@dataclass(frozen=True, slots=True)
class Retired:
    """An execution whose row is gone."""

    key: int
    project: str
    domain: str
    name: str
    created_at: datetime
    ended_at: datetime


async def retire_aged(
    connection: asyncpg.Connection,
    project: str,
    domain: str,
    before: datetime,
    *,
    since: datetime,
    limit: int,
) -> Sequence[Retired]:
    """Note at most `limit` executions that ended before an instant as retired, oldest first of those created at `since`
    or later."""
    rows = await connection.fetch(SQL["retire_aged"], project, domain, before, since, limit)
    return [retired_of(row) for row in rows]


async def remove_rows(connection: Connection, retired: Sequence[Retired]) -> int:
    """Delete all rows of retired executions but the notes; returns how many. Raises asyncpg's errors at any step, after
    which calling it again goes on."""
    keys = [execution.key for execution in retired]
    count = 0
    for name in _CHUNKED:
        while True:
            deleted = _count(await connection.execute(SQL[name], keys, ROWS_MAX))
            count += deleted
            if deleted < ROWS_MAX:
                break
    first = min(execution.created_at for execution in retired)
    last = max(execution.ended_at for execution in retired) + _LATE
    count += _count(await connection.execute(SQL["delete_transitions"], keys, first, last))
    for name in _AT_ONCE:
        count += _count(await connection.execute(SQL[name], keys))
    names = [(execution.project, execution.domain, execution.name) for execution in retired]
    columns = [list(column) for column in zip(*names, strict=True)]
    return count + _count(await connection.execute(SQL["delete_signals"], *columns))


async def finish(connection: Connection, retired: Sequence[Retired]) -> None:
    """Nothing is left of them: delete the notes."""
    await connection.execute(SQL["finish"], [execution.key for execution in retired])


def retired_of(row: asyncpg.Record) -> Retired:
    """A row as the statements return it."""
    return Retired(row["execution_id"], row["project"], row["domain"], row["name"], row["created_at"], row["ended_at"])


def _count(status: str) -> int:
    """Rows that a command was about, from its status."""
    return int(status.rpartition(" ")[2])
