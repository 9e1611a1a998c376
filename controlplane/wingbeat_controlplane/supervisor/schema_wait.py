"""Roles start beside the database and its migration, so each first waits until the schema is this release's."""

import asyncio

import asyncpg
import structlog

from wingbeat_propeller.postgres.migrate import MigrationError, migrations

_POLL_S_MIN = 0.02
_POLL_S_MAX = 1.0
_QUIET_S = 3.0

_log = structlog.get_logger(__name__)


async def wait_for_schema(dsn: str) -> int:
    """Return the number of the newest migration once the database answers and has them all.

    Waits without end while it does not; says so in the log. Raises MigrationError for a database of a newer release.
    """
    wanted = migrations()[-1].number
    loop = asyncio.get_running_loop()
    told_at = loop.time()
    pause_s = _POLL_S_MIN
    while True:
        reason = "its schema is older than this release"
        try:
            found = await schema_version(dsn)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            found, reason = 0, str(error)
        if found == wanted:
            return found
        if found > wanted:
            raise MigrationError(f"the database has migration {found} of a newer release; this one knows {wanted}")
        if loop.time() - told_at > _QUIET_S:
            _log.info("waiting for the database", reason=reason)
            told_at = loop.time() + 10.0
        await asyncio.sleep(pause_s)
        pause_s = min(_POLL_S_MAX, pause_s * 1.2)


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
