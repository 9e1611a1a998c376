"""What a client raises. All of it is a `WingbeatError`; what a server refused is a `ServerError` of the code's class.

A server explains refusals with messages of `google.rpc`: fields that are wrong, a reason for programs, how long to
wait. They are parsed when an error is made, into `violations`, `reason`, `metadata` and `retry_delay_s`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc
    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.protobuf.message import Message

    from wingbeat.executions import Execution

_TRAILER = "grpc-status-details-bin"


class WingbeatError(Exception):
    """Anything that a client raises by itself."""


class EndpointError(WingbeatError):
    """No server is known: the file that shall name it does not."""


class ConversionError(WingbeatError, ValueError):
    """A Python value that does not fit the type it is meant for, or a literal that is no plain value."""


class TransferError(WingbeatError):
    """A file could not be moved to or from the store."""


class ForkedError(WingbeatError, RuntimeError):
    """A client was used in a process forked from the one that made it, where its connection is not."""


class ExecutionError(WingbeatError):
    """An execution is not what the caller needs; `execution` is how it was seen last."""

    def __init__(self, message: str, execution: "Execution") -> None:
        super().__init__(message)
        self.execution = execution


class ExecutionFailedError(ExecutionError):
    """An execution ended without success: it failed, was aborted, or ran out of time."""


class ExecutionRunningError(ExecutionError):
    """An execution has no outputs yet."""


class WaitTimeoutError(WingbeatError, TimeoutError):
    """An execution did not end in the time that the caller gave."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A field of a request that is wrong, and why."""

    field: str
    description: str


class ServerError(WingbeatError):
    """A call was refused, or did not get through. `code` is the name of its gRPC status code."""

    def __init__(self, code: str, message: str, details: Sequence["Message"] = (), *, method: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.method = method
        self.details: tuple[Message, ...] = tuple(details)
        self.violations: tuple[Violation, ...] = ()
        self.reason = ""
        self.metadata: Mapping[str, str] = {}
        self.retry_delay_s: float | None = None
        for detail in self.details:
            self._read(detail)

    def __str__(self) -> str:
        return f"{self.message or self.code} ({self.code})"

    def _read(self, detail: "Message") -> None:
        from google.rpc import error_details_pb2

        if isinstance(detail, error_details_pb2.BadRequest):
            found = [Violation(one.field, one.description) for one in detail.field_violations]
            self.violations = (*self.violations, *found)
        elif isinstance(detail, error_details_pb2.ErrorInfo):
            self.reason = detail.reason
            self.metadata = dict(detail.metadata)
        elif isinstance(detail, error_details_pb2.RetryInfo):
            self.retry_delay_s = detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9


class InvalidArgumentError(ServerError):
    """The request is wrong; `violations` names its fields."""


class NotFoundError(ServerError):
    """There is no such thing."""


class AlreadyExistsError(ServerError):
    """Something else has that name or key."""


class PermissionDeniedError(ServerError):
    """The caller may not do that."""


class UnauthenticatedError(ServerError):
    """The server wants to know who calls."""


class FailedPreconditionError(ServerError):
    """It cannot be done in the state that things are in."""


class OutOfRangeError(ServerError):
    """Asked for what is no longer kept, or not there yet."""


class ResourceExhaustedError(ServerError):
    """The server has too much to do, or the caller too much of something; clients have waited and tried again."""


class UnavailableError(ServerError):
    """The server was not reached, or is not able to answer now."""


class DeadlineExceededError(ServerError):
    """No answer came in time; what was asked for may have happened or not."""


class UnimplementedError(ServerError):
    """The server knows no such call: it is older than this client, or another engine."""


class AbortedError(ServerError):
    """Something else came in between; the whole may be tried again."""


class InternalError(ServerError):
    """A fault of the server; the message has an id that stands in its log."""


_CLASSES: Mapping[str, type[ServerError]] = {
    "INVALID_ARGUMENT": InvalidArgumentError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": AlreadyExistsError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "FAILED_PRECONDITION": FailedPreconditionError,
    "OUT_OF_RANGE": OutOfRangeError,
    "RESOURCE_EXHAUSTED": ResourceExhaustedError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "UNIMPLEMENTED": UnimplementedError,
    "ABORTED": AbortedError,
    "INTERNAL": InternalError,
}


def error_of(error: "grpc.RpcError", *, method: str = "") -> ServerError:
    """A failed call of grpc as an error of ours."""
    code = getattr(error, "code", lambda: None)()
    message = getattr(error, "details", lambda: None)() or str(error)
    trailers: object = getattr(error, "trailing_metadata", lambda: None)()
    details = ()
    for key, value in trailers or ():  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        if key == _TRAILER and isinstance(value, bytes):
            details = _parse(value)
    return server_error(code.name if code is not None else "UNKNOWN", message, details, method=method)


def server_error(code: str, message: str, details: Sequence["Message"] = (), *, method: str = "") -> ServerError:
    """An error of the class that belongs to a code's name."""
    return _CLASSES.get(code, ServerError)(code, message, details, method=method)


def unpack(details: Sequence["AnyMessage"]) -> tuple["Message", ...]:
    """Those of packed details whose types are known here."""
    from google.protobuf.message import DecodeError
    from google.rpc import error_details_pb2

    found: list[Message] = []
    for packed in details:
        kind = getattr(error_details_pb2, packed.type_url.rpartition(".")[2], None)
        if not packed.type_url.startswith("type.googleapis.com/google.rpc.") or kind is None:
            continue
        try:
            found.append(kind.FromString(packed.value))
        except DecodeError:
            continue
    return tuple(found)


def _parse(status: bytes) -> tuple["Message", ...]:
    from google.protobuf.message import DecodeError
    from google.rpc import status_pb2

    try:
        return unpack(status_pb2.Status.FromString(status).details)
    except DecodeError:
        return ()
