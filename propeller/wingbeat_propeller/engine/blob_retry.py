"""Blob calls that ride out a store that fails for a while."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from wingbeat_propeller.core.outcome import ErrorKind, Failure

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

ATTEMPTS_MAX = 6
BACKOFF_S = 0.1


class BlobStoreFailedError(Exception):
    """The store kept failing; the text is its last error."""

    def failure(self) -> Failure:
        """As the end of a node."""
        return Failure(ErrorKind.SYSTEM, "BlobStoreFailure", str(self))


async def riding_out(call: Callable[[], Awaitable[_T]], what: str) -> _T:
    """Result of `call`, repeated with exponential back-off while it raises OSError (0.1 s to 1.6 s, 3 s in all).

    Raises BlobStoreFailedError after the last attempt, and every other error of `call` at once.
    """
    for attempt in range(ATTEMPTS_MAX):
        try:
            return await call()
        except OSError as error:
            if attempt + 1 == ATTEMPTS_MAX:
                raise BlobStoreFailedError(f"{what}: {error}") from error
            _log.warning("blob store failed, trying again", what=what, error=str(error), attempt=attempt)
            await asyncio.sleep(BACKOFF_S * 2**attempt)
    raise AssertionError("the loop returns or raises")
