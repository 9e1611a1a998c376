"""What JSON mapping and routes need to know of protobuf descriptors, whichever protobuf release is installed."""

from collections.abc import Mapping
from functools import lru_cache
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

WRAPPERS = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
"""Messages that stand for one scalar which may be unset."""

TEXT_MESSAGES = frozenset(f"google.protobuf.{name}" for name in ("Timestamp", "Duration", "FieldMask"))
"""Messages whose JSON form is a string; their Python classes have ToJsonString and FromJsonString."""

SPECIAL_MESSAGES = (
    WRAPPERS | TEXT_MESSAGES | {f"google.protobuf.{name}" for name in ("Any", "Struct", "Value", "ListValue")}
)
"""Messages whose JSON form is not an object of their fields; inside an Any it stands under `value`."""


def descriptor_of(message: Message) -> Descriptor:
    """Descriptor of a message, by the one name that all implementations share."""
    return cast("Descriptor", message.DESCRIPTOR)


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field is a list or a map."""
    known: bool | None = getattr(field, "is_repeated", None)  # since protobuf 6.31, which warns of `label`
    return getattr(field, "label", None) == FieldDescriptor.LABEL_REPEATED if known is None else known


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def is_message(field: FieldDescriptor) -> bool:
    """Whether a field, or each of its elements, is a message (of a map: its entry)."""
    return field.message_type is not None


@lru_cache(maxsize=4096)
def fields_by_any_name(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    """Fields under their proto names and their camelCase names; a proto name wins."""
    return {field.json_name: field for field in descriptor.fields} | {field.name: field for field in descriptor.fields}
