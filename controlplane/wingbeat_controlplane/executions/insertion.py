"""The one statement that creates executions, however many: rows, tags, and what they are searched by.

Many of them have a decision in common; each decision goes to the database once. Whoever commits the statement tells the
engines then (see announcing.py).

For one row alone, values stand in the statement in place of arrays of one: such a statement is planned once, while one
over arrays is planned anew for each call.

Concurrent callers cannot lock each other out: rows whose names others may choose, too, go first and in the order of
their names, and names that the server made collide with nothing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from wingbeat_controlplane.executions.decision import Decision
from wingbeat_controlplane.executions.names import ExecutionName
from wingbeat_controlplane.executions.new_execution import NewExecution
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.executions", "insertion.sql")
_MANY = _SQL["insert_executions"]


_ARRAYS = re.compile(r"unnest\(([^)]*)\) WITH ORDINALITY AS (\w+) \(")


def _for_one(statement: str) -> str:
    """The same with the values of one row for its arrays, and those of one decision."""

    def values(match: re.Match[str]) -> str:
        return f"(VALUES ({match[1].replace('[]', '')}, 1::bigint)) AS {match[2]} ("

    return _ARRAYS.sub(values, statement)


_ONE = _for_one(_MANY)

Connection: TypeAlias = "asyncpg.Pool | PoolConnectionProxy[asyncpg.Record]"


async def insert_executions(
    connection: Connection, new: Sequence[NewExecution], base: str, *, waits: bool = False
) -> Mapping[ExecutionName, int]:
    """Insert what has a free name; row ids by project, domain and name. `base` is the prefix of the blob store, whose
    objects are the caller's business; `waits`: all of them, for their turn in the line of their launch plan."""
    if not new:
        return {}
    decisions: dict[int, tuple[int, Decision]] = {}
    rows: list[tuple[object, ...]] = []
    for each in new:
        number, _ = decisions.setdefault(id(each.decision), (len(decisions) + 1, each.decision))
        rows.append(each.row(base, each.shard, number))
    decided = [each.columns for _, each in decisions.values()]
    tags = [(number, key, value) for number, each in decisions.values() for key, value in each.tags]
    tag_columns = tuple(zip(*tags, strict=True)) if tags else ((), (), ())
    if len(rows) == 1:
        created = await connection.fetch(_ONE, *rows[0], *decided[0], *tag_columns, waits)
    else:
        columns = (*zip(*rows, strict=True), *zip(*decided, strict=True))
        created = await connection.fetch(_MANY, *columns, *tag_columns, waits)
    return {ExecutionName(row["project"], row["domain"], row["name"]): row["id"] for row in created}
