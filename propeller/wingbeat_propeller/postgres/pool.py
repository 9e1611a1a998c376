"""Connection pools. All of Wingbeat talks to Postgres through one pool a process."""

from collections.abc import Mapping

import asyncpg


async def create_pool(
    dsn: str, *, size_max: int, application_name: str, server_settings: Mapping[str, str] | None = None
) -> asyncpg.Pool:
    """A pool of at most `size_max` connections, opened as needed; times are UTC.

    JIT is off: our statements are short, and compiling them costs more than they take. Nothing may change the state of
    a session through the pool (listeners, session-wide locks and settings need a connection of their own): connections
    are not reset when they come back, which spares a round trip at each use. `server_settings` hold in each session.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size_max,
        command_timeout=60,
        reset=_keep_session,
        server_settings={
            "application_name": application_name,
            "timezone": "UTC",
            "jit": "off",
            **(server_settings or {}),
        },
    )


async def _keep_session(_connection: asyncpg.Connection) -> None:
    """Leave the session as it is. An open transaction is rolled back by asyncpg before this."""
