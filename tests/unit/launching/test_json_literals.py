"""JSON as literals of the types that the real flytekit declares, read back by flytekit."""

import base64
import datetime as dt
import enum
import math
import typing
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from flyteidl.core import literals_pb2, types_pb2
from flytekit import FlyteContextManager, StructuredDataset
from flytekit.core.type_engine import TypeEngine
from flytekit.models.literals import Literal
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile
from flytekit.types.schema import FlyteSchema
from google.protobuf import timestamp_pb2

from wingbeat_controlplane.launching.json_literals import Json, JsonValueError, literal_of
from wingbeat_controlplane.launching.literal_json import json_of
from wingbeat_propeller.compiler.castability import is_castable
from wingbeat_propeller.compiler.literal_types import literal_type_of


class Color(enum.Enum):
    """An enum."""

    RED = "red"
    GREEN = "green"


@dataclass
class Leaf:
    """A field of a dataclass."""

    weight: float
    count: int = 0


@dataclass
class Tree:
    """A dataclass of dataclasses."""

    name: str
    leaf: Leaf
    leaves: list[Leaf] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    maybe: int | None = None


def _type(python_type: object) -> types_pb2.LiteralType:
    return TypeEngine.to_literal_type(typing.cast("type", python_type)).to_flyte_idl()


def _read(literal: literals_pb2.Literal, python_type: object) -> Any:
    context = FlyteContextManager.current_context()
    return TypeEngine.to_python_value(context, Literal.from_flyte_idl(literal), typing.cast("type", python_type))


TREE = {
    "name": "ash",
    "leaf": {"weight": 1, "count": 2},
    "leaves": [{"weight": 2, "count": 3}],
    "weights": {"a": 3},
    "maybe": None,
}


@pytest.mark.parametrize(
    ("value", "python_type", "read"),
    [
        (3, int, 3),
        (3.0, int, 3),
        (-(1 << 63), int, -(1 << 63)),
        (3, float, 3.0),
        (2.5, float, 2.5),
        ("Infinity", float, math.inf),
        ("ü\n😀", str, "ü\n😀"),
        (True, bool, True),
        ("2026-05-01T12:00:00Z", dt.datetime, dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)),
        ("2026-05-01 14:00:00+02:00", dt.datetime, dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)),
        ("2026-05-01", dt.datetime, dt.datetime(2026, 5, 1, tzinfo=dt.UTC)),
        ("2026-05-01T12:00:00.25", dt.datetime, dt.datetime(2026, 5, 1, 12, 0, 0, 250000, tzinfo=dt.UTC)),
        (90, dt.timedelta, dt.timedelta(seconds=90)),
        (-0.5, dt.timedelta, dt.timedelta(seconds=-0.5)),
        ("1h30m", dt.timedelta, dt.timedelta(minutes=90)),
        ("P1DT2H0.5S", dt.timedelta, dt.timedelta(days=1, hours=2, seconds=0.5)),
        ([1, 2, 3], list[int], [1, 2, 3]),
        ([], list[int], []),
        ([[1.5], []], list[list[float]], [[1.5], []]),
        ({"a": [True]}, dict[str, list[bool]], {"a": [True]}),
        ({"a": 1, "b": [None, "x"]}, dict, {"a": 1, "b": [None, "x"]}),
        ("green", Color, Color.GREEN),
        (None, int | None, None),
        (5, int | None, 5),
        (5, int | str, 5),
        ("5", int | str, "5"),
        ("2026-05-01T12:00:00Z", str | dt.datetime, "2026-05-01T12:00:00Z"),
        ([1], list[int] | dict[str, int], [1]),
        (TREE, Tree, Tree("ash", Leaf(1.0, 2), [Leaf(2.0, 3)], {"a": 3.0})),
        ([TREE], list[Tree], [Tree("ash", Leaf(1.0, 2), [Leaf(2.0, 3)], {"a": 3.0})]),
    ],
)
def test_flytekit_reads_what_was_meant(value: Json, python_type: object, read: object) -> None:
    """The literal fits the declared type, and flytekit gives the task the value that the JSON says."""
    literal = literal_of(value, _type(python_type))
    assert is_castable(literal_type_of(literal), _type(python_type))
    assert _read(literal, python_type) == read


def test_numbers_of_dataclasses_are_floats_where_declared() -> None:
    """JSON knows one kind of number; a float field does not hold an int afterwards."""
    tree = _read(literal_of(TREE, _type(Tree)), Tree)
    assert (type(tree.leaf.weight), type(tree.leaves[0].weight), type(tree.weights["a"])) == (float, float, float)


@pytest.mark.parametrize("python_type", [FlyteFile, FlyteDirectory, FlyteSchema, StructuredDataset, FlyteFile["csv"]])
def test_things_in_a_store(python_type: object) -> None:
    """A URI is all that it takes; the type of what lies there is the declared one."""
    literal = literal_of("s3://bucket/key", _type(python_type))
    assert is_castable(literal_type_of(literal), _type(python_type))
    assert json_of(literal) == "s3://bucket/key"
    with pytest.raises(JsonValueError, match="a URI"):
        literal_of(7, _type(python_type))


