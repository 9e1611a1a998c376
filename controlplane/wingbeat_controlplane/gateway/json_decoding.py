"""JSON bodies into messages: proto3 JSON, field names in either casing, unknown fields ignored.

Every refusal names the field by its path. An enum name that does not exist is an error, not an unknown field: a typo
in a state must not become a different state.
"""

from collections.abc import Mapping
from typing import Any, cast

import orjson
from google.protobuf import message_factory, struct_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from wingbeat_controlplane.gateway.descriptors import (
    SPECIAL_MESSAGES,
    TEXT_MESSAGES,
    WRAPPERS,
    fields_by_any_name,
    is_map,
    is_message,
    is_repeated,
)
from wingbeat_controlplane.gateway.scalars import message_from_text, scalar_from_json, scalar_from_text

DEPTH_MAX = 100
"""Messages may nest this deep, as in binary protobuf."""


class MalformedJsonError(ValueError):
    """The text is no JSON, or does not fit the message; the sentence names the field."""


def merge_json(message: Message, data: bytes) -> None:
    """Set fields of `message` from JSON text. Raises MalformedJsonError; the message is then half set."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedJsonError(f"the body is no JSON: {error}") from error
    _merge(message, value, "", 0)


def _merge(message: Any, value: object, path: str, depth: int) -> None:
    """Set a message from its JSON; `path` is empty for the body itself."""
    if depth > DEPTH_MAX:
        raise MalformedJsonError(f"{path}: nested more than {DEPTH_MAX} messages deep")
    descriptor = cast("Descriptor", message.DESCRIPTOR)
    name = descriptor.full_name
    if name in TEXT_MESSAGES or name in WRAPPERS:
        _merge_simple(message, value, path)
    elif name == "google.protobuf.Any":
        _merge_any(message, value, path, depth)
    elif name == "google.protobuf.Struct":
        _merge_struct(message, value, path, depth)
    elif name == "google.protobuf.ListValue":
        _merge_list(message, value, path, depth)
    elif name == "google.protobuf.Value":
        _merge_value(message, value, path, depth)
    else:
        _merge_fields(message, _object(value, path), path, depth)


def _merge_fields(message: Any, value: Mapping[str, object], path: str, depth: int) -> None:
    fields = fields_by_any_name(message.DESCRIPTOR)
    seen: set[str] = set()
    for key, item in value.items():
        field = fields.get(key)
        if field is None:
            continue
        field_path = f"{path}.{field.name}" if path else field.name
        if item is None and not _takes_null(field):
            continue
        for taken in (field.name, field.containing_oneof and f"oneof {field.containing_oneof.name}"):
            if taken in seen:
                raise MalformedJsonError(f"{field_path}: given twice, or beside another one of its alternatives")
            if taken:
                seen.add(taken)
        _merge_field(message, field, item, field_path, depth)


def _merge_field(message: Any, field: FieldDescriptor, value: object, path: str, depth: int) -> None:
    if is_map(field):
        _merge_map(getattr(message, field.name), field, _object(value, path), path, depth)
    elif is_repeated(field):
        if not isinstance(value, list):
            raise MalformedJsonError(f"{path}: a list is expected")
        target = getattr(message, field.name)
        for index, item in enumerate(cast("list[object]", value)):
            element_path = f"{path}[{index}]"
            if is_message(field):
                _merge(target.add(), item, element_path, depth + 1)
            else:
                target.append(_scalar(field, item, element_path))
    elif is_message(field):
        target = getattr(message, field.name)
        target.SetInParent()
        _merge(target, value, path, depth + 1)
    else:
        setattr(message, field.name, _scalar(field, value, path))


def _merge_map(target: Any, field: FieldDescriptor, value: Mapping[str, object], path: str, depth: int) -> None:
    entry = cast("Descriptor", field.message_type)
    key_field, value_field = entry.fields_by_name["key"], entry.fields_by_name["value"]
    for text, item in value.items():
        item_path = f"{path}[{text[:80]!r}]"
        try:
            key = scalar_from_text(key_field, text)
        except ValueError as error:
            raise MalformedJsonError(f"{item_path}: {error}") from error
        if is_message(value_field):
            _merge(target[key], item, item_path, depth + 1)
        else:
            target[key] = _scalar(value_field, item, item_path)


def _merge_simple(message: Any, value: object, path: str) -> None:
    """A time, duration, field mask, or a wrapper of a scalar."""
    descriptor = cast("Descriptor", message.DESCRIPTOR)
    if descriptor.full_name in WRAPPERS:
        message.value = _scalar(descriptor.fields_by_name["value"], value, path)
        return
    if not isinstance(value, str):
        raise MalformedJsonError(f"{path}: a text is expected for a {descriptor.name}")
    try:
        message_from_text(message, value)
    except ValueError as error:
        raise MalformedJsonError(f"{path}: {error}") from error


def _merge_any(message: AnyMessage, value: object, path: str, depth: int) -> None:
    fields = dict(_object(value, path))
    type_url = fields.pop("@type", None)
    if type_url is None and not fields:
        return
    if not isinstance(type_url, str):
        raise MalformedJsonError(f"{path}: an Any has its type under @type")
    try:
        descriptor = message.DESCRIPTOR.file.pool.FindMessageTypeByName(type_url.rpartition("/")[2])
    except KeyError as error:
        raise MalformedJsonError(f"{path}: messages of type {type_url[:200]!r} are unknown here") from error
    packed = message_factory.GetMessageClass(descriptor)()
    special = descriptor.full_name in SPECIAL_MESSAGES
    _merge(packed, fields.get("value") if special else fields, path, depth + 1)
    message.type_url = type_url
    message.value = packed.SerializeToString()


def _merge_struct(message: struct_pb2.Struct, value: object, path: str, depth: int) -> None:
    for key, item in _object(value, path).items():
        _merge_value(message.fields[key], item, f"{path}.{key[:80]}", depth + 1)


def _merge_list(message: struct_pb2.ListValue, value: object, path: str, depth: int) -> None:
    if not isinstance(value, list):
        raise MalformedJsonError(f"{path}: a list is expected")
    for index, item in enumerate(cast("list[object]", value)):
        _merge_value(message.values.add(), item, f"{path}[{index}]", depth + 1)


def _merge_value(message: struct_pb2.Value, value: object, path: str, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise MalformedJsonError(f"{path}: nested more than {DEPTH_MAX} messages deep")
    if isinstance(value, dict):
        message.struct_value.SetInParent()
        _merge_struct(message.struct_value, cast("dict[str, object]", value), path, depth + 1)
    elif isinstance(value, list):
        message.list_value.SetInParent()
        _merge_list(message.list_value, cast("list[object]", value), path, depth + 1)
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, (int, float)):
        message.number_value = value
    elif isinstance(value, str):
        message.string_value = value
    else:
        message.null_value = struct_pb2.NULL_VALUE


def _scalar(field: FieldDescriptor, value: object, path: str) -> str | bytes | int | float | bool:
    if field.enum_type is not None and value is None:
        return 0  # NullValue, the one enum that takes null
    try:
        return scalar_from_json(field, value)
    except ValueError as error:
        raise MalformedJsonError(f"{path}: {error}") from error


def _takes_null(field: FieldDescriptor) -> bool:
    if is_repeated(field):
        return False
    if field.enum_type is not None:
        return field.enum_type.full_name == "google.protobuf.NullValue"
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.Value"


def _object(value: object, path: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise MalformedJsonError(f"{path or 'the body'}: an object is expected")
    return cast("dict[str, object]", value)
