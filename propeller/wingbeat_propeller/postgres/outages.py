"""Which errors of asyncpg mean "try again" and which mean "never like this"."""

from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

_RETRY_CLASSES = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""SQLSTATE classes of lost connections, idle timeouts, serialization failures, exhausted resources, locks, operators
and the system."""
_REFUSE_CLASSES = frozenset({"22", "23", "54"})
"""SQLSTATE classes of data exceptions, integrity violations and exceeded limits: the fault of a row."""


class DatabaseOutageError(OSError):
    """The database did not answer, or could not do it now; the same call may succeed later."""


def is_outage(error: BaseException) -> bool:
    """Whether the same statement may succeed later: no connection, a restart, a deadlock, a full disk."""
    if isinstance(error, asyncpg.PostgresError):
        return _sqlstate_class(error) in _RETRY_CLASSES
    # asyncpg reports a connection that was closed under it as an InterfaceError.
    return isinstance(error, (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError))


def is_refusal(error: BaseException) -> bool:
    """Whether Postgres, or asyncpg before it, refuses the values themselves."""
    return isinstance(error, asyncpg.PostgresError) and _sqlstate_class(error) in _REFUSE_CLASSES


@contextmanager
def outages_as_oserror() -> Generator[None]:
    """Turn outages into DatabaseOutageError, an OSError, for callers that do not know asyncpg."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        if is_outage(error):
            raise DatabaseOutageError(f"{type(error).__name__}: {error}") from error
        raise


def _sqlstate_class(error: asyncpg.PostgresError) -> str:
    return (error.sqlstate or "")[:2]
