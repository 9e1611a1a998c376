"""Random messages of any type, out of descriptors."""

from typing import Any, cast

from flyteidl.core import literals_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from wingbeat_controlplane.gateway.descriptors import is_map, is_message, is_repeated

_DEPTH_MAX = 7
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}
_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)


@st.composite
def messages(draw: st.DrawFn, kind: type[Message]) -> Message:
    """A message of this type with some of its fields set, nested ones too."""
    return _draw_message(draw, kind.DESCRIPTOR, 0)


def _draw_message(draw: st.DrawFn, descriptor: Any, depth: int) -> Message:
    message = message_factory.GetMessageClass(cast("Descriptor", descriptor))()
    _fill(draw, message, depth)
    return message


def _fill(draw: st.DrawFn, message: Any, depth: int) -> None:
    name = message.DESCRIPTOR.full_name
    if name == "google.protobuf.Timestamp":
        message.seconds = draw(st.integers(-62135596800, 253402300799))
        message.nanos = draw(st.sampled_from([0, 1, 1000, 5_000_000, 999_999_999]))
        return
    if name == "google.protobuf.Duration":
        message.seconds = draw(st.integers(0, 315576000000 - 1))
        message.nanos = draw(st.sampled_from([0, 1, 1000, 5_000_000]))
        return
    if name == "google.protobuf.Any":
        message.Pack(literals_pb2.Primitive(string_value=draw(_TEXT)))
        return
    if name == "google.protobuf.Value":
        _fill_value(draw, message, depth)
        return
    fields = list(message.DESCRIPTOR.fields)
    if not fields:
        return
    count = max(1, 5 - depth)
    for field in draw(st.lists(st.sampled_from(fields), max_size=count, unique_by=lambda each: each.number)):
        _set(draw, message, field, depth)


def _fill_value(draw: st.DrawFn, message: Any, depth: int) -> None:
    """A Value always has a kind; JSON has no numbers that are none."""
    kinds = ["null_value", "number_value", "string_value", "bool_value"]
    kind = draw(st.sampled_from([*kinds, "struct_value", "list_value"] if depth < _DEPTH_MAX else kinds))
    field = message.DESCRIPTOR.fields_by_name[kind]
    if kind == "number_value":
        message.number_value = draw(st.floats(allow_nan=False, allow_infinity=False))
    elif is_message(field):
        getattr(message, kind).SetInParent()
        _fill(draw, getattr(message, kind), depth + 1)
    else:
        setattr(message, kind, draw(_scalars(field)))


def _set(draw: st.DrawFn, message: Any, field: FieldDescriptor, depth: int) -> None:
    if is_message(field) and depth >= _DEPTH_MAX:
        return
    if is_map(field):
        entry = cast("Descriptor", field.message_type)
        for key in draw(st.lists(_scalars(entry.fields_by_name["key"]), max_size=2)):
            value_field = entry.fields_by_name["value"]
            if is_message(value_field):
                _fill(draw, getattr(message, field.name)[key], depth + 1)
            else:
                getattr(message, field.name)[key] = draw(_scalars(value_field))
    elif is_repeated(field):
        for _ in range(draw(st.integers(0, 2))):
            if is_message(field):
                _fill(draw, getattr(message, field.name).add(), depth + 1)
            else:
                getattr(message, field.name).append(draw(_scalars(field)))
    elif is_message(field):
        getattr(message, field.name).SetInParent()
        _fill(draw, getattr(message, field.name), depth + 1)
    else:
        setattr(message, field.name, draw(_scalars(field)))


def _scalars(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.cpp_type in _INTEGERS:
        return _INTEGERS[field.cpp_type]
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=6)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _TEXT
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return st.floats(width=32, allow_nan=False)
    return st.floats(allow_nan=False)
