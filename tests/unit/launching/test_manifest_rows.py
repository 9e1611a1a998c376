"""Readers of manifests: rows, places, and what is broken, by line; and rows as items."""

import io
import itertools
import json
import math
import struct
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flyteidl.core import interface_pb2, types_pb2

from wingbeat_controlplane.batches.manifest_rows import (
    ROW_BYTES_MAX,
    ManifestError,
    ManifestRow,
    Place,
    delimited,
    open_rows,
)
from wingbeat_controlplane.batches.row_items import row_item
from wingbeatidl.batch.v1 import manifest_pb2
from wingbeatidl.launch.v1 import item_pb2

JSON_LINES, CSV, PARQUET, ITEMS = (
    manifest_pb2.MANIFEST_FORMAT_JSON_LINES,
    manifest_pb2.MANIFEST_FORMAT_CSV,
    manifest_pb2.MANIFEST_FORMAT_PARQUET,
    manifest_pb2.MANIFEST_FORMAT_ITEMS,
)


def _parquet() -> bytes:
    file = io.BytesIO()
    table = pa.table({"x": list(range(1700)), "t": [f"t{number}" for number in range(1700)]})
    pq.write_table(table, file, row_group_size=600)
    return file.getvalue()


def _manifest(form: int) -> bytes:
    match form:
        case manifest_pb2.MANIFEST_FORMAT_CSV:
            return 'x,t\r\n1,"a, ""b""\nc"\r\n\r\n2,ü\r\n3,\r\n'.encode()
        case manifest_pb2.MANIFEST_FORMAT_PARQUET:
            return _parquet()
        case manifest_pb2.MANIFEST_FORMAT_ITEMS:
            return b"".join(delimited(item_pb2.LaunchItem(name="n" * number)) for number in (0, 1, 300))
        case _:
            return '{"x": 1}\n\n{"x": 2, "t": "ü"}\r\n{"x": 3}'.encode()


@pytest.mark.parametrize("form", [JSON_LINES, CSV, PARQUET, ITEMS])
def test_reading_goes_on_from_any_row(form: int) -> None:
    """Each row's place leads back to it and to all that follow, also while another reading is under way."""
    reader = open_rows(io.BytesIO(_manifest(form)), form)
    every = list(reader.rows(reader.start()))
    assert len(every) == (1700 if form == PARQUET else 3)
    assert all(row.error is None for row in every)
    for number in (0, 1, 2, len(every) - 1):
        rest = reader.rows(every[number].place)
        assert next(rest) == every[number]
        other = reader.rows(every[0].place)
        assert next(other) == every[0]
        assert list(rest) == every[number + 1 :]
        after = every[number + 1] if number + 1 < len(every) else None
        assert next(iter(reader.rows(every[number].following)), None) == after


def test_lines_are_counted() -> None:
    """Lines are those of the file: empty ones count, and a record of several has the first of them."""
    reader = open_rows(io.BytesIO(_manifest(CSV)), CSV)
    assert [row.place.line for row in reader.rows(reader.start())] == [2, 5, 6]
    reader = open_rows(io.BytesIO(_manifest(JSON_LINES)), JSON_LINES)
    assert [row.place.line for row in reader.rows(reader.start())] == [1, 3, 4]


@pytest.mark.parametrize(
    ("form", "data", "errors", "good"),
    [
        (JSON_LINES, b'{"x": 1}\n{"x":\n[1]\n{"x": 2}\n', ["line 2 is no JSON", "line 3 is no JSON object"], 2),
        (JSON_LINES, b'{"x": "\xff"}\n{}\n', ["line 1 is no JSON"], 1),
        (CSV, b'x,t\n1\n1,2\n"a"b,2\n3,4\n', ["line 2 has 1 values for 2 columns", "line 4 is no CSV"], 2),
        (CSV, b'x\n1\n"2\n3\n4\n', ["line 3 is no CSV"], 3),
        (CSV, b"x\n\xff\n3\n", ["line 2 is no CSV"], 1),
        (ITEMS, delimited(item_pb2.LaunchItem()) + b"\x05ab", ["item 2 is cut off"], 1),
        (ITEMS, b"\x02\xff\xff" + delimited(item_pb2.LaunchItem()), ["item 1 is no LaunchItem"], 1),
    ],
)
def test_broken_rows_name_their_line(form: int, data: bytes, errors: list[str], good: int) -> None:
    """Reading goes on behind them."""
    reader = open_rows(io.BytesIO(data), form)
    rows = list(reader.rows(reader.start()))
    found = [row.error for row in rows if row.error is not None]
    assert len(found) == len(errors)
    assert all(text.startswith(wanted) for text, wanted in zip(found, errors, strict=True))
    assert sum(row.error is None for row in rows) == good


