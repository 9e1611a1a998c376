"""Inputs of a launch: what the caller gave, checked against what the launch plan expects, completed by the rest.

Inputs may be tens of megabytes. Each literal is looked at once, nothing given is copied by the check, and
`missing_inputs` returns only what the caller left out, so that a server can append it to the bytes it already has: the
serialized LiteralMaps one after the other are the serialized union of both.
"""

from flyteidl.core import interface_pb2, literals_pb2, types_pb2

from wingbeat_propeller.compiler.castability import is_castable, is_optional
from wingbeat_propeller.compiler.literal_types import UnknownLiteralError, literal_type_of
from wingbeat_propeller.compiler.type_text import type_text

_TIMESTAMP_SECONDS_MIN = -62_135_596_800
_TIMESTAMP_SECONDS_MAX = 253_402_300_799
_NANOS_MAX = 999_999_999


class InvalidInputError(ValueError):
    """The inputs do not fit; the text is the sentence for the caller."""


def missing_inputs(
    expected: interface_pb2.ParameterMap, fixed: literals_pb2.LiteralMap, given: literals_pb2.LiteralMap
) -> literals_pb2.LiteralMap:
    """Check `given` and return the defaults and fixed inputs that complete it. Raises InvalidInputError."""
    parameters = expected.parameters
    for name in sorted(given.literals):
        if not name:
            raise InvalidInputError("missing key in inputs")
        if name in fixed.literals:
            raise InvalidInputError(f"fixed_inputs {name} cannot be overridden")
        if name not in parameters:
            raise InvalidInputError(f"invalid input {name}")
    missing = literals_pb2.LiteralMap()
    for name in sorted(parameters):
        parameter = parameters[name]
        if name in given.literals:
            _check_literal(name, given.literals[name], parameter.var.type)
        elif name in fixed.literals:
            continue
        elif parameter.WhichOneof("behavior") == "default":
            missing.literals[name].CopyFrom(parameter.default)
        elif parameter.required or not is_optional(parameter.var.type):
            raise InvalidInputError(f"expected_inputs {name} missing")
    missing.MergeFrom(fixed)
    return missing


def _check_literal(name: str, literal: literals_pb2.Literal, expected: types_pb2.LiteralType) -> None:
    if literal.WhichOneof("value") is None:
        raise InvalidInputError(f"missing valid literal in inputs {name}")
    try:
        literal_type = literal_type_of(literal)
    except UnknownLiteralError as error:
        raise InvalidInputError(f"Failed to validate literal type for [{name}] with err: {error}") from error
    if not is_castable(literal_type, expected):
        raise InvalidInputError(
            f"invalid {name} input wrong type. Expected {type_text(expected)}, but got {type_text(literal_type)}"
        )
    check_datetime(name, literal)


def check_datetime(name: str, literal: literals_pb2.Literal) -> None:
    """Raises InvalidInputError when the literal is a datetime outside of the years 1 to 9999."""
    primitive = literal.scalar.primitive
    if primitive.WhichOneof("value") != "datetime":
        return
    seconds, nanos = primitive.datetime.seconds, primitive.datetime.nanos
    if not _TIMESTAMP_SECONDS_MIN <= seconds <= _TIMESTAMP_SECONDS_MAX or not 0 <= nanos <= _NANOS_MAX:
        raise InvalidInputError(f"invalid datetime for {name}: {seconds} s and {nanos} ns since 1970 are out of range")
