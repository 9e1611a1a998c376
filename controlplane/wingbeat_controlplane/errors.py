"""The one exception that carries an answer to a client: a gRPC status code, a sentence, and rich details.

Every layer of the control plane raises `ApiError` for what the caller did wrong or asked in vain; the gRPC server and
the REST gateway turn it into their own form of status. Anything else that escapes a handler is a fault of ours.
The wording of the constructors is Flyte v1's, since clients and their users know it.
"""

from collections.abc import Sequence

import grpc
from google.protobuf import text_format
from google.protobuf.message import Message
from google.rpc import error_details_pb2

_LABEL_LENGTH_MAX = 300
"""Characters of what a caller has named that are said back."""


class ApiError(Exception):
    """An rpc ends with `code` and `message`; `details` travel as `google.rpc.Status.details`."""

    def __init__(self, code: grpc.StatusCode, message: str, details: Sequence[Message] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = tuple(details)


def not_found(kind: str, identifier: Message | str) -> ApiError:
    """NOT_FOUND: no `kind` (for instance `TASK`, `execution`) is stored under this identifier."""
    return ApiError(grpc.StatusCode.NOT_FOUND, f"missing entity of type {kind} with identifier {shown(identifier)}")


def absent(kind: str, label: str) -> ApiError:
    """NOT_FOUND: there is no `kind` (for instance `batch`) of this name; `google.rpc.ResourceInfo` says so as well."""
    label = label[:_LABEL_LENGTH_MAX]
    detail = error_details_pb2.ResourceInfo(resource_type=kind, resource_name=label)
    return ApiError(grpc.StatusCode.NOT_FOUND, f"there is no {kind} [{label}]", [detail])


def missing(field: str) -> ApiError:
    """INVALID_ARGUMENT: a required field of the request is empty."""
    return bad_field(field, f"missing {field}")


def invalid_value(field: str) -> ApiError:
    """INVALID_ARGUMENT: a field holds what it must not."""
    return bad_field(field, f"invalid value for {field}")


def bad_field(field: str, message: str) -> ApiError:
    """INVALID_ARGUMENT with a sentence of its own and, as `google.rpc.BadRequest`, the field that it is about."""
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
    return invalid_argument(message, [error_details_pb2.BadRequest(field_violations=[violation])])


def invalid_argument(message: str, details: Sequence[Message] = ()) -> ApiError:
    """INVALID_ARGUMENT with a sentence of its own."""
    return ApiError(grpc.StatusCode.INVALID_ARGUMENT, message, details)


def already_exists(message: str, details: Sequence[Message] = ()) -> ApiError:
    """ALREADY_EXISTS: clients treat it as success of an earlier call."""
    return ApiError(grpc.StatusCode.ALREADY_EXISTS, message, details)


def failed_precondition(message: str, details: Sequence[Message] = ()) -> ApiError:
    """FAILED_PRECONDITION: right in itself, but not in the present state."""
    return ApiError(grpc.StatusCode.FAILED_PRECONDITION, message, details)


def unimplemented(method: str) -> ApiError:
    """UNIMPLEMENTED: `method` is the full name of an rpc that this release does not serve."""
    return ApiError(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served by this release of Wingbeat")


def shown(identifier: Message | str) -> str:
    """An identifier as one line of text for a sentence."""
    if isinstance(identifier, str):
        return identifier
    return text_format.MessageToString(identifier, as_one_line=True, as_utf8=True)
