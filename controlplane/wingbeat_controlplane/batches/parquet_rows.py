"""Rows of a Parquet file, through pyarrow (the extra `parquet`)."""

import base64
import datetime as dt
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from wingbeat_controlplane.batches.manifest_rows import ManifestError, ManifestRow, Place
from wingbeat_controlplane.launching.json_literals import Json
from wingbeat_controlplane.launching.literal_json import json_of_float

PORTION = 500
"""Rows made into Python values at once."""

_UNREADABLE = (cast("type[Exception]", pa.ArrowException), OSError)  # pyright: ignore[reportUnknownMemberType]
"""What pyarrow says of a file that is damaged."""
_NO_VALUE = (*_UNREADABLE, ValueError, OverflowError, LookupError)
"""What it says of times that Python has none for, zones that nobody knows, and text that is no UTF-8."""


class ParquetRows:
    """Rows by their number."""

    is_text = False

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._file: Any = cast("Any", pq).ParquetFile(file)
        except _UNREADABLE as error:
            raise ManifestError(f"it is no Parquet file: {error}") from None
        names: list[str] = self._file.schema_arrow.names
        if len(set(names)) != len(names):
            raise ManifestError("names of columns are expected, each once")

    def start(self) -> Place:
        """The first row."""
        return Place(0, 1)

    def rows(self, place: Place) -> Iterator[ManifestRow]:
        """Rows from there on, group by group. Raises ManifestError for what is damaged: nothing tells where it ends."""
        begin = 0
        for group in range(self._file.num_row_groups):
            count = int(self._file.metadata.row_group(group).num_rows)
            if begin + count > place.offset:
                number = begin
                for portion in self._portions(group, number):
                    if number + portion.num_rows > place.offset:
                        skipped = max(0, place.offset - number)
                        yield from _rows_of(portion.slice(skipped), number + skipped)
                    number += portion.num_rows
            begin += count

    def _portions(self, group: int, number: int) -> Iterator[Any]:
        """The row group that begins with row `number`."""
        try:
            for portion in self._file.iter_batches(batch_size=PORTION, row_groups=[group]):
                number += portion.num_rows
                yield portion
        except _UNREADABLE as error:
            raise ManifestError(f"row {number + 1} or one of the next is damaged: {error}") from None


def _rows_of(portion: Any, number: int) -> Iterator[ManifestRow]:
    """Those of a record batch, of which the first has that number."""
    try:
        rows = [_members(values) for values in portion.to_pylist()]
    except _NO_VALUE:
        rows = [_members_or_error(portion.slice(place, 1), number + place) for place in range(portion.num_rows)]
    weight = portion.nbytes // max(1, portion.num_rows)
    for offset, row in enumerate(rows, number):
        place, following = Place(offset, offset + 1), Place(offset + 1, offset + 2)
        if isinstance(row, str):
            yield ManifestRow(place, following, error=row, weight=weight)
        else:
            yield ManifestRow(place, following, members=row, weight=weight)


def _members_or_error(row: Any, number: int) -> dict[str, Json] | str:
    try:
        return _members(row.to_pylist()[0])
    except _NO_VALUE as error:
        return f"row {number + 1} has a value that cannot be read: {error}"


def _members(values: dict[str, object]) -> dict[str, Json]:
    """Every row has every column: null is what is not given."""
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: object) -> Json:
    """As JSON says it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return json_of_float(value)
        case dt.datetime():
            return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).isoformat()
        case dt.date():
            return value.isoformat()
        case dt.timedelta():
            return value.total_seconds()
        case dict():
            return {str(key): _plain(one) for key, one in cast("dict[object, object]", value).items()}
        case list():
            elements = cast("list[object]", value)
            if elements and all(isinstance(one, tuple) for one in elements):  # a map
                return {str(key): _plain(one) for key, one in cast("list[tuple[object, object]]", elements)}
            return [_plain(one) for one in elements]
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return str(value)