@pytest.mark.parametrize("data", [b"", b"\n1", b"a,a\n", b"a,,b\n", b'"a\n'])
def test_bad_headers(data: bytes) -> None:
    """A CSV without names for its columns is no manifest."""
    with pytest.raises(ManifestError, match="header"):
        open_rows(io.BytesIO(data), CSV).start()


def test_what_is_no_parquet() -> None:
    """It is said, not raised by the library."""
    with pytest.raises(ManifestError, match="no Parquet file"):
        open_rows(io.BytesIO(b"PAR1"), PARQUET)


def _parquet_rows(table: pa.Table) -> list[ManifestRow]:
    file = io.BytesIO()
    pq.write_table(table, file)
    reader = open_rows(file, PARQUET)
    return list(reader.rows(reader.start()))


def test_a_damaged_parquet_file() -> None:
    """Rows before the damage are read, and then it is said where it begins."""
    data = bytearray(_parquet())
    group = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1)
    begin = group.column(1).dictionary_page_offset
    data[begin : begin + 400] = b"\xff" * 400
    reader = open_rows(io.BytesIO(bytes(data)), PARQUET)
    read = []
    with pytest.raises(ManifestError, match="row 601 or one of the next is damaged"):
        read.extend(reader.rows(reader.start()))
    assert len(list(itertools.islice(reader.rows(reader.start()), 600))) == 600


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, 2**62, 0], pa.timestamp("us")),
        pa.array([0, 2**31 - 1, 0], pa.date32()),
        pa.array([0, None, 0], pa.timestamp("us", tz="Mars/Base")).fill_null(1),
        pa.Array.from_buffers(
            pa.string(), 3, [None, pa.py_buffer(struct.pack("<4i", 0, 1, 2, 3)), pa.py_buffer(b"a\xffa")]
        ),
    ],
    ids=["time", "date", "zone", "text"],
)
def test_values_of_parquet_that_nobody_can_read(column: pa.Array) -> None:
    """They are their row's own trouble."""
    rows = _parquet_rows(pa.table({"x": [1, 2, 3], "t": column}))
    assert [row.place.line for row in rows] == [1, 2, 3]
    assert rows[1].error is not None
    assert rows[1].error.startswith("row 2 has a value that cannot be read: ")
    if column.type != pa.timestamp("us", tz="Mars/Base"):
        assert [row.members is not None and row.members["x"] for row in rows] == [1, False, 3]


def test_numbers_of_parquet_that_json_has_not() -> None:
    """They are written as JSON inputs write them."""
    rows = _parquet_rows(pa.table({"x": [1.5, math.nan, math.inf, -math.inf]}))
    assert [row.members for row in rows] == [{"x": 1.5}, {"x": "NaN"}, {"x": "Infinity"}, {"x": "-Infinity"}]


