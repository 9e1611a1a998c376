"""What an execution is found by in SQL: its labels, and those of its inputs that are small primitive values, as JSON.

Made once, on the way of every launch, so values are taken from the serialized map without parsing what is not kept.
Numbers, booleans and text stay what they are; times and durations are text, as floats that JSON does not have are.
"""

import json
import math
from collections.abc import Mapping

from flyteidl.core import literals_pb2
from google.protobuf import duration_pb2, timestamp_pb2

from wingbeat_propeller.core.values import MalformedLiteralMapError, split_literal_map

TEXT_LENGTH_MAX = 256
"""Longest text that is kept, in characters."""
INPUTS_MAX = 64
"""Most inputs that are kept, in order of the map."""
LITERAL_BYTES_MAX = 1200
"""A literal with more bytes holds no value that is kept."""


def searched_labels(labels: Mapping[str, str]) -> str | None:
    """Labels as a JSON object; None when there are none that jsonb could hold."""
    kept = {key: value for key, value in labels.items() if "\0" not in key + value}
    return json.dumps(kept) if kept else None


def searched_inputs(inputs: bytes) -> str | None:
    """Small primitive values of a serialized LiteralMap as a JSON object; None when it has none."""
    if not inputs:
        return None
    try:
        literals = split_literal_map(inputs)
    except MalformedLiteralMapError:
        return None
    found: dict[str, object] = {}
    for name, literal in literals.items():
        if len(found) == INPUTS_MAX:
            break
        if len(literal) <= LITERAL_BYTES_MAX and "\0" not in name:
            value = _value(literals_pb2.Literal.FromString(literal))
            if value is not None:
                found[name] = value
    return json.dumps(found) if found else None


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
