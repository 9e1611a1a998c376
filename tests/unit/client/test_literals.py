"""Values become literals and values again, without flytekit and with it at the other end."""

import asyncio
import dataclasses
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from types import NoneType
from typing import Any, Literal

import numpy as np
import pytest
from flyteidl.core import literals_pb2, types_pb2
from flytekit.core.context_manager import FlyteContextManager
from flytekit.core.type_engine import TypeEngine
from flytekit.models.literals import Literal as FlyteLiteral
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile
from flytekit.types.numpy.ndarray import NumpyArrayTransformer
from flytekit.types.pickle.pickle import FlytePickleTransformer
from flytekit.types.structured.structured_dataset import StructuredDataset
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from wingbeat.errors import ConversionError
from wingbeat.literals.decode import FailedNode, decode, decode_map, plain
from wingbeat.literals.encode import encode, encode_map
from wingbeat.literals.handles import DataFrame, Directory, File
from wingbeat.literals.shape import shape

SIMPLE = types_pb2.SimpleType


class Size(Enum):
    """How large."""

    SMALL = "small"
    LARGE = "large"


@dataclass
class Point:
    """Where."""

    x: int
    y: float


@dataclass
class Parcel:
    """All sorts of things."""

    name: str
    size: Size
    points: list[Point]
    sent: datetime
    took: timedelta
    weights: dict[str, float]
    note: str | None = None


class Note(BaseModel):
    """A model."""

    title: str
    lines: dict[str, list[int]]


@dataclass
class Label:
    """Files of flytekit inside."""

    text: str
    pages: list[FlyteFile]


@dataclass
class OurLabel:
    """The same with our handles."""

    text: str
    pages: list[File]


PARCEL = Parcel("p", Size.LARGE, [Point(1, 0.5)], datetime(2026, 5, 1, tzinfo=UTC), timedelta(seconds=90), {"a": 1.5})


def simple(kind: int) -> types_pb2.LiteralType:
    """A type without parts."""
    return types_pb2.LiteralType(simple=kind)


def union(*kinds: types_pb2.LiteralType) -> types_pb2.LiteralType:
    """One of these."""
    return types_pb2.LiteralType(union_type=types_pb2.UnionType(variants=kinds))


def collection(kind: types_pb2.LiteralType) -> types_pb2.LiteralType:
    """A list."""
    return types_pb2.LiteralType(collection_type=kind)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MOMENTS = st.datetimes(timezones=st.just(UTC))
SPANS = st.timedeltas(timedelta(days=-3_000_000), timedelta(days=3_000_000))
LEAVES = st.sampled_from(
    [
        (simple(SIMPLE.INTEGER), st.integers(-(2**63), 2**63 - 1)),
        (simple(SIMPLE.FLOAT), st.floats(allow_nan=False)),
        (simple(SIMPLE.STRING), st.text()),
        (simple(SIMPLE.BOOLEAN), st.booleans()),
        (simple(SIMPLE.DATETIME), MOMENTS),
        (simple(SIMPLE.DURATION), SPANS),
        (simple(SIMPLE.NONE), st.none()),
        (simple(SIMPLE.BINARY), st.binary()),
        (simple(SIMPLE.STRUCT), JSON),
        (types_pb2.LiteralType(enum_type=types_pb2.EnumType(values=["a", "b"])), st.sampled_from(["a", "b"])),
        (
            types_pb2.LiteralType(blob=types_pb2.BlobType(format="csv")),
            st.text(min_size=1).map(lambda uri: File(uri=uri, format="csv")),
        ),
        (
            types_pb2.LiteralType(structured_dataset_type=types_pb2.StructuredDatasetType(format="parquet")),
            st.text(min_size=1).map(lambda uri: DataFrame(uri=uri)),
        ),
    ]
)


