"""Conditions of branch nodes, compiled to small trees, and their evaluation over the branch's inputs.

Rules of Flyte v1: both operands are bare primitives of the same kind, nothing is converted, booleans are only compared
for equality, moments and durations by whole seconds, texts by their bytes; both sides of a conjunction are always
looked at.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.core.values import Ref, Value


class Operator(IntEnum):
    """flyteidl.core.ComparisonExpression.Operator."""

    EQ = 0
    NEQ = 1
    GT = 2
    GTE = 3
    LT = 4
    LTE = 5


@dataclass(frozen=True, slots=True)
class Variable:
    """An input of the branch node."""

    name: str


@dataclass(frozen=True, slots=True)
class Fixed:
    """A constant, as a serialized literal."""

    literal: bytes


Operand: TypeAlias = Variable | Fixed


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`."""

    operator: Operator
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Both (`is_and`) or at least one of two conditions."""

    is_and: bool
    left: "Condition"
    right: "Condition"


Condition: TypeAlias = Comparison | Conjunction


class MalformedConditionError(ValueError):
    """The operands cannot be compared; the text names them."""


def holds(condition: Condition, inputs: Mapping[str, Value]) -> bool:
    """Evaluate a condition over the inputs of its branch node. Raises MalformedConditionError."""
    if isinstance(condition, Conjunction):
        left = holds(condition.left, inputs)
        right = holds(condition.right, inputs)
        return (left and right) if condition.is_and else (left or right)
    left_kind, left_value = _primitive(condition.left, inputs)
    right_kind, right_value = _primitive(condition.right, inputs)
    if left_kind != right_kind:
        raise MalformedConditionError(
            f"{_text(condition.left)} is of kind {left_kind} and {_text(condition.right)} of kind {right_kind}"
        )
    if left_kind == "boolean" and condition.operator not in (Operator.EQ, Operator.NEQ):
        raise MalformedConditionError(f"{_text(condition.left)} is a boolean, which has no order")
    return _COMPARE[condition.operator](left_value, right_value)


_COMPARE: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQ: operator.eq,
    Operator.NEQ: operator.ne,
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
}


def _primitive(operand: Operand, inputs: Mapping[str, Value]) -> tuple[str, object]:
    """Kind and comparable value of an operand."""
    if isinstance(operand, Variable):
        value = inputs.get(operand.name)
        if value is None:
            raise MalformedConditionError(f"{_text(operand)} has no value")
        if isinstance(value, Ref):
            raise MalformedConditionError(f"{_text(operand)} is too large to be compared")
    else:
        value = operand.literal
    try:
        literal = literals_pb2.Literal.FromString(value)
    except DecodeError as error:
        raise MalformedConditionError(f"{_text(operand)} is no literal: {error}") from error
    primitive = literal.scalar.primitive
    kind = primitive.WhichOneof("value")
    match kind:
        case None:
            found = literal.scalar.WhichOneof("value") or literal.WhichOneof("value") or "nothing"
            raise MalformedConditionError(f"{_text(operand)} is no bare primitive but of kind {found}")
        case "string_value":
            return kind, primitive.string_value.encode()
        case "datetime" | "duration":
            return kind, getattr(primitive, kind).seconds
        case _:
            return kind, getattr(primitive, kind)


def _text(operand: Operand) -> str:
    return f"variable '{operand.name}'" if isinstance(operand, Variable) else "the constant"
