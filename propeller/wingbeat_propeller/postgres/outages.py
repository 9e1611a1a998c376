"""Which errors of asyncpg mean "try again" and which mean "never like this".

A connection that is lost says so in many ways, by what was under way: Postgres' last words as a PostgresError; an
InterfaceError for whatever is asked of the closed connection, rolling its transaction back included; an
InternalClientError, "cannot switch to state", for a statement that is sent after those last words have come and before
the socket is closed, or for giving the connection back at that moment; an OSError of the socket. asyncpg has closed the
connection in each of these cases, so no pool gives it out again.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What a call of the database can raise."""

_RETRY_CLASSES = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""SQLSTATE classes of lost connections, idle timeouts, serialization failures, exhausted resources, locks, operators
and the system."""
_REFUSE_CLASSES = frozenset({"22", "23", "54"})
"""SQLSTATE classes of data exceptions, integrity violations and exceeded limits: the fault of a row."""
_FAULTS = (
    ValueError,  # of options and arguments
    asyncpg.UnsupportedClientFeatureError,
    asyncpg.UnsupportedServerFeatureError,
    asyncpg.ProtocolError,  # a value that cannot be decoded, over a connection that is as it should be
)
"""asyncpg's own errors that would come again."""


class DatabaseOutageError(OSError):
    """The database did not answer, or could not do it now; the same call may succeed later."""


def is_outage(error: BaseException) -> bool:
    """Whether the same statement may succeed later: no connection, a restart, a deadlock, a full disk."""
    if isinstance(error, asyncpg.PostgresError):
        return _sqlstate_class(error) in _RETRY_CLASSES
    return isinstance(error, DATABASE_ERRORS) and not isinstance(error, _FAULTS)


def is_refusal(error: BaseException) -> bool:
    """Whether Postgres, or asyncpg before it, refuses the values themselves."""
    return isinstance(error, asyncpg.PostgresError) and _sqlstate_class(error) in _REFUSE_CLASSES


@contextmanager
def outages_as_oserror() -> Generator[None]:
    """Turn outages into DatabaseOutageError, an OSError, for callers that do not know asyncpg.

    And into CancelledError when the task was told to end meanwhile: a transaction or a pool that cannot be closed, as
    its connection is lost too, raises that in the place of the cancellation, and a loop that goes on after outages
    would go on for ever.
    """
    cancels = _cancels()
    try:
        yield
    except DATABASE_ERRORS as error:
        if _cancels() > cancels:
            raise asyncio.CancelledError from error
        if is_outage(error) and not isinstance(error, OSError):
            raise DatabaseOutageError(f"{type(error).__name__}: {error}") from error
        raise


def _cancels() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _sqlstate_class(error: asyncpg.PostgresError) -> str:
    return (error.sqlstate or "")[:2]
