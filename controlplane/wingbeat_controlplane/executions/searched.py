"""What an execution is found by in SQL: its labels, and those of its inputs that are small primitive values, as JSON.

Made once, on the way of every launch, so large values are not parsed.
Numbers, booleans and text stay what they are; times and durations are text, as floats that JSON does not have are.
"""

import math
from collections.abc import Iterable, Mapping

import orjson
from flyteidl.core import literals_pb2
from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.core.values import MalformedLiteralMapError, split_literal_map

TEXT_LENGTH_MAX = 256
"""Longest text that is kept, in characters."""
INPUTS_MAX = 64
"""Most inputs that are kept, in order of the map."""
LITERAL_BYTES_MAX = 1200
"""A literal with more bytes holds no value that is kept."""
_PARSED_BYTES_MAX = 4096
"""A map with more bytes is cut, and only what may be kept of it is parsed."""


def searched_labels(labels: Mapping[str, str]) -> str | None:
    """Labels as a JSON object; None when there are none that jsonb could hold."""
    kept = {key: value for key, value in labels.items() if "\0" not in key + value}
    return orjson.dumps(kept).decode() if kept else None


def searched_inputs(inputs: bytes) -> str | None:
    """Small primitive values of a serialized LiteralMap as a JSON object; None when it has none."""
    if not inputs:
        return None
    found: dict[str, object] = {}
    for name, literal in _small_literals(inputs):
        if len(found) == INPUTS_MAX:
            break
        value = _value(literal)
        if value is not None and "\0" not in name:
            found[name] = value
    return orjson.dumps(found).decode() if found else None


def _small_literals(inputs: bytes) -> Iterable[tuple[str, literals_pb2.Literal]]:
    """Those that may hold a value that is kept, and some others."""
    try:
        if len(inputs) <= _PARSED_BYTES_MAX:
            return literals_pb2.LiteralMap.FromString(inputs).literals.items()
        literals = split_literal_map(inputs)
    except (DecodeError, MalformedLiteralMapError):
        return ()
    return (
        (name, literals_pb2.Literal.FromString(literal))
        for name, literal in literals.items()
        if len(literal) <= LITERAL_BYTES_MAX
    )


def _value(literal: literals_pb2.Literal) -> bool | int | float | str | None:
    scalar = literal.scalar
    while scalar.WhichOneof("value") == "union":
        scalar = scalar.union.value.scalar
    if scalar.WhichOneof("value") != "primitive":
        return None
    primitive = scalar.primitive
    match primitive.WhichOneof("value"):
        case "integer":
            return primitive.integer
        case "float_value":
            number = primitive.float_value
            return number if math.isfinite(number) else str(number)
        case "boolean":
            return primitive.boolean
        case "string_value":
            text = primitive.string_value
            return text if len(text) <= TEXT_LENGTH_MAX and "\0" not in text else None
        case "datetime":
            return _text(primitive.datetime)
        case "duration":
            return _text(primitive.duration)
        case _:
            return None


def _text(moment: timestamp_pb2.Timestamp | duration_pb2.Duration) -> str | None:
    try:
        return moment.ToJsonString()
    except ValueError:  # out of the range that the text form has
        return None
