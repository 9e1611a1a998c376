"""Roles start beside the database and its migration, so each first waits until the schema is this release's."""

import asyncio

import asyncpg
import structlog

from wingbeat_propeller.postgres.migrate import MigrationError, migrations
from wingbeat_propeller.postgres.outages import DATABASE_ERRORS, outages_as_oserror

_EAGER_POLL_S = 0.03
_EAGER_S = 10.0
_POLL_S = 1.0
_QUIET_S = 3.0

_log = structlog.get_logger(__name__)


async def wait_for_schema(dsn: str) -> int:
    """Return the number of the newest migration once the database answers and has them all.

    Waits without end while it does not; says so in the log. Raises MigrationError for a database of a newer release.
    """
    wanted = migrations()[-1].number
    loop = asyncio.get_running_loop()
    began_at = told_at = loop.time()
    while True:
        reason = "its schema is older than this release"
        try:
            with outages_as_oserror():
                found = await schema_version(dsn)
        except DATABASE_ERRORS as error:
            found, reason = 0, str(error)
        if found == wanted:
            return found
        if found > wanted:
            raise MigrationError(f"the database has migration {found} of a newer release; this one knows {wanted}")
        now = loop.time()
        if now - told_at > _QUIET_S:
            _log.info("waiting for the database", reason=reason)
            told_at = now + 10.0
        await asyncio.sleep(_EAGER_POLL_S if now - began_at < _EAGER_S else _POLL_S)


async def schema_version(dsn: str) -> int:
    """Number of the newest applied migration, 0 for a database without any.

    Raises OSError and asyncpg's errors for a database that does not answer.
    """
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
            return 0
        return await connection.fetchval("SELECT coalesce(max(number), 0) FROM schema_migrations")
    finally:
        await connection.close()
