"""A connection of its own that holds an advisory lock, for work that one process does at a time.

However the process ends, the lock falls with its connection. Who is done gives it back before the connection goes, as
the database notices the end of a connection only a while later, and the next one shall not find it taken.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress

import asyncpg

_CONNECT_TIMEOUT_S = 10.0
_UNLOCK_TIMEOUT_S = 2.0


@asynccontextmanager
async def locked_session(
    dsn: str, lock: int, *, application_name: str, settings: Mapping[str, str] | None = None
) -> AsyncGenerator[asyncpg.Connection | None]:
    """The connection; None while another one holds the lock. Raises asyncpg's errors, OSError."""
    connection = await asyncpg.connect(
        dsn,
        timeout=_CONNECT_TIMEOUT_S,
        server_settings={"application_name": application_name, "timezone": "UTC", "jit": "off", **(settings or {})},
    )
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock):
            yield None
            return
        try:
            yield connection
        finally:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
                await connection.execute("SELECT pg_advisory_unlock_all()", timeout=_UNLOCK_TIMEOUT_S)
    finally:
        connection.terminate()
