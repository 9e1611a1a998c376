"""Conditions of branches: which values compare, and how."""

import itertools

import pytest
from flyteidl.core import literals_pb2
from google.protobuf import duration_pb2, timestamp_pb2

from wingbeat_propeller.core.conditions import (
    Comparison,
    Condition,
    Conjunction,
    Fixed,
    MalformedConditionError,
    Operator,
    Variable,
    holds,
)
from wingbeat_propeller.core.values import Ref

_ORDER = {
    Operator.EQ: (False, True, False),
    Operator.NEQ: (True, False, True),
    Operator.GT: (False, False, True),
    Operator.GTE: (False, True, True),
    Operator.LT: (True, False, False),
    Operator.LTE: (True, True, False),
}
"""Outcome for a left side that is less than, equal to and greater than the right one."""


def _literal(**primitive: object) -> bytes:
    scalar = literals_pb2.Scalar(primitive=literals_pb2.Primitive(**primitive))  # type: ignore[arg-type]
    return literals_pb2.Literal(scalar=scalar).SerializeToString()


def _compare(operator: Operator, left: bytes, right: bytes) -> bool:
    return holds(Comparison(operator, Variable("x"), Fixed(right)), {"x": left})


_PAIRS = [
    (_literal(integer=-3), _literal(integer=7)),
    (_literal(float_value=-0.5), _literal(float_value=2.25)),
    (_literal(string_value="Zebra"), _literal(string_value="apple")),
    (_literal(datetime=timestamp_pb2.Timestamp(seconds=5)), _literal(datetime=timestamp_pb2.Timestamp(seconds=6))),
    (_literal(duration=duration_pb2.Duration(seconds=5)), _literal(duration=duration_pb2.Duration(seconds=6))),
]


@pytest.mark.parametrize(("operator", "pair"), [*itertools.product(Operator, _PAIRS)])
def test_every_operator_over_every_ordered_kind(operator: Operator, pair: tuple[bytes, bytes]) -> None:
    """Numbers by value, texts by bytes, moments and durations by time."""
    low, high = pair
    assert (
        tuple(_compare(operator, left, right) for left, right in ((low, high), (low, low), (high, low)))
        == (_ORDER[operator])
    )


def test_moments_compare_by_whole_seconds() -> None:
    """Nanoseconds do not count."""
    early = _literal(datetime=timestamp_pb2.Timestamp(seconds=5, nanos=1))
    assert _compare(Operator.EQ, early, _literal(datetime=timestamp_pb2.Timestamp(seconds=5, nanos=2)))


@pytest.mark.parametrize("operator", [*Operator])
def test_booleans_are_equal_or_not(operator: Operator) -> None:
    """They have no order."""
    true, false = _literal(boolean=True), _literal(boolean=False)
    if operator in (Operator.EQ, Operator.NEQ):
        assert _compare(operator, true, true) is (operator is Operator.EQ)
        assert _compare(operator, true, false) is (operator is Operator.NEQ)
    else:
        with pytest.raises(MalformedConditionError, match="boolean"):
            _compare(operator, true, false)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (_literal(float_value=1.0), "float_value.*integer"),
        (literals_pb2.Literal(scalar=literals_pb2.Scalar(none_type=literals_pb2.Void())).SerializeToString(), "none"),
        (literals_pb2.Literal(collection=literals_pb2.LiteralCollection()).SerializeToString(), "collection"),
        (b"", "nothing"),
        (b"\xff\xff", "no literal"),
        (Ref("mem://b/inputs.pb", "x"), "too large"),
    ],
)
def test_values_that_do_not_compare(value: bytes | Ref, words: str) -> None:
    """Nothing is converted: the error names the variable and what was found."""
    condition = Comparison(Operator.EQ, Variable("x"), Fixed(_literal(integer=1)))
    with pytest.raises(MalformedConditionError, match=words):
        holds(condition, {"x": value})


def test_a_variable_without_a_value() -> None:
    """An optional input that was left out cannot be compared."""
    with pytest.raises(MalformedConditionError, match="'y' has no value"):
        holds(Comparison(Operator.EQ, Variable("y"), Variable("y")), {})


@pytest.mark.parametrize(("left", "right", "is_and"), [*itertools.product((False, True), repeat=3)])
def test_conjunctions(left: bool, right: bool, is_and: bool) -> None:
    """AND and OR over all inputs."""
    sides = [Comparison(Operator.EQ, Variable("x"), Fixed(_literal(boolean=side))) for side in (left, right)]
    condition = Conjunction(is_and, *sides)
    assert holds(condition, {"x": _literal(boolean=True)}) is ((left and right) if is_and else (left or right))


def test_both_sides_are_looked_at() -> None:
    """A mistake on one side is one even where the other side would decide."""
    good: Condition = Comparison(Operator.EQ, Variable("x"), Variable("x"))
    bad: Condition = Comparison(Operator.EQ, Variable("x"), Variable("y"))
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(MalformedConditionError):
            holds(Conjunction(False, *pair), {"x": _literal(integer=1)})
