"""Attribute paths of promises (`task().field[2]`): walking into collections, maps, dataclasses and unions.

Rules of Flyte v1, except that unions are looked through instead of ignored. Values on the way that a task has put apart
must be given; one that a path ends at is handed on as it is.
"""

from collections.abc import Callable
from typing import TypeAlias, cast

import msgpack
from flyteidl.core import literals_pb2
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError

PathStep: TypeAlias = str | int

_MSGPACK = "msgpack"
_Plain: TypeAlias = "bool | int | float | str | bytes | list[_Plain] | dict[_Plain, _Plain] | None"


class AttributePathError(ValueError):
    """The path does not fit the value; the text says where."""


class NeedsApartError(Exception):
    """The path leads into a value that was put apart at `uri` and is not at hand."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"the value at {uri} must be loaded")
        self.uri = uri


def resolve_attribute(
    literal: bytes, path: tuple[PathStep, ...], load: Callable[[str], bytes | None] | None = None
) -> bytes:
    """The serialized literal at `path` inside a serialized literal.

    `load` gives the content of values that were put apart, by their uris, as far as it is at hand. Raises
    AttributePathError and NeedsApartError.
    """
    current = literals_pb2.Literal.FromString(literal)
    for position, step in enumerate(path):
        current = _unwrap(current, load)
        kind = current.WhichOneof("value")
        if kind == "map" and isinstance(step, str):
            if step not in current.map.literals:
                raise AttributePathError(f"no key '{step}' in the map")
            current = current.map.literals[step]
        elif kind == "collection" and isinstance(step, int):
            if not 0 <= step < len(current.collection.literals):
                raise AttributePathError(f"index {step} is outside of {len(current.collection.literals)} elements")
            current = current.collection.literals[step]
        elif kind == "scalar" and current.scalar.WhichOneof("value") == "binary":
            return _from_binary(current.scalar.binary, path[position:]).SerializeToString()
        elif kind == "scalar" and current.scalar.WhichOneof("value") == "generic":
            return _from_struct(current.scalar.generic, path[position:]).SerializeToString()
        else:
            raise AttributePathError(f"'{step}' does not apply to a {kind or 'value that is not set'}")
    return current.SerializeToString()


def _unwrap(literal: literals_pb2.Literal, load: Callable[[str], bytes | None] | None) -> literals_pb2.Literal:
    """What is in unions, and what was put apart once."""
    is_apart = False
    while True:
        if literal.scalar.WhichOneof("value") == "union":
            literal = literal.scalar.union.value
        elif literal.WhichOneof("value") == "offloaded_metadata":
            uri = literal.offloaded_metadata.uri
            if is_apart:
                raise AttributePathError(f"what is stored apart is stored apart once more, at {uri}")
            content = load(uri) if load is not None else None
            if content is None:
                raise NeedsApartError(uri)
            try:
                literal, is_apart = literals_pb2.Literal.FromString(content), True
            except DecodeError as error:
                raise AttributePathError(f"what is stored at {uri} is no literal") from error
        else:
            return literal


def _from_binary(binary: literals_pb2.Binary, path: tuple[PathStep, ...]) -> literals_pb2.Literal:
    if binary.tag != _MSGPACK:
        raise AttributePathError(f"cannot look into a binary value with tag '{binary.tag}'")
    # msgpack ships no types.
    plain = cast("_Plain", msgpack.unpackb(binary.value, strict_map_key=False))  # pyright: ignore[reportUnknownMemberType]
    found = _walk(plain, path)
    return _msgpack_literal(found)


def _msgpack_literal(value: _Plain) -> literals_pb2.Literal:
    if isinstance(value, list):
        collection = literals_pb2.LiteralCollection(literals=[_packed(element) for element in value])
        return literals_pb2.Literal(collection=collection)
    primitive = _primitive(value)
    return _packed(value) if primitive is None else primitive


def _packed(value: _Plain) -> literals_pb2.Literal:
    packed = cast("bytes", msgpack.packb(value))  # pyright: ignore[reportUnknownMemberType]
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=literals_pb2.Binary(value=packed, tag=_MSGPACK)))


def _primitive(value: _Plain) -> literals_pb2.Literal | None:
    match value:
        case bool():
            primitive = literals_pb2.Primitive(boolean=value)
        case int():
            primitive = literals_pb2.Primitive(integer=value)
        case float():
            primitive = literals_pb2.Primitive(float_value=value)
        case str():
            primitive = literals_pb2.Primitive(string_value=value)
        case _:
            return None
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))


def _from_struct(struct: struct_pb2.Struct, path: tuple[PathStep, ...]) -> literals_pb2.Literal:
    value = struct_pb2.Value(struct_value=struct)
    for step in path:
        kind = value.WhichOneof("kind")
        if kind == "struct_value" and isinstance(step, str):
            if step not in value.struct_value.fields:
                raise AttributePathError(f"no field '{step}'")
            value = value.struct_value.fields[step]
        elif kind == "list_value" and isinstance(step, int):
            if not 0 <= step < len(value.list_value.values):
                raise AttributePathError(f"index {step} is outside of {len(value.list_value.values)} elements")
            value = value.list_value.values[step]
        else:
            raise AttributePathError(f"'{step}' does not apply to a {kind}")
    return _struct_literal(value)


def _struct_literal(value: struct_pb2.Value) -> literals_pb2.Literal:
    match value.WhichOneof("kind"):
        case "struct_value":
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(generic=value.struct_value))
        case "list_value":
            elements = [_struct_literal(element) for element in value.list_value.values]
            return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=elements))
        case "number_value":
            primitive = literals_pb2.Primitive(float_value=value.number_value)
        case "string_value":
            primitive = literals_pb2.Primitive(string_value=value.string_value)
        case "bool_value":
            primitive = literals_pb2.Primitive(boolean=value.bool_value)
        case _:
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(none_type=literals_pb2.Void()))
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))


def _walk(value: _Plain, path: tuple[PathStep, ...]) -> _Plain:
    for step in path:
        if isinstance(value, dict):
            if step not in value:
                raise AttributePathError(f"no field '{step}'")
            value = value[step]
        elif isinstance(value, list) and isinstance(step, int):
            if not 0 <= step < len(value):
                raise AttributePathError(f"index {step} is outside of {len(value)} elements")
            value = value[step]
        else:
            raise AttributePathError(f"'{step}' does not apply to a {type(value).__name__}")
    return value