def test_columns_of_parquet_with_one_name() -> None:
    """Which of them counts is not guessed."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]), file)
    with pytest.raises(ManifestError, match="each once"):
        open_rows(file, PARQUET)


def test_a_byte_order_mark() -> None:
    """Files that begin with one are read like others."""
    reader = open_rows(io.BytesIO(b'\xef\xbb\xbf"x",t\n1,2\n'), CSV)
    assert [row.members for row in reader.rows(reader.start())] == [{"x": "1", "t": "2"}]
    reader = open_rows(io.BytesIO(b'\xef\xbb\xbf{"x": 1}\n{"x": 2}\n'), JSON_LINES)
    assert [row.members for row in reader.rows(reader.start())] == [{"x": 1}, {"x": 2}]


def test_large_cells() -> None:
    """A cell may be as long as a row; what is longer is an error of one record, and reading goes on behind its first
    line."""
    reader = open_rows(io.BytesIO(b"x\n" + b"c" * 1_000_000 + b"\n2\n"), CSV)
    assert [row.error for row in reader.rows(reader.start())] == [None, None]
    long = b"x\n1\n" + b"c" * (ROW_BYTES_MAX + 10) + b'\n"2\n' + b"3\n" * (ROW_BYTES_MAX // 2)
    reader = open_rows(io.BytesIO(long), CSV)
    rows = list(itertools.islice(reader.rows(reader.start()), 5))
    assert [row.place.line for row in rows] == [2, 3, 4, 5, 6]
    assert [row.error is None for row in rows] == [True, False, False, True, True]
    assert "line 4 is no CSV: the record has more than" in (rows[2].error or "")


def test_an_item_that_is_too_large() -> None:
    """It is said so, and those behind it are read."""
    large = item_pb2.LaunchItem(inputs=item_pb2.Inputs(literals=b"x" * ROW_BYTES_MAX))
    reader = open_rows(io.BytesIO(delimited(large) + delimited(item_pb2.LaunchItem(name="n"))), ITEMS)
    first, second = reader.rows(reader.start())
    assert first.error == f"item 1 has {large.ByteSize()} bytes, more than the {ROW_BYTES_MAX} that a row may have"
    assert second.item is not None


class _Long(io.RawIOBase):
    """A hundred megabytes of rows that are nowhere, the one in the middle broken."""

    SIZE = 100 << 20
    LINE = b'{"text": "' + b"x" * 1011 + b'"}\n'

    def __init__(self) -> None:
        self._at = 0
        self.middle = self.SIZE // len(self.LINE) // 2

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset if whence == 0 else self.SIZE + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray) -> int:
        number, within = divmod(self._at, len(self.LINE))
        line = b"[" * (len(self.LINE) - 1) + b"\n" if number == self.middle else self.LINE
        part = line[within : within + len(buffer)][: max(0, self.SIZE - self._at)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def test_a_hundred_megabytes() -> None:
    """The one broken row is named by its line, and no more than a few rows are in memory."""
    long = _Long()
    reader = open_rows(io.BufferedReader(long), JSON_LINES)
    tracemalloc.start()
    errors = [row.error for row in reader.rows(reader.start()) if row.error is not None]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert errors[0] is not None
    assert errors[0].startswith(f"line {long.middle + 1} is no JSON")
    assert peak < 1 << 20


def test_an_endless_line() -> None:
    """It is an error of its own and never in memory as a whole."""
    data = b'{"x": 1}\n"' + b"x" * (2 * ROW_BYTES_MAX) + b'"\n{"x": 2}\n'
    reader = open_rows(io.BytesIO(data), JSON_LINES)
    rows = list(reader.rows(reader.start()))
    assert [row.place.line for row in rows] == [1, 2, 3]
    assert rows[1].error == f"line 2 has more than {ROW_BYTES_MAX} bytes"


EXPECTED = interface_pb2.ParameterMap(
    parameters={
        name: interface_pb2.Parameter(var=interface_pb2.Variable(type=kind), required=True)
        for name, kind in {
            "number": types_pb2.LiteralType(simple=types_pb2.INTEGER),
            "flag": types_pb2.LiteralType(simple=types_pb2.BOOLEAN),
            "text": types_pb2.LiteralType(simple=types_pb2.STRING),
            "when": types_pb2.LiteralType(simple=types_pb2.DATETIME),
            "long": types_pb2.LiteralType(simple=types_pb2.DURATION),
            "list": types_pb2.LiteralType(collection_type={"simple": types_pb2.FLOAT}),
            "maybe": types_pb2.LiteralType(
                union_type={"variants": [{"simple": types_pb2.INTEGER}, {"simple": types_pb2.NONE}]}
            ),
        }.items()
    }
)


def test_cells() -> None:
    """Text of cells becomes what the interface wants, an empty one nothing, but for text."""
    cells = {"number": "7", "flag": "True", "text": "", "when": "2026-05-01", "long": "1.5", "list": "[1]", "maybe": ""}
    row = ManifestRow(Place(0, 2), Place(9, 3), members=cells)
    made = row_item(row, 0, "", EXPECTED, is_text=True)
    assert made.item is not None
    assert json.loads(made.item.inputs.json) == {
        "number": 7,
        "flag": True,
        "text": "",
        "when": "2026-05-01",
        "long": 1.5,
        "list": [1],
    }
    row = ManifestRow(Place(0, 2), Place(9, 3), members={"number": "seven", "maybe": "8"})
    made = row_item(row, 0, "", EXPECTED, is_text=True)
    assert made.item is not None
    assert json.loads(made.item.inputs.json) == {"number": "seven", "maybe": 8}


@pytest.mark.parametrize(
    ("members", "refusal"),
    [
        ({"@labels": "x"}, "@labels: it is no JSON"),
        ({"@labels": [1]}, "@labels: an object of texts"),
        ({"@annotations": {"a": 1}}, "@annotations: an object of texts"),
        ({"@priority": "high"}, "@priority: a whole number"),
        ({"@name": {}}, "@name: text is expected"),
        ({"@other": 1}, "@other: a row may have"),
        ({"number": json.loads("[" * 300 + "]" * 300)}, "inputs.json: a value cannot be written as JSON"),
    ],
)
def test_rows_that_are_no_items(members: dict, refusal: str) -> None:
    """They are refused with their line and what is wrong."""
    made = row_item(ManifestRow(Place(0, 7), Place(9, 8), members=members), 3, "", EXPECTED, is_text=False)
    assert made.item is None
    assert (made.key, made.refusal.startswith(f"line 7: {refusal}")) == ("3", True), made.refusal
