"""One call of the catalog: how long it may take, and which errors come out of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg

from wingbeat_propeller.postgres.outages import is_refusal, outages_as_oserror

CALL_S_MAX = 30.0
"""Seconds that one call may take, with waits for a connection; then it is an outage."""


@asynccontextmanager
async def bounded() -> AsyncGenerator[None]:
    """One call of the catalog: outages, and whatever else the database cannot do, are OSError; so is a call that takes
    too long. A cache that fails must not stop those who could do without it. Refused values stay what they are."""
    try:
        with outages_as_oserror():
            async with asyncio.timeout(CALL_S_MAX):
                yield
    except asyncpg.PostgresError as error:
        if is_refusal(error):
            raise
        raise OSError(f"the catalog cannot answer: {type(error).__name__}: {error}") from error
