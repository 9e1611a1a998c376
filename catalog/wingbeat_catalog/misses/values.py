"""PURE: where two values differ, by path into lists, maps, Structs and MessagePack, through unions.

A path is written as in Python: `.name` or `["a name"]` into maps and dataclasses, `[3]` into lists. Values are shown
shortened. The work is bounded: values of many megabytes are only said to differ.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast

import msgpack
from flyteidl.core import literals_pb2
from google.protobuf import struct_pb2, text_format

from wingbeat_catalog.hashing.key_parts import DIGEST_PREFIX
from wingbeat_catalog.hashing.literal_hash import MSGPACK

LITERAL_BYTES_MAX = 1 << 20
"""Larger values are not looked into."""
TEXT_LENGTH_MAX = 120

_unpack = cast("Callable[..., object]", msgpack.unpackb)  # the package carries no types


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that is not looked into."""

    text: str


Tree: TypeAlias = "Mapping[object, Tree] | list[Tree] | str | bytes | int | float | bool | Opaque | None"


class ValueDifference(NamedTuple):
    """One place in which two values differ; None: nothing is there on that side."""

    path: str
    asked: str | None
    kept: str | None


def value_differences(asked: literals_pb2.Literal, kept: literals_pb2.Literal, limit: int) -> list[ValueDifference]:
    """The first places in which two literals that have different digests differ; at least one."""
    found: list[ValueDifference] = []
    for difference in _differences("", tree_of(asked), tree_of(kept)):
        if len(found) == limit:
            break
        found.append(difference)
    return found or [ValueDifference("", _shown(tree_of(asked)), _shown(tree_of(kept)))]


def shown_literal(literal: literals_pb2.Literal) -> str:
    """A value in a few words."""
    return _shown(tree_of(literal))


def tree_of(literal: literals_pb2.Literal) -> Tree:
    """A literal as plain values."""
    if literal.hash:
        is_digest = literal.hash.startswith(DIGEST_PREFIX)
        return Opaque("a large value, of which only the digest was kept" if is_digest else f"hash {literal.hash}")
    if literal.ByteSize() > LITERAL_BYTES_MAX:
        return Opaque(f"a value of {literal.ByteSize()} bytes")
    match literal.WhichOneof("value"):
        case "scalar":
            return _of_scalar(literal.scalar)
        case "collection":
            return [tree_of(member) for member in literal.collection.literals]
        case "map":
            return {name: tree_of(member) for name, member in literal.map.literals.items()}
        case "offloaded_metadata":
            return Opaque(f"a value stored at {literal.offloaded_metadata.uri}")
        case _:
            return Opaque("nothing")


def _of_scalar(scalar: literals_pb2.Scalar) -> Tree:
    match scalar.WhichOneof("value"):
        case "primitive":
            return _of_primitive(scalar.primitive)
        case "none_type":
            return None
        case "union":
            return tree_of(scalar.union.value)
        case "generic":
            return _of_struct(scalar.generic)
        case "binary" if scalar.binary.tag == MSGPACK:
            return _of_msgpack(scalar.binary.value)
        case "blob":
            return Opaque(f"file {scalar.blob.uri}")
        case "structured_dataset":
            return Opaque(f"dataset {scalar.structured_dataset.uri}")
        case "schema":
            return Opaque(f"dataset {scalar.schema.uri}")
        case _:
            return Opaque(text_format.MessageToString(scalar, as_one_line=True))


def _of_primitive(primitive: literals_pb2.Primitive) -> Tree:
    match primitive.WhichOneof("value"):
        case "datetime":
            return Opaque(primitive.datetime.ToJsonString())
        case "duration":
            return Opaque(primitive.duration.ToJsonString())
        case None:
            return Opaque("nothing")
        case name:
            return cast("Tree", getattr(primitive, name))


def _of_struct(struct: struct_pb2.Struct) -> Tree:
    return {name: _of_value(value) for name, value in struct.fields.items()}


def _of_value(value: struct_pb2.Value) -> Tree:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _of_struct(value.struct_value)
        case "list_value":
            return [_of_value(member) for member in value.list_value.values]
        case None | "null_value":
            return None
        case name:
            return cast("Tree", getattr(value, name))


def _of_msgpack(data: bytes) -> Tree:
    try:
        return _plain(_unpack(data, strict_map_key=False, unicode_errors="surrogateescape", timestamp=0))
    except (ValueError, TypeError, RecursionError):  # msgpack's own errors derive from ValueError
        return Opaque(f"{len(data)} bytes that are no MessagePack")


def _plain(value: object) -> Tree:
    match value:
        case dict():
            members = cast("dict[object, object]", value)
            return {name: _plain(member) for name, member in members.items()}
        case list() | tuple():
            return [_plain(member) for member in cast("list[object]", value)]
        case None | bool() | int() | float() | str() | bytes():
            return value
        case _:
            return Opaque(str(value))


def _differences(path: str, asked: Tree, kept: Tree) -> Iterator[ValueDifference]:
    if isinstance(asked, Mapping) and isinstance(kept, Mapping):
        for name, member in asked.items():
            inner = f"{path}{_step(name)}"
            if name not in kept:
                yield ValueDifference(inner, _shown(member), None)
            else:
                yield from _differences(inner, member, kept[name])
        for name, member in kept.items():
            if name not in asked:
                yield ValueDifference(f"{path}{_step(name)}", None, _shown(member))
    elif isinstance(asked, list) and isinstance(kept, list):
        for position, (one, other) in enumerate(zip(asked, kept, strict=False)):
            yield from _differences(f"{path}[{position}]", one, other)
        if len(asked) != len(kept):
            yield ValueDifference(path, _count(len(asked)), _count(len(kept)))
    elif not _same(asked, kept):
        shown, other = _shown(asked), _shown(kept)
        if shown == other:  # of two kinds, or cut to the same beginning
            shown, other = f"{_kind(asked)} {shown}", f"{_kind(kept)} {other}"
        yield ValueDifference(path, shown, other)


def _same(asked: Tree, kept: Tree) -> bool:
    return type(asked) is type(kept) and (asked == kept or (asked != asked and kept != kept))  # noqa: PLR0124  (NaN)


def _step(name: object) -> str:
    return f".{name}" if isinstance(name, str) and name.isidentifier() else f"[{_shown(cast('Tree', name))}]"


def _count(number: int) -> str:
    return "1 item" if number == 1 else f"{number} items"


def _kind(value: Tree) -> str:
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    return type(value).__name__


def _shown(value: Tree) -> str:
    match value:
        case Opaque():
            text = value.text
        case None | bool() | int() | float() | str():
            text = json.dumps(value, ensure_ascii=False)
        case bytes():
            text = f"{len(value)} bytes {value[:16].hex()}"
        case list():
            text = f"a list of {_count(len(value))}"
        case _:
            text = f"a map of {_count(len(value))}"
    return text if len(text) <= TEXT_LENGTH_MAX else f"{text[: TEXT_LENGTH_MAX - 3]}..."
