"""Messages as JSON, every field printed, fast enough for lists of thousands.

For each message type a plan is made once: a template with the JSON of all unset fields, and a converter per field. A
message is then a copy of its template with the set fields put in, and orjson writes the result. The form is proto3 JSON
with unset fields printed: zeros, [] and {}, null for unset messages; members of a oneof only when set; 64-bit integers
and non-finite numbers as strings; enums by name.
"""

import base64
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias, cast

import orjson
from google.protobuf import message_factory, struct_pb2, timestamp_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from wingbeat_controlplane.gateway.descriptors import (
    SPECIAL_MESSAGES,
    TEXT_MESSAGES,
    WRAPPERS,
    descriptor_of,
    is_map,
    is_message,
    is_repeated,
)

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Convert: TypeAlias = Callable[[Any], Json]
"""Field value to JSON. The value's type is the field's, which the type checker cannot know."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 naive on purpose: its text gets a Z
_WHOLE_FLOAT_MAX = 2.0**53
_SIXTY_FOUR_BITS = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})


@dataclass(frozen=True, slots=True)
class _Plan:
    template: Mapping[str, Json]
    fields: Mapping[int, tuple[str, Convert]]


class JsonEncoder:
    """Encodes messages of any type; keeps one plan a type. Names are camelCase, or those of the .proto files."""

    def __init__(self, *, proto_names: bool) -> None:
        self._proto_names = proto_names
        self._converters: dict[str, Convert] = {}

    def encode(self, message: Message) -> bytes:
        """The message as JSON text. Raises ValueError for times outside of years 1 to 9999."""
        return orjson.dumps(self.value(message))

    def value(self, message: Message) -> Json:
        """The message as lists, dictionaries and scalars; they share parts, so do not change them."""
        return self._converter(descriptor_of(message))(message)

    def _converter(self, descriptor: Descriptor) -> Convert:
        name = descriptor.full_name
        converter = self._converters.get(name)
        if converter is None:
            converter = self._special(descriptor) or self._planned(descriptor)
            self._converters[name] = converter
        return converter

    def _special(self, descriptor: Descriptor) -> Convert | None:
        name = descriptor.full_name
        if name == "google.protobuf.Timestamp":
            return _timestamp
        if name in TEXT_MESSAGES:
            return _text
        if name in WRAPPERS:
            scalar = _scalar(descriptor.fields_by_name["value"])
            return lambda message: scalar(message.value)
        if name == "google.protobuf.Any":
            return self._any
        return _STRUCTS.get(name)

    def _planned(self, descriptor: Descriptor) -> Convert:
        # A plan may need itself (literals nest), so fields look their message converters up when first used.
        plan = _Plan(
            {self._name(field): _unset(field) for field in descriptor.fields if _printed_unset(field)},
            {field.number: (self._name(field), self._field(field)) for field in descriptor.fields},
        )
        template, fields = plan.template, plan.fields

        def convert(message: Message) -> Json:
            result = dict(template)
            for field, value in message.ListFields():
                name, convert_field = fields[field.number]
                result[name] = convert_field(value)
            return result

        return convert

    def _name(self, field: FieldDescriptor) -> str:
        return field.name if self._proto_names else field.json_name

    def _field(self, field: FieldDescriptor) -> Convert:
        if is_map(field):
            entry = cast("Descriptor", field.message_type)
            one = self._single(entry.fields_by_name["value"])
            if entry.fields_by_name["key"].cpp_type == FieldDescriptor.CPPTYPE_STRING:
                return lambda values: {key: one(value) for key, value in values.items()}
            return lambda values: {_key(key): one(value) for key, value in values.items()}
        one = self._single(field)
        if is_repeated(field):
            return lambda values: [one(value) for value in values]
        return one

    def _single(self, field: FieldDescriptor) -> Convert:
        if not is_message(field):
            return _scalar(field)
        descriptor = cast("Descriptor", field.message_type)
        name = descriptor.full_name
        converters = self._converters

        def convert(message: Message) -> Json:
            found = converters.get(name)
            return self._converter(descriptor)(message) if found is None else found(message)

        return convert

    def _any(self, message: AnyMessage) -> Json:
        """The packed message with its type beside its fields; its bytes when this process does not know the type."""
        if not message.type_url and not message.value:
            return {}
        try:
            pool = message.DESCRIPTOR.file.pool
            packed = message_factory.GetMessageClass(pool.FindMessageTypeByName(message.TypeName())).FromString(
                message.value
            )
        except (KeyError, DecodeError):
            return {"@type": message.type_url, "value": _base64(message.value)}
        value = self.value(packed)
        if descriptor_of(packed).full_name in SPECIAL_MESSAGES or not isinstance(value, dict):
            return {"@type": message.type_url, "value": value}
        return {"@type": message.type_url, **value}


def _printed_unset(field: FieldDescriptor) -> bool:
    return field.containing_oneof is None


def _unset(field: FieldDescriptor) -> Json:
    """JSON of a field that was never set."""
    if is_map(field):
        return {}
    if is_repeated(field):
        return []
    return None if is_message(field) else _scalar(field)(field.default_value)


def _scalar(field: FieldDescriptor) -> Convert:
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.cpp_type in _SIXTY_FOUR_BITS:
        return str
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _base64
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return _double
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return _float
    return _same


def _enum(enum: EnumDescriptor) -> Convert:
    if enum.full_name == "google.protobuf.NullValue":
        return lambda _: None
    names = {number: value.name for number, value in enum.values_by_number.items()}
    return lambda number: names.get(number, number)


def _same(value: str | bool | int) -> Json:
    return value


def _base64(value: bytes) -> Json:
    return base64.b64encode(value).decode()


def _double(value: float) -> Json:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _float(value: float) -> Json:
    """The shortest decimal that is the same 32-bit number."""
    if not math.isfinite(value):
        return _double(value)
    packed = struct.pack("f", value)
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack("f", short) == packed:
                return short
        except OverflowError:  # rounded up past the largest one
            continue
    return float(f"{value:.9g}")


def _key(value: bool | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _timestamp(message: timestamp_pb2.Timestamp) -> Json:
    """As Timestamp.ToJsonString, several times faster; most messages hold a few times."""
    nanos = message.nanos
    if not 0 <= nanos < 1_000_000_000:
        raise ValueError(f"a timestamp has {nanos} nanoseconds")
    try:
        text = (_EPOCH + timedelta(seconds=message.seconds)).isoformat()
    except OverflowError as error:
        raise ValueError(f"a timestamp has {message.seconds} seconds, outside of the years 1 to 9999") from error
    if not nanos:
        return f"{text}Z"
    digits = f"{nanos:09d}"
    return f"{text}.{digits[:3] if nanos % 1_000_000 == 0 else digits[:6] if nanos % 1_000 == 0 else digits}Z"


def _text(message: Any) -> Json:
    return cast("str", message.ToJsonString())


def _struct(message: struct_pb2.Struct) -> Json:
    return {key: _struct_value(value) for key, value in message.fields.items()}


def _struct_list(message: struct_pb2.ListValue) -> Json:
    return [_struct_value(value) for value in message.values]


def _struct_value(message: struct_pb2.Value) -> Json:
    match message.WhichOneof("kind"):
        case "string_value":
            return message.string_value
        case "bool_value":
            return message.bool_value
        case "number_value":
            number = message.number_value
            if number.is_integer() and abs(number) < _WHOLE_FLOAT_MAX:
                return int(number)
            return _double(number)
        case "struct_value":
            return _struct(message.struct_value)
        case "list_value":
            return _struct_list(message.list_value)
        case _:
            return None


_STRUCTS: Mapping[str, Convert] = {
    "google.protobuf.Struct": _struct,
    "google.protobuf.ListValue": _struct_list,
    "google.protobuf.Value": _struct_value,
}
