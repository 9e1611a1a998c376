"""The text of a file as a literal of the declared type; pure. Notation and limits are those of Flyte v1's copilot."""

from collections.abc import Callable
from typing import cast

import msgpack
from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import json_format

from wingbeat_propeller.copilot import values_text

SIMPLE_BYTES_MAX = 1024
"""Largest file of a simple output."""
MSGPACK = "msgpack"

_SURROUNDING = " \n\t"
_unpack = cast("Callable[..., object]", msgpack.unpackb)  # the package carries no types


class BadResultError(ValueError):
    """The content is no value of the declared type; the message says what it would have to be."""


def parse_simple(simple: "types_pb2.SimpleType", content: bytes) -> literals_pb2.Literal:
    """The literal of a simple type. Spaces and line ends around it do not count. Raises BadResultError."""
    if len(content) > SIMPLE_BYTES_MAX:
        name = types_pb2.SimpleType.Name(simple).lower()
        raise BadResultError(
            f"it has more than {SIMPLE_BYTES_MAX} bytes, the most for a value of type {name}; "
            "what is larger is returned as a file"
        )
    scalar = literals_pb2.Scalar()
    if simple == types_pb2.BINARY:
        _check_msgpack(content)
        scalar.binary.CopyFrom(literals_pb2.Binary(value=content, tag=MSGPACK))
        return literals_pb2.Literal(scalar=scalar)
    try:
        text = content.decode().strip(_SURROUNDING)
    except UnicodeDecodeError as error:
        raise BadResultError(f"it is no UTF-8 text ({error.reason} at byte {error.start})") from error
    fill = _FILL.get(simple)
    if fill is None:
        raise BadResultError(f"values of type {types_pb2.SimpleType.Name(simple).lower()} cannot be read from a file")
    try:
        fill(scalar, text)
    except ValueError as error:
        shown = text if len(text) <= 80 else f"{text[:80]}..."
        name = types_pb2.SimpleType.Name(simple).lower()
        raise BadResultError(f"{shown!r} is no value of type {name}: {error}") from error
    return literals_pb2.Literal(scalar=scalar)


def _check_msgpack(content: bytes) -> None:
    try:
        _unpack(content, strict_map_key=False)
    except ValueError as error:  # msgpack's own errors derive from it
        raise BadResultError(f"it is no msgpack, which values of type binary are: {error}") from error


def _fill_string(scalar: literals_pb2.Scalar, text: str) -> None:
    scalar.primitive.string_value = text


def _fill_integer(scalar: literals_pb2.Scalar, text: str) -> None:
    scalar.primitive.integer = values_text.parse_integer(text)


def _fill_float(scalar: literals_pb2.Scalar, text: str) -> None:
    scalar.primitive.float_value = values_text.parse_float(text)


def _fill_boolean(scalar: literals_pb2.Scalar, text: str) -> None:
    scalar.primitive.boolean = values_text.parse_boolean(text)


def _fill_datetime(scalar: literals_pb2.Scalar, text: str) -> None:
    scalar.primitive.datetime.CopyFrom(values_text.parse_timestamp(text))


def _fill_duration(scalar: literals_pb2.Scalar, text: str) -> None:
    scalar.primitive.duration.CopyFrom(values_text.parse_duration(text))


def _fill_struct(scalar: literals_pb2.Scalar, text: str) -> None:
    try:
        json_format.Parse(text, scalar.generic)
    except json_format.ParseError as error:
        raise ValueError(f"it is no JSON object ({error})") from error
    scalar.generic.SetInParent()  # an empty object is a value too


def _fill_none(scalar: literals_pb2.Scalar, text: str) -> None:
    del text
    scalar.none_type.SetInParent()


def _fill_error(scalar: literals_pb2.Scalar, text: str) -> None:
    scalar.error.message = text
    scalar.error.SetInParent()


_FILL: dict[int, Callable[[literals_pb2.Scalar, str], None]] = {
    types_pb2.STRING: _fill_string,
    types_pb2.INTEGER: _fill_integer,
    types_pb2.FLOAT: _fill_float,
    types_pb2.BOOLEAN: _fill_boolean,
    types_pb2.DATETIME: _fill_datetime,
    types_pb2.DURATION: _fill_duration,
    types_pb2.STRUCT: _fill_struct,
    types_pb2.NONE: _fill_none,
    types_pb2.ERROR: _fill_error,
}
