"""Values that flow between nodes, kept as serialized FlyteIDL literals.

The engine passes most values on without looking inside, so it cuts LiteralMaps at the wire level and moves bytes. A
value too large for a row stays in the blob store and travels as a `Ref`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

INLINE_BYTES_MAX = 64 * 1024
"""Largest serialized LiteralMap kept in a row; larger ones are blobs."""


@dataclass(frozen=True, slots=True)
class Ref:
    """The literal under `var` in the LiteralMap stored at `uri`."""

    uri: str
    var: str


Value: TypeAlias = bytes | Ref
"""One literal: its serialized `flyteidl.core.Literal`, or where to find it."""

Values: TypeAlias = Mapping[str, Value]
"""A LiteralMap by variable name."""


class MalformedLiteralMapError(ValueError):
    """The bytes are not a serialized LiteralMap."""


def split_literal_map(data: bytes) -> dict[str, bytes]:
    """Cut a serialized `flyteidl.core.LiteralMap` into serialized literals without parsing them.

    Raises MalformedLiteralMapError on bytes that are no protobuf message of that form.
    """
    values: dict[str, bytes] = {}
    view = memoryview(data)
    position = 0
    end = len(data)
    try:
        while position < end:
            tag, position = _varint(data, position)
            if tag != 0x0A:
                position = _skip(data, position, tag & 7)
                continue
            size, position = _varint(data, position)
            limit = position + size
            if limit > end:
                raise MalformedLiteralMapError("entry runs past the end")
            key, literal = _entry(data, view, position, limit)
            values[key] = literal
            position = limit
    except (IndexError, UnicodeDecodeError) as error:
        raise MalformedLiteralMapError(str(error)) from error
    if position != end:
        raise MalformedLiteralMapError("truncated message")
    return values


def stored_values(data: bytes | None, uri: str | None, names: Sequence[str]) -> dict[str, Value]:
    """Values as a row keeps them: inline in `data`, or as references to `names` in the map at `uri`."""
    if data is not None:
        return dict(split_literal_map(data))
    if uri is not None:
        return {var: Ref(uri, var) for var in names}
    return {}


def build_literal_map(values: Mapping[str, bytes]) -> bytes:
    """Serialize a LiteralMap from serialized literals."""
    parts: list[bytes] = []
    for key, literal in values.items():
        name = key.encode()
        if len(name) + len(literal) < 120:  # every length fits one byte
            size, rest = len(name), len(literal)
            parts.append(b"\x0a%c\x0a%c%b\x12%c%b" % (size + rest + 4, size, name, rest, literal))
            continue
        entry_size = 1 + _varint_size(len(name)) + len(name) + 1 + _varint_size(len(literal)) + len(literal)
        parts += (
            b"\x0a",
            _encode(entry_size),
            b"\x0a",
            _encode(len(name)),
            name,
            b"\x12",
            _encode(len(literal)),
            literal,
        )
    return b"".join(parts)


def wire_field(number: int, payload: bytes) -> bytes:
    """One length-delimited protobuf field, `number` below 16."""
    return bytes((number << 3 | 2,)) + _encode(len(payload)) + payload


def inline_size(values: Values) -> int | None:
    """Bytes of the map when every value is inline, None when one is a Ref."""
    total = 0
    for key, value in values.items():
        if isinstance(value, Ref):
            return None
        total += len(key) + len(value) + 8
    return total


def _entry(data: bytes, view: memoryview, position: int, limit: int) -> tuple[str, bytes]:
    key = ""
    literal = b""
    while position < limit:
        tag, position = _varint(data, position)
        if tag in (0x0A, 0x12):
            size, position = _varint(data, position)
            if position + size > limit:
                raise MalformedLiteralMapError("field runs past its entry")
            chunk = bytes(view[position : position + size])
            if tag == 0x0A:
                key = chunk.decode()
            else:
                literal = chunk
            position += size
        else:
            position = _skip(data, position, tag & 7)
    return key, literal


def _varint(data: bytes, position: int) -> tuple[int, int]:
    byte = data[position]
    position += 1
    if byte < 0x80:
        return byte, position
    value = byte & 0x7F
    shift = 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise MalformedLiteralMapError("varint too long")


def _skip(data: bytes, position: int, wire_type: int) -> int:
    if wire_type == 0:
        return _varint(data, position)[1]
    if wire_type == 1:
        return position + 8
    if wire_type == 2:
        size, position = _varint(data, position)
        return position + size
    if wire_type == 5:
        return position + 4
    raise MalformedLiteralMapError(f"wire type {wire_type}")


def _encode(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint_size(value: int) -> int:
    return max(1, (value.bit_length() + 6) // 7)
