"""Failures as rows keep them: a serialized `flyteidl.core.ExecutionError`, small in the row, whole in a blob.

Lists of executions and nodes read these columns, so a message above `MESSAGE_BYTES_MAX` is cut in the row (the middle
goes, since the beginning and the end say most) and the whole error is written as a blob before the row is committed.
The blob's name holds a digest of its content: writing it again is harmless, and rows that share an error share a blob.
"""

import hashlib
from dataclasses import dataclass, field

from flyteidl.core import execution_pb2

from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import ErrorKind, Failure

MESSAGE_BYTES_MAX = 64 * 1024
"""Longest message kept in a row."""
CODE_LENGTH_MAX = 512
"""Longest error code kept in the column that filters look at."""

ErrorCell = tuple[bytes | None, str | None]
"""Columns `error` and `error_uri`."""
_KINDS = {kind: execution_pb2.ExecutionError.ErrorKind.Name(kind) for kind in ErrorKind}
_NO_ERROR: ErrorCell = (None, None)


@dataclass(slots=True)
class ErrorCells:
    """Makes the error columns of one batch; `blobs` collects what must be stored first, by URI."""

    base: str
    """URI prefix of the blob store, no slash at the end."""
    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def cell(
        self, failure: Failure | None, execution: ExecutionKey, node_id: str = "execution", attempt: int = 0
    ) -> ErrorCell:
        """Serialized error for the row, and the URI of the whole one when the row's message is cut."""
        if failure is None:
            return _NO_ERROR
        message = failure.message.encode("utf-8", "replace")
        if len(message) <= MESSAGE_BYTES_MAX:
            return _serialize(failure, message.decode(), None), None
        whole = _serialize(failure, message.decode(), None)
        digest = hashlib.blake2b(whole, digest_size=8).hexdigest()
        uri = f"{self.base}/metadata/errors/{execution}/{node_id}/{attempt}-{digest}.pb"
        self.blobs[uri] = whole
        return _serialize(failure, cut_middle(message, MESSAGE_BYTES_MAX), uri), uri


def code_cell(failure: Failure | None) -> str | None:
    """The error code as a text column takes it: no NUL, bounded."""
    return None if failure is None else failure.code.replace("\0", "")[:CODE_LENGTH_MAX]


def cut_middle(message: bytes, size: int) -> str:
    """Beginning and end of a UTF-8 text, with a note of its full size between them; about `size` bytes."""
    half = (size - 128) // 2
    head = message[:half].decode("utf-8", "ignore")
    tail = message[-half:].decode("utf-8", "ignore")
    return f"{head}\n[... cut here: the whole message has {len(message)} bytes ...]\n{tail}"


def _serialize(failure: Failure, message: str, uri: str | None) -> bytes:
    code = failure.code.encode("utf-8", "replace").decode()
    error = execution_pb2.ExecutionError(code=code, message=message, kind=_KINDS[failure.kind])
    if uri is not None:
        error.error_uri = uri
    return error.SerializeToString()
