"""Notifications on one channel of Postgres, over a connection of their own that is made again whenever it is lost."""

import asyncio
from collections.abc import Callable

import asyncpg
import structlog

from wingbeat_propeller.postgres.outages import is_outage

_PROBE_S = 15.0
_BACKOFF_S_MIN = 0.1
_BACKOFF_S_MAX = 5.0
_log = structlog.get_logger(__name__)


async def listen(dsn: str, channel: str, wake: Callable[[str], None]) -> None:
    """Live until cancelled: `wake` gets each payload, and an empty text after each (re)connect."""
    backoff_s = _BACKOFF_S_MIN
    while True:
        try:
            connection = await asyncpg.connect(
                dsn, timeout=10, server_settings={"application_name": "wingbeat cache listener"}
            )
            try:
                backoff_s = _BACKOFF_S_MIN
                await _forward(connection, channel, wake)
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            if not is_outage(error):
                raise
            _log.warning("not listening, connecting again", channel=channel, retry_s=backoff_s, error=repr(error))
        await asyncio.sleep(backoff_s)
        backoff_s = min(backoff_s * 2, _BACKOFF_S_MAX)


async def _forward(connection: asyncpg.Connection, channel: str, wake: Callable[[str], None]) -> None:
    """Until the connection is lost; a silent loss is found by asking now and then."""
    lost = asyncio.Event()

    def notified(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        wake(str(payload))

    def terminated(_connection: object) -> None:
        lost.set()

    connection.add_termination_listener(terminated)
    await connection.add_listener(channel, notified)
    wake("")
    while not lost.is_set():
        try:
            async with asyncio.timeout(_PROBE_S):
                await lost.wait()
        except TimeoutError:
            await connection.execute("SELECT 1", timeout=_PROBE_S)
