"""Connection pools. All of Wingbeat talks to Postgres through one pool a process."""

import asyncpg


async def create_pool(dsn: str, *, size_max: int, application_name: str) -> asyncpg.Pool:
    """A pool of at most `size_max` connections, opened as needed; times are UTC.

    JIT is off: our statements are short, and compiling them costs more than they take.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size_max,
        command_timeout=60,
        server_settings={"application_name": application_name, "timezone": "UTC", "jit": "off"},
    )
