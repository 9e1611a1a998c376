"""Values that flow between nodes, kept as serialized FlyteIDL literals.

The engine passes most values on without looking inside, so it cuts LiteralMaps at the wire level and moves bytes. A
value too large for a row stays in the blob store and travels as a `Ref`.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

INLINE_BYTES_MAX = 64 * 1024
"""Largest serialized LiteralMap kept in a row; larger ones are blobs."""
ELEMENT_INLINE_BYTES_MAX = 512
"""Likewise for the outputs of one element of an array, which may have very many."""


@dataclass(frozen=True, slots=True)
class Ref:
    """The literal under `var` in the LiteralMap stored at `uri`."""

    uri: str
    var: str


@dataclass(frozen=True, slots=True)
class Apart:
    """The literal that a task has put apart (`offloaded_metadata`): it is the whole object at `uri`."""

    uri: str


Value: TypeAlias = bytes | Ref
"""One literal: its serialized `flyteidl.core.Literal`, or where to find it."""

Values: TypeAlias = Mapping[str, Value]
"""A LiteralMap by variable name."""


class MalformedLiteralMapError(ValueError):
    """The bytes are not a serialized LiteralMap, or not a serialized Literal where one is looked into."""


NONE_LITERAL = b"\x0a\x02\x2a\x00"
"""A serialized Literal of none_type."""


class Items:
    """The elements of a serialized collection literal, each of them found without reading the others.

    Made once, in time linear in the number of elements; keeps the literal and eight bytes an element.
    """

    __slots__ = ("_data", "_spans")

    def __init__(self, literal: bytes) -> None:
        """Raises MalformedLiteralMapError; `literal` must hold a collection (see `collection_span`)."""
        span = collection_span(literal)
        assert span is not None, "only collections have items"
        self._data = literal
        self._spans = array("Q" if len(literal) >> 32 else "I")
        _scan_items(literal, *span, spans=self._spans)

    def __len__(self) -> int:
        return len(self._spans) // 2

    def __getitem__(self, index: int) -> bytes:
        """The serialized literal of one element."""
        return self._data[self._spans[2 * index] : self._spans[2 * index + 1]]


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
            short = _short_entry(data, position, end)
            if short is not None:
                key, literal, position = short
                values[key] = literal
                continue
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


def collection_span(literal: bytes) -> tuple[int, int] | None:
    """Where the LiteralCollection of a serialized Literal begins and ends; None for a literal of another kind.

    Raises MalformedLiteralMapError.
    """
    return _field_span(literal, 0, len(literal), 0x12)


def count_items(literal: bytes) -> int | None:
    """Number of elements of a serialized collection literal, None for one of another kind.

    Raises MalformedLiteralMapError.
    """
    span = collection_span(literal)
    return None if span is None else _scan_items(literal, *span)


def offloaded_uri(literal: bytes) -> str | None:
    """Where the content of a serialized Literal was put apart (`offloaded_metadata`); None for one that is whole.

    Raises MalformedLiteralMapError.
    """
    span = _field_span(literal, 0, len(literal), 0x42)
    uri = None if span is None else _field_span(literal, *span, 0x0A)
    return None if uri is None else literal[uri[0] : uri[1]].decode()


def collection_literal(items: Iterable[bytes]) -> bytes:
    """A serialized collection literal of serialized literals."""
    return wire_field(2, b"".join([wire_field(1, item) for item in items]))


def inline_size(values: Values) -> int | None:
    """Bytes of the map when every value is inline, None when one is a Ref."""
    total = 0
    for key, value in values.items():
        if isinstance(value, Ref):
            return None
        total += len(key) + len(value) + 8
    return total


def _short_entry(data: bytes, position: int, end: int) -> tuple[str, bytes, int] | None:
    """Key, literal and end of an entry that has both in order and lengths of one byte, as most have; None for others.

    Raises UnicodeDecodeError.
    """
    if end - position < 6 or data[position] != 0x0A or data[position + 2] != 0x0A:
        return None
    limit = position + 2 + data[position + 1]
    middle = position + 4 + data[position + 3]
    if limit > end or limit - position > 0x81 or middle + 2 > limit or data[middle] != 0x12:
        return None
    if middle + 2 + data[middle + 1] != limit:
        return None
    return data[position + 4 : middle].decode(), data[middle + 2 : limit], limit


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


def _field_span(data: bytes, position: int, end: int, wanted: int) -> tuple[int, int] | None:
    """Span of the first length-delimited field with the tag byte `wanted`."""
    try:
        while position < end:
            tag, position = _varint(data, position)
            if tag != wanted:
                position = _skip(data, position, tag & 7)
                continue
            size, position = _varint(data, position)
            if position + size > end:
                raise MalformedLiteralMapError("field runs past its message")
            return position, position + size
    except IndexError as error:
        raise MalformedLiteralMapError(str(error)) from error
    if position != end:
        raise MalformedLiteralMapError("truncated message")
    return None


def _scan_items(data: bytes, position: int, end: int, *, spans: "array[int] | None" = None) -> int:
    """Count the `literals` of a LiteralCollection; begin and end of each go to `spans`."""
    count = 0
    try:
        while position < end:
            if data[position] != 0x0A:
                tag, position = _varint(data, position)
                position = _skip(data, position, tag & 7)
                continue
            size = data[position + 1]
            if size < 0x80:
                position += 2
            else:
                size, position = _varint(data, position + 1)
            if spans is not None:
                spans.append(position)
                spans.append(position + size)
            position += size
            count += 1
    except IndexError as error:
        raise MalformedLiteralMapError(str(error)) from error
    if position != end:
        raise MalformedLiteralMapError("an element runs past its collection")
    return count


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
