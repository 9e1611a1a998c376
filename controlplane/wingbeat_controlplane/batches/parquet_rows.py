"""Rows of a Parquet file, through pyarrow (the extra `parquet`)."""

import base64
import datetime as dt
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from wingbeat_controlplane.batches.manifest_rows import ManifestError, ManifestRow, Place
from wingbeat_controlplane.launching.json_literals import Json

PORTION = 500
"""Rows made into Python values at once."""


class ParquetRows:
    """Rows by their number."""

    is_text = False

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._file: Any = cast("Any", pq).ParquetFile(file)
        except (cast("type[Exception]", pa.ArrowException), OSError) as error:  # pyright: ignore[reportUnknownMemberType]
            raise ManifestError(f"it is no Parquet file: {error}") from None

    def start(self) -> Place:
        """The first row."""
        return Place(0, 1)

    def rows(self, place: Place) -> Iterator[ManifestRow]:
        """Rows from there on, group by group."""
        begin = 0
        for group in range(self._file.num_row_groups):
            count = int(self._file.metadata.row_group(group).num_rows)
            if begin + count > place.offset:
                number = begin
                for portion in self._file.iter_batches(batch_size=PORTION, row_groups=[group]):
                    if number + portion.num_rows > place.offset:
                        skipped = max(0, place.offset - number)
                        for offset, values in enumerate(portion.slice(skipped).to_pylist(), number + skipped):
                            # Every row has every column: null is what is not given.
                            members = {name: _plain(value) for name, value in values.items() if value is not None}
                            yield ManifestRow(Place(offset, offset + 1), Place(offset + 1, offset + 2), members=members)
                    number += portion.num_rows
            begin += count


def _plain(value: object) -> Json:
    """As JSON says it."""
    match value:
        case None | bool() | int() | float() | str():
            return value
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
