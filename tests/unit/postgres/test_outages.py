"""What of asyncpg's errors is worth another try."""

import asyncio

import asyncpg
import pytest

from wingbeat_propeller.postgres.outages import DatabaseOutageError, is_outage, outages_as_oserror


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.DeadlockDetectedError("x"),
        asyncpg.IdleInTransactionSessionTimeoutError("x"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.OutdatedSchemaCacheError("x"),
        ConnectionResetError("x"),
        TimeoutError("x"),
    ],
)
async def test_outages(error: Exception) -> None:
    """A connection that is lost, in whichever words, and a database that cannot do it now."""
    assert is_outage(error)
    told = type(error) if isinstance(error, OSError) else DatabaseOutageError
    with pytest.raises(told), outages_as_oserror():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("x"),
        asyncpg.UndefinedTableError("x"),
        asyncpg.DataError("x"),
        asyncpg.ClientConfigurationError("x"),
        asyncpg.UnsupportedServerFeatureError("x"),
        asyncpg.ProtocolError("x"),
        KeyError("x"),
    ],
)
async def test_faults(error: Exception) -> None:
    """What would come again is not tried again."""
    assert not is_outage(error)
    with pytest.raises(type(error)), outages_as_oserror():
        raise error


async def test_an_end_that_was_asked_for_is_not_an_outage() -> None:
    """Whoever is told to end ends, also when the connection that it closes for that is lost as well."""

    async def work() -> None:
        with outages_as_oserror():
            await _lose_the_connection_in_the_end()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await work()


async def test_a_time_that_is_over_is_an_outage() -> None:
    """What ends by a limit of its own is not told to end."""

    async def work() -> None:
        async with asyncio.timeout(0):
            await _lose_the_connection_in_the_end()

    with pytest.raises(DatabaseOutageError), outages_as_oserror():
        await work()


async def _lose_the_connection_in_the_end() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise asyncpg.InterfaceError("connection is closed")