def test_a_format_may_be_named() -> None:
    """For what is declared without one."""
    literal = literal_of({"uri": "/a", "format": "parquet"}, _type(StructuredDataset))
    assert literal.scalar.structured_dataset.metadata.structured_dataset_type.format == "parquet"


@pytest.mark.parametrize(
    ("value", "python_type", "path", "reason"),
    [
        ("3", int, "", "Integer is expected, not the text '3'"),
        (True, int, "", "Integer is expected, not true"),
        (2.5, int, "", "Integer is expected"),
        (1e300, int, "", "Integer is expected"),
        (1 << 63, int, "", "64 bits"),
        (1, bool, "", "Boolean"),
        (None, str, "", "String is expected, not null"),
        ("soon", dt.datetime, "", "a datetime is written as"),
        (1e400, dt.timedelta, "", "292 years"),
        ("soon", dt.timedelta, "", "a duration is written as"),
        ("blue", Color, "", "one of red, green is expected"),
        ([1, "x"], list[int], "[1]", "Integer"),
        ({"a": {"b": [1, None]}}, dict[str, dict[str, list[int]]], ".a.b[1]", "not null"),
        ({"a": 1}, list[int], "", "not an object"),
        ([[]], int | None, "", "is expected, not a list"),
        ([[]], int | str, "", "not a list"),
        ("x", Tree, "", "Struct"),
        pytest.param(f"P{'9' * 1_000_001}D", dt.timedelta, "", "a duration is written as", id="endless"),
    ],
)
def test_what_does_not_fit(value: Json, python_type: object, path: str, reason: str) -> None:
    """The error says where in the value, and what was expected there."""
    with pytest.raises(JsonValueError) as raised:
        literal_of(value, _type(python_type))
    assert raised.value.path == path
    assert reason in raised.value.reason


def test_depth_is_bounded() -> None:
    """A value nested without end is refused, in structures as in lists of unions."""
    value: Json = []
    for _ in range(200):
        value = [value]
    with pytest.raises(JsonValueError, match="nested"):
        literal_of(value, types_pb2.LiteralType(simple=types_pb2.STRUCT))
    wanted = types_pb2.LiteralType(simple=types_pb2.INTEGER)
    for _ in range(80):
        wanted = types_pb2.LiteralType(collection_type=wanted)
    with pytest.raises(JsonValueError, match="nested"):
        literal_of(value, wanted)


@pytest.mark.parametrize(
    ("value", "python_type"),
    [
        (3, int),
        (2.5, float),
        ("NaN", float),
        ("-Infinity", float),
        ("x", str),
        ("2026-05-01T12:00:00Z", dt.datetime),
        (90, dt.timedelta),
        (0.25, dt.timedelta),
        ([1, None], list[int | None]),
        ({"b": 1, "a": 2}, dict[str, int]),
        ("red", Color),
        (None, int | None),
        ({"a": [1.5, {"b": None}]}, dict),
    ],
)
def test_there_and_back(value: Json, python_type: object) -> None:
    """Results show a value as a caller would have written it."""
    assert json_of(literal_of(value, _type(python_type))) == value


def test_bytes_and_foreign_literals() -> None:
    """Bytes are base64, errors their text, and broken MessagePack its bytes; a kind from the future is null."""
    wanted = types_pb2.LiteralType(simple=types_pb2.BINARY)
    assert json_of(literal_of("AAEC", wanted)) == "AAEC"
    for text in ("?", "é"):
        with pytest.raises(JsonValueError, match="base64"):
            literal_of(text, wanted)
    broken = literals_pb2.Literal(scalar={"binary": {"value": b"\xc1", "tag": "msgpack"}})
    assert json_of(broken) == "wQ=="
    assert json_of(literals_pb2.Literal()) is None


@pytest.mark.parametrize(
    ("scalar", "shown"),
    [
        ({"primitive": {"datetime": timestamp_pb2.Timestamp(seconds=1 << 62)}}, None),
        ({"primitive": {"datetime": timestamp_pb2.Timestamp(nanos=-1)}}, None),
        ({"binary": {"value": b"\x81\x91\x01\x02", "tag": "msgpack"}}, "gZEBAg=="),
        (
            {"binary": {"value": b"\x91" * 300 + b"\x01", "tag": "msgpack"}},
            base64.b64encode(b"\x91" * 300 + b"\x01").decode(),
        ),
        (
            {"generic": {"a": math.nan, "b": 2.0, "c": [None, {"d": True}]}},
            {"a": "NaN", "b": 2, "c": [None, {"d": True}]},
        ),
    ],
)
def test_every_literal_has_json(scalar: dict[str, Any], shown: Json) -> None:
    """Whatever a task wrote, there is something to show, which can be written down."""
    assert json_of(literals_pb2.Literal(scalar=scalar)) == shown
    assert orjson.loads(orjson.dumps(shown)) == shown
