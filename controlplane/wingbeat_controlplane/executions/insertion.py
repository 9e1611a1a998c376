"""The one statement that creates executions, however many: rows, tags, and what they are searched by.

Whoever commits it tells the engines then (see announcing.py).

For one row alone, values stand in the statement in place of arrays of one: such a statement is planned once, while one
over arrays is planned anew for each call.

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
_MANY = _SQL["insert_executions"]


def _for_one(statement: str) -> str:
    """The same with the values of one row for its arrays."""
    head, _, rest = statement.partition("unnest(")
    arrays, _, tail = rest.partition(") WITH ORDINALITY AS a (")
    return f"{head}(VALUES ({arrays.replace('[]', '')}, 1::bigint)) AS a ({tail}"


_ONE = _for_one(_MANY)

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
    tag_columns = tuple(zip(*tags, strict=True)) if tags else ((), (), ())
    if len(rows) == 1:
        created = await connection.fetch(_ONE, *rows[0], *tag_columns)
    else:
        created = await connection.fetch(_MANY, *zip(*rows, strict=True), *tag_columns)
    return {(row["project"], row["domain"], row["name"]): row["id"] for row in created}