@st.composite
def typed_values(draw: st.DrawFn, depth: int = 3) -> tuple[types_pb2.LiteralType, Any]:
    """A type, and a value of it."""
    shape_of = draw(st.sampled_from(["leaf", "list", "map", "optional"] if depth else ["leaf"]))
    if shape_of == "leaf":
        kind, values = draw(LEAVES)
        return kind, draw(values)
    kind, value = draw(typed_values(depth - 1))
    if shape_of == "list":
        return collection(kind), [value] * draw(st.integers(0, 3))
    if shape_of == "map":
        return types_pb2.LiteralType(map_value_type=kind), {draw(st.text()): value}
    return union(kind, simple(SIMPLE.NONE)), draw(st.sampled_from([value, None]))


@given(typed_values())
def test_there_and_back(typed: tuple[types_pb2.LiteralType, Any]) -> None:
    """Every value comes back equal and of its own type, through the wire form."""
    kind, value = typed
    literal = literals_pb2.Literal.FromString(encode(value, kind).SerializeToString())

    found = decode(literal)

    assert found == value
    assert type(found) is type(value)


FLYTEKIT = [
    (int, 3, 3),
    (float, 1.5, 1.5),
    (str, "straße", "straße"),
    (bool, True, True),
    (datetime, datetime(2026, 5, 1, 12, tzinfo=UTC), datetime(2026, 5, 1, 12, tzinfo=UTC)),
    (timedelta, timedelta(minutes=5), timedelta(minutes=5)),
    (datetime, datetime(1969, 12, 31, 23, 59, 59, 7, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 7, tzinfo=UTC)),
    (date, date(2026, 5, 1), datetime(2026, 5, 1, tzinfo=UTC)),
    (timedelta, timedelta(days=-1, microseconds=5), timedelta(days=-1, microseconds=5)),
    (NoneType, None, None),
    (Literal["a", "b"], "b", "b"),
    (list[Size | None], [Size.LARGE, None], ["large", None]),
    (dict[int, str], {1: "a"}, {1: "a"}),
    (dict[str, int] | list[int], [1], [1]),
    (list[list[int]], [[1], []], [[1], []]),
    (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
    (Size, Size.SMALL, "small"),
    (int | str, "a", "a"),
    (Point | None, Point(1, 2.0), {"x": 1, "y": 2.0}),
    (Point | None, None, None),
    (dict, {"a": [1, None, "b"]}, {"a": [1, None, "b"]}),
    (Note, Note(title="t", lines={"a": [1]}), {"title": "t", "lines": {"a": [1]}}),
    (
        Parcel,
        PARCEL,
        {
            "name": "p",
            "size": "large",
            "points": [{"x": 1, "y": 0.5}],
            "sent": "2026-05-01T00:00:00+00:00",
            "took": 90.0,
            "weights": {"a": 1.5},
            "note": None,
        },
    ),
]


@pytest.mark.parametrize(("kind", "value", "shown"), FLYTEKIT, ids=[str(kind) for kind, _, _ in FLYTEKIT])
def test_flytekit_agrees(kind: Any, value: Any, shown: Any) -> None:
    """What flytekit writes is read as plain values, and flytekit reads what is written as its own."""
    context = FlyteContextManager.current_context()
    literal_type = TypeEngine.to_literal_type(kind)
    theirs = TypeEngine.to_literal(context, value, kind, literal_type).to_flyte_idl()
    assert decode(theirs) == shown

    ours = encode(value, literal_type.to_flyte_idl())
    assert TypeEngine.to_python_value(context, FlyteLiteral.from_flyte_idl(ours), kind) == value
    again = encode(shown, literal_type.to_flyte_idl())  # the plain value is an input, too
    assert TypeEngine.to_python_value(context, FlyteLiteral.from_flyte_idl(again), kind) == value


def test_flytekit_handles() -> None:
    """Files, folders and tables of flytekit are handles with the same URIs."""
    context = FlyteContextManager.current_context()
    for kind, theirs, ours in (
        (FlyteFile, FlyteFile("s3://b/f"), File(uri="s3://b/f")),
        (FlyteDirectory, FlyteDirectory("s3://b/d"), Directory(uri="s3://b/d")),
        (StructuredDataset, StructuredDataset(uri="s3://b/t", file_format="parquet"), DataFrame(uri="s3://b/t")),
    ):
        literal_type = TypeEngine.to_literal_type(kind)
        literal = TypeEngine.to_literal(context, theirs, kind, literal_type).to_flyte_idl()
        assert decode(literal) == ours
        assert encode("s3://b/x", literal_type.to_flyte_idl()).scalar.WhichOneof("value")


def test_flytekit_files() -> None:
    """What flytekit writes to a file of its own (arrays, pickles) is a handle of that file, and files inside structures
    are their paths until they are shaped."""
    context = FlyteContextManager.current_context()
    # An array goes by its own transformer: programs of other tests register one for tables under the same type.
    pickles = FlytePickleTransformer()
    by_kind = [(NumpyArrayTransformer(), np.ndarray, np.arange(3)), (pickles, set, {1, 2}), (pickles, bytes, b"abc")]
    for transformer, kind, value in by_kind:
        literal_type = transformer.get_literal_type(kind)
        literal = asyncio.run(transformer.async_to_literal(context, value, kind, literal_type)).to_flyte_idl()
        assert decode(literal) == File(uri=literal.scalar.blob.uri)
    label = Label("a", [FlyteFile("s3://b/f")])
    literal_type = TypeEngine.to_literal_type(Label)
    found = decode(TypeEngine.to_literal(context, label, Label, literal_type).to_flyte_idl())
    assert found == {"text": "a", "pages": [{"path": "s3://b/f"}]}
    assert shape(OurLabel, found) == OurLabel("a", [File(uri="s3://b/f")])


def test_shapes() -> None:
    """A structure becomes the dataclass it was, with Enums, instants and dataclasses inside."""
    literal_type = TypeEngine.to_literal_type(Parcel).to_flyte_idl()
    assert shape(Parcel, decode(encode(PARCEL, literal_type))) == PARCEL
    assert shape(list[Size], ["small"]) == [Size.SMALL]
    assert shape(tuple[int, ...], [1, 2]) == (1, 2)
    assert shape(Point, {"x": 1.0, "y": 2}) == Point(1, 2.0)
    assert shape(Note, {"title": "t", "lines": {}}) == Note(title="t", lines={})
    with pytest.raises(ConversionError, match=r"value\.points\[0\]\.x: 'one' is no int"):
        shape(Parcel, {**dataclasses.asdict(PARCEL), "points": [{"x": "one", "y": 1.0}]})
    with pytest.raises(ConversionError, match="missing"):
        shape(Point, {"x": 1})


def test_what_loses_nothing_is_converted() -> None:
    """Integers for floats, arrays, sets and tuples for lists, texts and dates for instants, texts for spans."""
    numbers = collection(simple(SIMPLE.FLOAT))
    assert decode(encode(3, simple(SIMPLE.FLOAT))) == 3.0
    assert decode(encode(np.int64(3), simple(SIMPLE.INTEGER))) == 3
    assert decode(encode(np.arange(3), numbers)) == [0.0, 1.0, 2.0]
    assert decode(encode((1, 2), numbers)) == [1.0, 2.0]
    assert decode(encode(date(2026, 5, 1), simple(SIMPLE.DATETIME))) == datetime(2026, 5, 1, tzinfo=UTC)
    assert decode(encode("2026-05-01T02:00:00+02:00", simple(SIMPLE.DATETIME))) == datetime(2026, 5, 1, tzinfo=UTC)
    assert decode(encode("1h30m", simple(SIMPLE.DURATION))) == timedelta(minutes=90)
    assert decode(encode(Size.SMALL, simple(SIMPLE.STRING))) == "small"


def test_unions_take_the_closest_type() -> None:
    """An integer is an integer where a float is possible, too, and of several structures the one of the name counts."""
    number = encode(3, union(simple(SIMPLE.FLOAT), simple(SIMPLE.INTEGER)))
    assert number.scalar.union.type.simple == SIMPLE.INTEGER
    kind = TypeEngine.to_literal_type(Point | Note).to_flyte_idl()
    for value in (Note(title="t", lines={}), {"title": "t", "lines": {}}):
        assert encode(value, kind).scalar.union.type.metadata["title"] == "Note"


@pytest.mark.parametrize(
    ("value", "kind", "sentence"),
    [
        ("x", simple(SIMPLE.INTEGER), "value: 'x' is no integer"),
        (True, simple(SIMPLE.INTEGER), "value: True is no integer"),
        (2**63, simple(SIMPLE.INTEGER), "does not fit 64 bits"),
        (1, simple(SIMPLE.STRING), "value: 1 is no text"),
        (1, simple(SIMPLE.BOOLEAN), "is no boolean"),
        ("soon", simple(SIMPLE.DATETIME), "is no instant"),
        ("soon", simple(SIMPLE.DURATION), "is no span of time"),
        ([1, "x"], collection(simple(SIMPLE.INTEGER)), r"value\[1\]: 'x' is no integer"),
        ("abc", collection(simple(SIMPLE.STRING)), "is no list"),
        ({1: 2}, types_pb2.LiteralType(map_value_type=simple(SIMPLE.INTEGER)), "is no map"),
        ("c", types_pb2.LiteralType(enum_type=types_pb2.EnumType(values=["a", "b"])), "is none of a, b"),
        (1.5, union(simple(SIMPLE.INTEGER), simple(SIMPLE.NONE)), "is of none of the 2 types"),
        ({"a": object()}, simple(SIMPLE.STRUCT), r"value\.a: .* is no part of a structure"),
        (3, types_pb2.LiteralType(blob=types_pb2.BlobType()), "is no file"),
        (File("here"), types_pb2.LiteralType(blob=types_pb2.BlobType()), "has not been uploaded"),
        (3, types_pb2.LiteralType(structured_dataset_type=types_pb2.StructuredDatasetType()), "is no table"),
        (3, simple(SIMPLE.ERROR), "cannot be given"),
        ("\ud800", simple(SIMPLE.STRING), r"value: '\\ud800' in a text is no character"),
        ({"\ud800": 1}, types_pb2.LiteralType(map_value_type=simple(SIMPLE.INTEGER)), "is no character"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=2))), simple(SIMPLE.DATETIME), "of the years 1 to 9999"),
        (timedelta.max, simple(SIMPLE.DURATION), "at most 10,000 years"),
    ],
)
def test_what_does_not_fit(value: Any, kind: types_pb2.LiteralType, sentence: str) -> None:
    """The error names the place and what was expected there."""
    with pytest.raises(ConversionError, match=sentence):
        encode(value, kind)


