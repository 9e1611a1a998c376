"""Notifications of Postgres, over a connection of their own that is made again whenever it is lost."""

import asyncio
from collections.abc import Callable, Collection

import asyncpg
import structlog

from wingbeat_propeller.postgres.outages import outages_as_oserror

_PROBE_S = 15.0
_BACKOFF_S_MIN = 0.1
_BACKOFF_S_MAX = 5.0
_log = structlog.get_logger(__name__)


async def listen(
    dsn: str, channels: Collection[str], wake: Callable[[str, str], None], *, application_name: str
) -> None:
    """Live until cancelled: `wake` gets channel and payload of each notification, and an empty payload for each channel
    after each (re)connect."""
    backoff_s = _BACKOFF_S_MIN
    while True:
        try:
            with outages_as_oserror():
                connection = await asyncpg.connect(
                    dsn, timeout=10, server_settings={"application_name": application_name}
                )
                try:
                    backoff_s = _BACKOFF_S_MIN
                    await _forward(connection, channels, wake)
                finally:
                    connection.terminate()
        except OSError as error:
            _log.warning("not listening, connecting again", name=application_name, retry_s=backoff_s, error=repr(error))
        await asyncio.sleep(backoff_s)
        backoff_s = min(backoff_s * 2, _BACKOFF_S_MAX)


async def _forward(connection: asyncpg.Connection, channels: Collection[str], wake: Callable[[str, str], None]) -> None:
    """Until the connection is lost; a silent loss is found by asking now and then."""
    lost = asyncio.Event()

    def notified(_connection: object, _pid: int, channel: str, payload: object) -> None:
        wake(channel, str(payload))

    def terminated(_connection: object) -> None:
        lost.set()

    connection.add_termination_listener(terminated)
    for channel in channels:
        await connection.add_listener(channel, notified)
    for channel in channels:
        wake(channel, "")
    while not lost.is_set():
        try:
            async with asyncio.timeout(_PROBE_S):
                await lost.wait()
        except TimeoutError:
            await connection.execute("SELECT 1", timeout=_PROBE_S)
