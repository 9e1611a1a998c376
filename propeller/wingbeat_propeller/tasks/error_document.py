"""What an error.pb states: the failure of a task that could still say what went wrong."""

from flyteidl.core import errors_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.core.outcome import ErrorKind, Failure


def parse_error_document(data: bytes) -> Failure:
    """The failure that an error.pb states."""
    try:
        document = errors_pb2.ErrorDocument.FromString(data)
    except DecodeError as error:
        return Failure(
            ErrorKind.SYSTEM, "ErrorFileBadFormat", f"the error report is malformed: {error}", retryable=True
        )
    if not document.HasField("error"):
        return Failure(ErrorKind.SYSTEM, "ErrorFileBadFormat", "the error report holds no error", retryable=True)
    error = document.error
    retryable = error.kind == errors_pb2.ContainerError.RECOVERABLE
    return Failure(ErrorKind(error.origin), error.code, error.message, retryable=retryable)
