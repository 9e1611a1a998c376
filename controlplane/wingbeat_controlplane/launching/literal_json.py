"""Literals as JSON values: how results and outputs are written. Pure.

What `json_literals` makes of a value comes back as that value. Unions show what is in them, things in a store their
URIs, bytes base64. Tasks write what they like, so nothing is an error: what JSON has no value for is null.
"""

import base64
import math
from collections.abc import Mapping
from typing import cast

import msgpack
from flyteidl.core import literals_pb2
from google.protobuf import struct_pb2

from wingbeat_controlplane.launching.json_literals import Json
from wingbeat_propeller.copilot.values_text import timestamp_text

_SAFE_INTEGER_MAX = (1 << 64) - 1
STRUCTURE_DEPTH_MAX = 100
"""Lists and maps within one another in MessagePack; what is nested deeper is shown as bytes."""


def json_of_map(literals: literals_pb2.LiteralMap) -> dict[str, Json]:
    """All values by name, in the order of names."""
    return {name: json_of(literals.literals[name]) for name in sorted(literals.literals)}


def json_of(literal: literals_pb2.Literal) -> Json:
    """One value; a literal of a kind that this release does not know is null."""
    match literal.WhichOneof("value"):
        case "scalar":
            return _scalar(literal.scalar)
        case "collection":
            return [json_of(element) for element in literal.collection.literals]
        case "map":
            return json_of_map(literal.map)
        case "offloaded_metadata":
            return literal.offloaded_metadata.uri
        case _:
            return None


def _scalar(scalar: literals_pb2.Scalar) -> Json:
    match scalar.WhichOneof("value"):
        case "primitive":
            return _primitive(scalar.primitive)
        case "union":
            return json_of(scalar.union.value)
        case "blob":
            return scalar.blob.uri
        case "schema":
            return scalar.schema.uri
        case "structured_dataset":
            return scalar.structured_dataset.uri
        case "generic":
            return {key: _generic(value) for key, value in sorted(scalar.generic.fields.items())}
        case "binary":
            return _binary(scalar.binary)
        case "error":
            return scalar.error.message
        case _:
            return None


def _primitive(primitive: literals_pb2.Primitive) -> Json:
    match primitive.WhichOneof("value"):
        case "integer":
            return primitive.integer
        case "float_value":
            return json_of_float(primitive.float_value)
        case "string_value":
            return primitive.string_value
        case "boolean":
            return primitive.boolean
        case "datetime":
            try:
                return timestamp_text(primitive.datetime)
            except ValueError:  # before the year 1, after the year 9999, or no time at all
                return None
        case "duration":
            seconds = primitive.duration.seconds + primitive.duration.nanos / 1e9
            return int(seconds) if seconds.is_integer() else seconds
        case _:
            return None


def json_of_float(value: float) -> Json:
    """JSON has no number for those that are none."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _generic(value: struct_pb2.Value) -> Json:
    match value.WhichOneof("kind"):
        case "number_value":
            number = json_of_float(value.number_value)
            return int(number) if isinstance(number, float) and number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return {key: _generic(one) for key, one in sorted(value.struct_value.fields.items())}
        case "list_value":
            return [_generic(one) for one in value.list_value.values]
        case _:
            return None


def _binary(binary: literals_pb2.Binary) -> Json:
    if binary.tag == "msgpack":
        try:
            # msgpack ships no types.
            return _plain(cast("object", msgpack.unpackb(binary.value, strict_map_key=False)))  # pyright: ignore[reportUnknownMemberType]
        except (ValueError, TypeError, msgpack.exceptions.UnpackException):  # TypeError: a list or map as a key
            pass  # whatever a task wrote: its bytes are still to be had
    return base64.b64encode(binary.value).decode()


def _plain(value: object, left: int = STRUCTURE_DEPTH_MAX) -> Json:
    """MessagePack knows a few things more than JSON does. Raises ValueError for what is nested too deeply."""
    if left < 0:
        raise ValueError("nested too deeply")
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= _SAFE_INTEGER_MAX else float(value)
        case float():
            return json_of_float(value)
        case bytes():
            return base64.b64encode(value).decode()
        case list() | tuple():
            return [_plain(element, left - 1) for element in cast("list[object]", value)]
        case Mapping():
            fields = cast("Mapping[object, object]", value)
            return {str(key): _plain(element, left - 1) for key, element in fields.items()}
        case _:
            return str(value)
