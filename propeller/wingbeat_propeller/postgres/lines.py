"""Lines of executions that their launch plans let wait, and who of them begins. All is decided by the database.

`admit_executions` (see the migration) locks the launch plan, counts what is alive and lets the first of the line begin,
in one transaction and one statement. Calling it too often or from several processes at once does no harm, and a call
that was forgotten is made good by the next.
"""

import asyncpg

from wingbeat_propeller.ports.lines import Line, Waiting
from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "lines.sql")


class PostgresLines:
    """Satisfies `ports.Lines`. All methods raise OSError for an outage, or a lock that is not to be had."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def look(self) -> Waiting:
        """See `ports.Lines.look`."""
        with outages_as_oserror():
            next_begin_s: float | None = await self._pool.fetchval(_SQL["next_begin"])
            rows = await self._pool.fetch(_SQL["lines"])
        lines = [
            Line(row["project"], row["domain"], row["name"], frozenset(row["ids"]), has_room=bool(row["has_room"]))
            for row in rows
        ]
        return Waiting(count=sum(row["waiting"] for row in rows), next_begin_s=next_begin_s, lines=lines)

    async def admit(self, line: Line) -> int:
        """See `ports.Lines.admit`."""
        with outages_as_oserror():
            return await self._pool.fetchval(_SQL["admit"], line.project, line.domain, line.name)
