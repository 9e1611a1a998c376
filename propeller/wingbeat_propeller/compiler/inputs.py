"""Inputs of a launch: what the caller gave, checked against what the launch plan expects, completed by the rest.

Inputs may be tens of megabytes, and launches come by the thousand. Each literal is looked at once, nothing given is
copied by the check, and what the caller left out is told in bytes that a server can append to those it already has: the
serialized LiteralMaps one after the other are the serialized union of both. It depends on the names given alone, and
most launches of a launch plan give the same ones, so it is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flyteidl.core import interface_pb2, literals_pb2, types_pb2

from wingbeat_propeller.compiler.castability import is_castable, is_optional
from wingbeat_propeller.compiler.literal_types import UnknownLiteralError, literal_type_of
from wingbeat_propeller.compiler.type_text import type_text

_KEPT_MAX = 4
"""Sets of given names whose completion is kept."""
_KEPT_BYTES_MAX = 4096
"""Larger completions are made anew for each launch."""

_PLAIN = {
    types_pb2.INTEGER: "integer",
    types_pb2.FLOAT: "float_value",
    types_pb2.STRING: "string_value",
    types_pb2.BOOLEAN: "boolean",
    types_pb2.DURATION: "duration",
}
"""Fields of Primitive that are right for a simple type whatever their value is."""

_TIMESTAMP_SECONDS_MIN = -62_135_596_800
_TIMESTAMP_SECONDS_MAX = 253_402_300_799
_NANOS_MAX = 999_999_999


class InvalidInputError(ValueError):
    """The inputs do not fit; the text is the sentence for the caller."""


@dataclass(frozen=True, slots=True)
class _Completion:
    """For one set of given names: the types they are to have, with the field of Primitive that will do, in order; what
    is wrong after these if something is; and what completes them."""

    checks: Sequence[tuple[str, types_pb2.LiteralType, str | None]]
    error: str
    missing: bytes


class ExpectedInputs:
    """What a launch plan expects and what it fixes. The messages are read only."""

    def __init__(self, expected: interface_pb2.ParameterMap, fixed: literals_pb2.LiteralMap) -> None:
        self._expected = expected
        self._fixed = fixed
        self._kept: dict[frozenset[str], _Completion] = {}
        self.types = {name: parameter.var.type for name, parameter in expected.parameters.items()}
        """By name; those of fixed inputs are not among them."""

    def complete(self, given: literals_pb2.LiteralMap) -> bytes:
        """Check `given`; the defaults and fixed inputs that complete it, as a serialized LiteralMap. Raises
        InvalidInputError."""
        literals = given.literals
        names = frozenset(literals)
        completion = self._kept.get(names)
        if completion is None:
            completion = self._completion(names)
            if len(self._kept) < _KEPT_MAX and len(completion.missing) <= _KEPT_BYTES_MAX:
                self._kept[names] = completion
        for name, wanted, plain in completion.checks:
            literal = literals[name]
            if plain is None or literal.scalar.primitive.WhichOneof("value") != plain:
                _check_literal(name, literal, wanted)
        if completion.error:
            raise InvalidInputError(completion.error)
        return completion.missing

    def _completion(self, names: frozenset[str]) -> _Completion:
        parameters = self._expected.parameters
        for name in sorted(names):
            if not name:
                raise InvalidInputError("missing key in inputs")
            if name in self._fixed.literals:
                raise InvalidInputError(f"fixed_inputs {name} cannot be overridden")
            if name not in parameters:
                raise InvalidInputError(f"invalid input {name}")
        checks: list[tuple[str, types_pb2.LiteralType, str | None]] = []
        missing = literals_pb2.LiteralMap()
        for name in sorted(parameters):
            parameter = parameters[name]
            if name in names:
                checks.append((name, parameter.var.type, _plain_field(parameter.var.type)))
            elif name in self._fixed.literals:
                continue
            elif parameter.WhichOneof("behavior") == "default":
                missing.literals[name].CopyFrom(parameter.default)
            elif parameter.required or not is_optional(parameter.var.type):
                return _Completion(checks, f"expected_inputs {name} missing", b"")
        missing.MergeFrom(self._fixed)
        return _Completion(checks, "", missing.SerializeToString())


def _plain_field(wanted: types_pb2.LiteralType) -> str | None:
    match wanted.WhichOneof("type"):
        case "simple":
            return _PLAIN.get(wanted.simple)
        case "enum_type":  # any text will do, the task itself judges it
            return "string_value"
        case _:
            return None


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
