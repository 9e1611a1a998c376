"""Queries of watchers: a database that does not answer is an OSError, whichever way asyncpg says it."""

from collections.abc import Sequence

import asyncpg

from wingbeat_controlplane.executions.rows import Row
from wingbeat_propeller.postgres.outages import outages_as_oserror


async def fetch(pool: asyncpg.Pool, statement: str, *arguments: object) -> Sequence[Row]:
    """All rows. Raises OSError when the same may work later."""
    with outages_as_oserror():
        return await pool.fetch(statement, *arguments)
