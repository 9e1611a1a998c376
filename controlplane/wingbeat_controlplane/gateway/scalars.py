"""Single field values from what a client wrote: text in paths and query strings, JSON in bodies."""

import base64
import binascii
import re
from typing import Any, cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from wingbeat_controlplane.gateway.descriptors import TEXT_MESSAGES, WRAPPERS

_INTEGER = re.compile(r"-?[0-9]{1,20}\Z")
_FLOAT = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class MalformedValueError(ValueError):
    """A text or JSON value does not fit its field; the sentence can follow the field's name."""


def scalar_from_text(field: FieldDescriptor, text: str) -> str | bytes | int | float | bool:
    """A scalar from a path segment or query value. Raises MalformedValueError."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if text not in _BOOLS:
            raise MalformedValueError(f"{_shown(text)} is neither true nor false")
        return _BOOLS[text]
    if field.enum_type is not None and _INTEGER.match(text):
        return _in_range(FieldDescriptor.CPPTYPE_INT32, int(text))
    return scalar_from_json(field, text)


def scalar_from_json(field: FieldDescriptor, value: object) -> str | bytes | int | float | bool:
    """A scalar from parsed JSON, numbers also as strings. Raises MalformedValueError."""
    if field.enum_type is not None:
        return _enum(field.enum_type, value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes(value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if not isinstance(value, str):
            raise MalformedValueError(f"{_shown(value)} is no text")
        return value
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if not isinstance(value, bool):
            raise MalformedValueError(f"{_shown(value)} is neither true nor false")
        return value
    if field.cpp_type in _INTEGER_RANGES:
        return _in_range(field.cpp_type, _integer(value))
    return _float(value)


def message_from_text(message: Any, text: str) -> bool:
    """Set a time, duration, field mask or wrapper from its text form; False for messages that have none.

    Raises ValueError with a sentence.
    """
    name = cast("str", message.DESCRIPTOR.full_name)
    if name in TEXT_MESSAGES:
        message.FromJsonString(text)
        return True
    if name in WRAPPERS:
        message.value = scalar_from_text(message.DESCRIPTOR.fields_by_name["value"], text)
        return True
    return False


def _enum(enum: EnumDescriptor, value: object) -> int:
    if isinstance(value, str):
        known = enum.values_by_name.get(value)
        if known is None:
            names = ", ".join(list(enum.values_by_name)[:20])
            raise MalformedValueError(f"{_shown(value)} is no {enum.name}; known are {names}")
        return known.number
    return _in_range(FieldDescriptor.CPPTYPE_INT32, _integer(value))


def _bytes(value: object) -> bytes:
    """Base64 in either alphabet, padded or not."""
    if not isinstance(value, str):
        raise MalformedValueError(f"{_shown(value)} is no base64 text")
    text = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedValueError(f"{_shown(value)} is no base64 text") from error


def _integer(value: object) -> int:
    if isinstance(value, bool):
        raise MalformedValueError(f"{_shown(value)} is no whole number")
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INTEGER.match(value):
        return int(value)
    raise MalformedValueError(f"{_shown(value)} is no whole number")


def _in_range(cpp_type: int, number: int) -> int:
    low, high = _INTEGER_RANGES[cpp_type]
    if not low <= number <= high:
        raise MalformedValueError(f"{_shown(number)} is outside of {low} to {high}")
    return number


def _float(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        if value in _NON_FINITE:
            return _NON_FINITE[value]
        if _FLOAT.match(value):
            return float(value)
    raise MalformedValueError(f"{_shown(value)} is no number")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
