"""What leaves a handler: an answer or an `ApiError`, nothing else.

`guard` wraps each call of a handler, for gRPC and REST alike. A client that sees UNKNOWN starts a login, so every fault
of ours becomes INTERNAL with an id that stands in the log beside the exception, and a database or blob store that does
not answer becomes UNAVAILABLE. `status_of` cuts the text to what clients accept in trailers.
"""

import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import grpc
import structlog
from google.rpc import status_pb2

from wingbeat_controlplane.errors import ApiError, invalid_argument
from wingbeat_propeller.postgres.outages import is_outage

A = TypeVar("A")

STATUS_BYTES_MAX = 32_000
"""Message and details as they stand in trailers; flytekit accepts 32 KiB of metadata in all."""

OWN_STATUS_BYTES_MAX = 7_000
"""The same for services of our own: clients in any language, with their defaults, accept 8 KiB of metadata in all, and
take more for RESOURCE_EXHAUSTED."""

_CUT = "... (cut)"
_log = structlog.get_logger(__name__)

_UNSTORABLE = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)


async def guard(method: str, call: Callable[[], Awaitable[A]]) -> A:
    """Run one handler. Raises nothing but ApiError (and CancelledError, which belongs to the caller).

    `method` is the rpc's full name, for the log.
    """
    try:
        return await call()
    except ApiError:
        raise
    except _UNSTORABLE as error:
        raise invalid_argument("text with a NUL character cannot be stored") from error
    except asyncpg.ProgramLimitExceededError as error:
        raise invalid_argument(f"a field is too large to be stored: {error}") from error
    except Exception as error:  # the last line of defence
        if not is_outage(error):
            raise _internal(method, error) from error
        _log.warning("store does not answer", method=method, error=repr(error))
        raise ApiError(grpc.StatusCode.UNAVAILABLE, "the database or blob store does not answer; try again") from error


def status_of(error: ApiError, size_max: int = STATUS_BYTES_MAX) -> status_pb2.Status:
    """The error as `google.rpc.Status`, message cut so that the whole takes at most `size_max` bytes in trailers.

    With details the message travels twice (plain and inside the Status); details too large for that are left out.
    """
    status = status_pb2.Status(code=error.code.value[0])
    for detail in error.details:
        status.details.add().Pack(detail)
    budget = size_max
    if status.details and status.ByteSize() * 4 // 3 > budget // 2:
        del status.details[:]
    if status.details:
        budget = (budget - status.ByteSize() * 4 // 3) * 3 // 7
    status.message = cut(error.message, budget)
    return status


def cut(text: str, size_max: int) -> str:
    """`text`, or its beginning and a mark, so that the percent-encoded form gRPC sends has at most `size_max` bytes."""
    if 3 * len(text.encode()) <= size_max:
        return text
    kept_max = size_max - len(_CUT)
    size = kept = 0
    for position, character in enumerate(text):
        size += 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode())
        if size <= kept_max:
            kept = position + 1
        if size > size_max:
            return text[:kept] + _CUT
    return text


def _internal(method: str, error: Exception) -> ApiError:
    incident = uuid.uuid4().hex[:12]
    _log.error("uncaught error in a handler", method=method, incident=incident, exc_info=error)
    return ApiError(grpc.StatusCode.INTERNAL, f"internal error {incident}; the server's log has the details")