def test_unknown_names() -> None:
    """An input that does not exist is named, with those that do."""
    with pytest.raises(ConversionError, match="no inputs named 'nam'; known are: age, name"):
        encode_map({"nam": 1}, {"name": simple(SIMPLE.STRING), "age": simple(SIMPLE.INTEGER)})


def test_what_has_no_value() -> None:
    """Broken MessagePack and values that were not fetched are errors with the output's name; the rest has a value."""
    broken = literals_pb2.Literal(scalar={"binary": {"value": b"\xc1", "tag": "msgpack"}})
    with pytest.raises(ConversionError, match="o0: the bytes are no MessagePack"):
        decode_map(literals_pb2.LiteralMap(literals={"o0": broken}))
    away = literals_pb2.Literal(offloaded_metadata={"uri": "s3://b/k"})
    with pytest.raises(ConversionError, match="s3://b/k"):
        decode(away)
    failed = literals_pb2.Literal(scalar={"error": {"failed_node_id": "n0", "message": "m"}})
    assert decode(failed) == FailedNode("n0", "m")
    assert decode(literals_pb2.Literal()) is None


def test_plain_json() -> None:
    """For commands all values have a form in JSON."""
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    value = {"a": [moment, timedelta(seconds=1.5), b"\x00", File(uri="s3://f"), FailedNode("n", "m"), 1]}
    assert plain(value) == {
        "a": ["2026-05-01T00:00:00+00:00", "1.5s", "AA==", "s3://f", {"node": "n", "message": "m"}, 1]
    }
    assert plain([math.nan, math.inf, -math.inf, 1.5]) == ["NaN", "Infinity", "-Infinity", 1.5]
