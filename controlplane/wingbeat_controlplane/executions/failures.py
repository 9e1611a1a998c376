"""Errors of executions, nodes and attempts: cut for lists, whole for Get.

A row holds a serialized ExecutionError; when its message is too long for a row it is cut there and `error_uri` names a
blob with the whole of it.
"""

import structlog
from flyteidl.core import execution_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError

LISTED_MESSAGE_BYTES_MAX = 100
"""How much of a message lists of executions and of nodes show."""

_log = structlog.get_logger(__name__)


def stored_error(data: bytes | None) -> execution_pb2.ExecutionError | None:
    """The error in a row, None when there is none."""
    return None if data is None else execution_pb2.ExecutionError.FromString(data)


def listed_error(data: bytes | None) -> execution_pb2.ExecutionError | None:
    """As `stored_error`, with the message cut at LISTED_MESSAGE_BYTES_MAX, between characters."""
    error = stored_error(data)
    if error is not None:
        message = error.message.encode()
        if len(message) > LISTED_MESSAGE_BYTES_MAX:
            error.message = message[:LISTED_MESSAGE_BYTES_MAX].decode(errors="ignore")
    return error


async def whole_error(
    blobs: Blobs, data: bytes | None, uri: str | None, *, bytes_max: int
) -> execution_pb2.ExecutionError | None:
    """The error with all of its message, read from `uri` if the row's is cut.

    A blob that is gone, broken or larger than `bytes_max` leaves the row's: the beginning of a message is worth more
    than no answer. Raises OSError when the store does not answer.
    """
    if data is None or uri is None:
        return stored_error(data)
    try:
        return execution_pb2.ExecutionError.FromString(await blobs.get(uri, bytes_max))
    except (BlobNotFoundError, BlobAccessError, BlobTooLargeError, DecodeError) as error:
        _log.warning("whole error message cannot be read", uri=uri, error=repr(error))
        return stored_error(data)
