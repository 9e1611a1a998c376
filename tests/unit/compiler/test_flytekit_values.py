"""Values that the real flytekit makes fit the types that it declares for them."""

import datetime as dt
import enum
import typing
from dataclasses import dataclass, field
from typing import Annotated

import pandas as pd
import pytest
from flyteidl.core import literals_pb2, types_pb2
from flytekit import FlyteContextManager, StructuredDataset, kwtypes
from flytekit.core.type_engine import TypeEngine
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile

from wingbeat_propeller.compiler.castability import is_castable
from wingbeat_propeller.compiler.literal_types import literal_type_of


class Color(enum.Enum):
    """An enum."""

    RED = "red"
    GREEN = "green"


@dataclass
class Leaf:
    """A field of a dataclass."""

    value: int
    color: Color = Color.RED


@dataclass
class Base:
    """A dataclass with fields of many kinds."""

    name: str
    leaf: Leaf
    leaves: list[Leaf] = field(default_factory=list)
    by_name: dict[str, float] = field(default_factory=dict)
    maybe: int | None = None


@dataclass
class Derived(Base):
    """A dataclass with a field more."""

    more: str = ""


def literal_type(python_type: object) -> types_pb2.LiteralType:
    """The type flytekit declares."""
    return TypeEngine.to_literal_type(typing.cast("type", python_type)).to_flyte_idl()


def literal(value: object, python_type: object) -> literals_pb2.Literal:
    """The literal flytekit makes."""
    declared = TypeEngine.to_literal_type(typing.cast("type", python_type))
    context = FlyteContextManager.current_context()
    return TypeEngine.to_literal(context, value, typing.cast("type", python_type), declared).to_flyte_idl()


FRAME = pd.DataFrame({"a": [1], "b": ["x"]})
COLUMNS = Annotated[StructuredDataset, kwtypes(a=int, b=str)]


@pytest.mark.parametrize(
    ("value", "python_type"),
    [
        (1, int),
        (1.5, float),
        ("x", str),
        (True, bool),
        (dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime),
        (dt.timedelta(seconds=3), dt.timedelta),
        (dt.date(2024, 1, 1), dt.date),
        (None, type(None)),
        (Color.RED, Color),
        ([1, 2], list[int]),
        ([], list[list[int]]),
        ([[1], []], list[list[int]]),
        ({"a": [1.0]}, dict[str, list[float]]),
        ([{"a": [1]}, {}], list[dict[str, list[int]]]),
        ({"a": {}, "b": {"c": 1}, "d": {"e": 2}}, dict[str, dict[str, int]]),
        ({1: "x"}, dict[int, str]),
        ({"a": 1}, dict),
        (None, int | None),
        (1, int | None),
        ("x", int | str),
        ([1, "x", None], list[int | str | None]),
        ([[1], ["x"]], list[list[int | str]]),
        ({"a": None}, dict[str, int | None]),
        ([Color.RED, Color.GREEN], list[Color]),
        (Leaf(1), Leaf),
        (Base("x", Leaf(1)), Base),
        ([Leaf(1), Leaf(2)], list[Leaf]),
        (Leaf(1), Leaf | None),
        (FlyteFile("https://example.org/x", remote_path=False), FlyteFile),
        ([FlyteFile("https://example.org/x", remote_path=False)], list[FlyteFile]),
        (FlyteDirectory("https://example.org/x", remote_directory=False), FlyteDirectory),
        (FRAME, pd.DataFrame),
        (StructuredDataset(dataframe=FRAME), StructuredDataset),
        (StructuredDataset(dataframe=FRAME), COLUMNS),
    ],
)
def test_value_fits_its_type(value: object, python_type: object) -> None:
    """A literal is accepted as a launch input where its own declared type is expected."""
    declared = literal_type(python_type)
    assert is_castable(declared, declared)
    assert is_castable(literal_type_of(literal(value, python_type)), declared)


@pytest.mark.parametrize(
    ("upstream", "downstream", "expected"),
    [
        (Derived, Base, True),
        (Base, Leaf, False),
        (Leaf, Base, False),
        (list[Derived], list[Base], True),
        (pd.DataFrame, StructuredDataset, True),
        (COLUMNS, StructuredDataset, True),
        (COLUMNS, Annotated[StructuredDataset, kwtypes(a=int)], True),
        (Annotated[StructuredDataset, kwtypes(a=int)], COLUMNS, False),
        (FlyteFile["csv"], FlyteFile, True),
        (FlyteFile["csv"], FlyteFile["txt"], False),
        (Color, str, True),
        (str, Color, True),
        (int, int | None, True),
        (int | None, int, False),
        (int | None, int | str | None, True),
        (int, float | str, False),
    ],
)
def test_declared_types(upstream: object, downstream: object, expected: bool) -> None:
    """Outputs of one task are accepted by another one as flytekit's users expect."""
    assert is_castable(literal_type(upstream), literal_type(downstream)) is expected
