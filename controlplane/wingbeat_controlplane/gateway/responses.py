"""In which form an answer goes out, and which HTTP status an error has."""

from collections.abc import Mapping, Sequence
from enum import Enum

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.gateway.json_encoding import JsonEncoder

JSON_TYPE = "application/json"
PROTOBUF_TYPE = "application/octet-stream"

HTTP_STATUS: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class Form(Enum):
    """Form of a body; the value is its media type and how JSON spells names."""

    CAMEL_JSON = "JSON in camelCase names"
    PROTO_JSON = "JSON in the names of the .proto files"
    PROTOBUF = "binary protobuf"

    @property
    def media_type(self) -> str:
        """Content-Type of the form."""
        return PROTOBUF_TYPE if self is Form.PROTOBUF else JSON_TYPE


_FORMS = {JSON_TYPE: Form.PROTO_JSON, PROTOBUF_TYPE: Form.PROTOBUF}
_CAMEL = JsonEncoder(proto_names=False)
_PROTO = JsonEncoder(proto_names=True)


def is_binary(content_type: str) -> bool:
    """Whether a request's Content-Type announces protobuf; everything else is read as JSON."""
    return _media_type(content_type) == PROTOBUF_TYPE


def answer_form(accept: Sequence[str], content_type: str) -> Form:
    """The form a client gets: an Accept header that is exactly one of ours, else that of its own body, else camelCase.

    Flyte v1 has this rule: `application/json` means proto names, `*/*`, lists and no header at all mean camelCase.
    """
    for value in accept:
        if value in _FORMS:
            return _FORMS[value]
    return _FORMS.get(_media_type(content_type), Form.CAMEL_JSON)


def encode(message: Message, form: Form) -> bytes:
    """A message in a form. Raises ValueError for what JSON cannot express (times outside of years 1 to 9999)."""
    if form is Form.PROTOBUF:
        return message.SerializeToString()
    return (_PROTO if form is Form.PROTO_JSON else _CAMEL).encode(message)


def encode_error(error: ApiError, form: Form) -> tuple[int, bytes]:
    """HTTP status and body (a `google.rpc.Status`) of an error."""
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    for detail in error.details:
        status.details.add().Pack(detail)
    return HTTP_STATUS[error.code], encode(status, form)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
