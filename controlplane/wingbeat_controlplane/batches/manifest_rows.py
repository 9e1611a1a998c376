"""Rows of a manifest, read from a local copy: from anywhere, forward, a row at a time.

Each format finds its next row from an offset that a row before had, so a driver that takes over goes on where the last
one was, and a row that is launched again is found at once. Memory holds a row, of Parquet a portion of one row group.
A row that cannot be read is a row with an error, which names its line; reading goes on behind it if the format allows.
"""

import codecs
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, cast

import orjson
from google.protobuf.message import DecodeError

from wingbeat_controlplane.launching.json_literals import Json
from wingbeat_controlplane.launching.refusals import invalid_field
from wingbeatidl.batch.v1 import manifest_pb2
from wingbeatidl.launch.v1 import item_pb2

ROW_BYTES_MAX = 10 << 20
"""Longest row."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row begins: bytes into the file (Parquet: rows), and its line, from 1 (Parquet: its number, from 1)."""

    offset: int
    line: int


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One row, and where the next one begins. Exactly one of the last three is set: members by name (of CSV as text),
    an item, or why it cannot be read."""

    place: Place
    following: Place
    members: Mapping[str, Json] | None = None
    item: item_pb2.LaunchItem | None = None
    error: str | None = None
    weight: int = field(default=0, compare=False)
    """Bytes, where places do not tell them."""

    @property
    def size(self) -> int:
        """Bytes, about."""
        return self.weight or self.following.offset - self.place.offset


class ManifestError(ValueError):
    """The manifest as a whole cannot be read; the text says why."""


class RowReader(Protocol):
    """Reads rows of one format."""

    is_text: bool
    """Whether members are text that stands for values."""

    def start(self) -> Place:
        """Where the first row begins. Raises ManifestError."""
        ...

    def rows(self, place: Place) -> Iterator[ManifestRow]:
        """Rows from `place` on."""
        ...


def open_rows(file: BinaryIO, form: manifest_pb2.ManifestFormat) -> RowReader:
    """The reader of a format. Raises ManifestError when the format needs what is not installed."""
    match form:
        case manifest_pb2.MANIFEST_FORMAT_CSV:
            return CsvRows(file)
        case manifest_pb2.MANIFEST_FORMAT_ITEMS:
            return ItemRows(file)
        case manifest_pb2.MANIFEST_FORMAT_PARQUET:
            try:
                from wingbeat_controlplane.batches.parquet_rows import ParquetRows  # pyarrow is an extra
            except ImportError:
                raise ManifestError("Parquet manifests need the extra wingbeat[parquet] on the server") from None
            return ParquetRows(file)
        case _:
            return JsonRows(file)


class JsonRows:
    """JSON Lines."""

    is_text = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def start(self) -> Place:
        """The beginning."""
        return Place(0, 1)

    def rows(self, place: Place) -> Iterator[ManifestRow]:
        """Lines that are not empty."""
        self._file.seek(place.offset)
        while line := self._file.readline(ROW_BYTES_MAX + 1):
            size = len(line)
            is_long = size > ROW_BYTES_MAX and not line.endswith(b"\n")
            while is_long and (rest := self._file.readline(ROW_BYTES_MAX)):
                size += len(rest)
                if rest.endswith(b"\n"):
                    break
            following = Place(place.offset + size, place.line + 1)
            if is_long:
                yield ManifestRow(place, following, error=f"line {place.line} has more than {ROW_BYTES_MAX} bytes")
            elif line.strip():
                text = line if place.offset else line.removeprefix(codecs.BOM_UTF8)
                yield _json_row(text, place, following)
            place = following
            self._file.seek(place.offset)


def _json_row(line: bytes, place: Place, following: Place) -> ManifestRow:
    try:
        value: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        reason = f"line {place.line} is no JSON: {error.msg} at character {error.pos + 1}"
        return ManifestRow(place, following, error=reason)
    if not isinstance(value, dict):
        return ManifestRow(place, following, error=f"line {place.line} is no JSON object")
    return ManifestRow(place, following, members=cast("dict[str, Json]", value))


class CsvRows:
    """RFC 4180 with a header line."""

    is_text = True

    def __init__(self, file: BinaryIO) -> None:
        csv.field_size_limit(ROW_BYTES_MAX)  # of the process, which reads no other CSV; a record has the same limit
        self._file = file
        self._header: list[str] = []

    def start(self) -> Place:
        """Behind the header."""
        self._file.seek(0)
        lines = _Lines(self._file, Place(0, 1))
        try:
            self._header = next(csv.reader(lines, strict=True), list[str]())
        except (csv.Error, UnicodeDecodeError) as error:
            raise ManifestError(f"line 1 is no CSV header: {error}") from None
        if not self._header or len(set(self._header)) != len(self._header) or "" in self._header:
            raise ManifestError("line 1 is no CSV header: names of columns are expected, each once")
        return lines.place

    def rows(self, place: Place) -> Iterator[ManifestRow]:
        """Records; a quoted value may span lines."""
        if not self._header:
            self.start()
        while True:
            self._file.seek(place.offset)
            lines = _Lines(self._file, place)
            reader = csv.reader(lines, strict=True)
            while True:
                try:
                    values = next(reader, None)
                except (csv.Error, UnicodeDecodeError) as error:
                    following = lines.after_first(place)
                    yield ManifestRow(place, following, error=f"line {place.line} is no CSV: {error}")
                    place = following
                    break  # a quote may have swallowed what follows: go on at the next line
                if values is None:
                    return
                following = lines.next_record()
                if values:
                    yield self._row(values, place, following)
                place = following

    def _row(self, values: list[str], place: Place, following: Place) -> ManifestRow:
        if len(values) != len(self._header):
            reason = f"line {place.line} has {len(values)} values for {len(self._header)} columns"
            return ManifestRow(place, following, error=reason)
        return ManifestRow(place, following, members=dict(zip(self._header, values, strict=True)))


class _Lines:
    """Lines of a file as text, with the place behind the last one that was taken. A record of many lines (a quote that
    does not end, perhaps) may have as many bytes as a row."""

    def __init__(self, file: BinaryIO, place: Place) -> None:
        self._file = file
        self._record = place.offset
        self.place = place

    def next_record(self) -> Place:
        """A record has ended: where the next one begins."""
        self._record = self.place.offset
        return self.place

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self._file.seek(self.place.offset)  # others may have read meanwhile
        line = self._file.readline(ROW_BYTES_MAX + 1)
        if not line:
            raise StopIteration
        begin = self.place.offset
        self.place = Place(begin + len(line), self.place.line + 1)
        if self.place.offset - self._record > ROW_BYTES_MAX:
            raise csv.Error(f"the record has more than {ROW_BYTES_MAX} bytes; is there a quote that does not end?")
        return line.decode() if begin else line.removeprefix(codecs.BOM_UTF8).decode()

    def after_first(self, place: Place) -> Place:
        """Behind the line that begins at `place`."""
        self._file.seek(place.offset)
        size = 0
        while line := self._file.readline(ROW_BYTES_MAX):
            size += len(line)
            if line.endswith(b"\n"):
                break
        return Place(place.offset + size, place.line + 1)


class ItemRows:
    """Serialized items, each after its length as a varint."""

    is_text = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def start(self) -> Place:
        """The beginning."""
        return Place(0, 1)

    def rows(self, place: Place) -> Iterator[ManifestRow]:
        """Items; behind a broken length nothing can be read."""
        end = self._file.seek(0, io.SEEK_END)
        while place.offset < end:
            self._file.seek(place.offset)
            head = self._file.read(5)
            size, width = _varint(head)
            following = Place(place.offset + width + size, place.line + 1)
            if not width or following.offset > end:
                following = Place(end, place.line + 1)
                yield ManifestRow(place, following, error=f"item {place.line} is cut off or has no length")
            elif size > ROW_BYTES_MAX:
                reason = f"item {place.line} has {size} bytes, more than the {ROW_BYTES_MAX} that a row may have"
                yield ManifestRow(place, following, error=reason)
            else:
                self._file.seek(place.offset + width)
                try:
                    item = item_pb2.LaunchItem.FromString(self._file.read(size))
                    yield ManifestRow(place, following, item=item)
                except DecodeError:
                    yield ManifestRow(place, following, error=f"item {place.line} is no LaunchItem")
            place = following


def delimited(item: item_pb2.LaunchItem) -> bytes:
    """An item as ItemRows reads it."""
    data = item.SerializeToString()
    size = len(data)
    head = bytearray()
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + data


def _varint(head: bytes) -> tuple[int, int]:
    """Value and width of a varint; width 0: there is none."""
    value = 0
    for place, byte in enumerate(head):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, place + 1
    return 0, 0


def text_member(members: Mapping[str, Json], name: str) -> str:
    """A member of a row that is text. Raises RefusedError."""
    value = members.get(name)
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        raise invalid_field(name, "text is expected")
    return str(value)


def map_member(members: Mapping[str, Json], name: str) -> dict[str, str]:
    """A member of a row that is an object of texts, or JSON text of one. Raises RefusedError."""
    value = members.get(name)
    if isinstance(value, str) and value:
        try:
            value = cast("Json", orjson.loads(value))
        except orjson.JSONDecodeError as error:
            raise invalid_field(name, f"it is no JSON: {error}") from None
    if not value:
        return {}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise invalid_field(name, "an object of texts is expected")
    return cast("dict[str, str]", value)
