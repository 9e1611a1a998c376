"""Inputs of a launch against what the launch plan expects."""

import pytest
from flyteidl.core import interface_pb2, literals_pb2, types_pb2
from google.protobuf import timestamp_pb2
from tests.unit.compiler.builders import DATETIME, INT, NONE, STR, enum, list_of, literal, tagged, union

from wingbeat_propeller.compiler.inputs import ExpectedInputs, InvalidInputError

Literal = literals_pb2.Literal
Parameter = interface_pb2.Parameter


def literal_map(**values: object) -> literals_pb2.LiteralMap:
    """A literal map of Python values."""
    return literal(values).map


def required(literal_type: types_pb2.LiteralType) -> Parameter:
    """A parameter that must be given."""
    return Parameter(var={"type": literal_type}, required=True)


EXPECTED = interface_pb2.ParameterMap(
    parameters={
        "a": required(INT),
        "b": Parameter(var={"type": STR}, default=literal("spare")),
        "color": Parameter(var={"type": enum("red")}, default=literal("red")),
        "maybe": Parameter(var={"type": union(tagged(INT, "int"), tagged(NONE, "none"))}),
        "many": Parameter(var={"type": list_of(INT)}, default=literal([])),
        "at": Parameter(var={"type": DATETIME}, default=literal(Literal())),
    }
)
FIXED = literal_map(f=7)
INPUTS = ExpectedInputs(EXPECTED, FIXED)
"""Used by all tests, so that each follows others with the same names and with other ones."""


def completion(given: literals_pb2.LiteralMap) -> literals_pb2.LiteralMap:
    """What completes `given`."""
    return literals_pb2.LiteralMap.FromString(INPUTS.complete(given))


def test_defaults_and_fixed_inputs_are_missing() -> None:
    """Given inputs win over defaults; fixed ones are added; an optional one without default stays away."""
    given = literal_map(a=1, b="own", color="blue", many=[1, 2])
    missing = completion(given)
    assert dict(missing.literals) == {"at": Literal(), "f": literal(7)}
    assert "f" not in given.literals


def test_nothing_is_missing() -> None:
    """All that is expected was given."""
    expected = interface_pb2.ParameterMap(parameters={"a": required(INT)})
    assert ExpectedInputs(expected, literals_pb2.LiteralMap()).complete(literal_map(a=1)) == b""


def test_every_literal_is_judged() -> None:
    """Names that were right before say nothing of the values that come with them."""
    inputs = ExpectedInputs(interface_pb2.ParameterMap(parameters={"a": required(INT)}), literals_pb2.LiteralMap())
    for _ in range(2):
        assert inputs.complete(literal_map(a=1)) == b""
        for wrong in (literal_map(a="x"), literal_map(a=[1]), literal_map(a=Literal())):
            with pytest.raises(InvalidInputError):
                inputs.complete(wrong)
        with pytest.raises(InvalidInputError, match="expected_inputs a missing"):
            inputs.complete(literal_map())


def test_missing_inputs_can_be_appended_to_the_bytes() -> None:
    """The bytes of what was given, followed by those of what is missing, are all inputs."""
    given = literal_map(a=1, many=list(range(1000)))
    missing = completion(given)
    joined = literals_pb2.LiteralMap.FromString(given.SerializeToString() + missing.SerializeToString())
    assert dict(joined.literals) == {**given.literals, **missing.literals}
    assert set(missing.literals) == {"b", "color", "at", "f"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (literal_map(a=1, z=1), "invalid input z"),
        (literal_map(b="x"), "expected_inputs a missing"),
        (literal_map(at=1, b=2, color="blue"), "expected_inputs a missing"),
        (literal_map(a=1, b=2, many=3), "invalid b input wrong type. Expected String, but got Integer"),
        (literal_map(a=1, color=2), "invalid color input wrong type. Expected Enum"),
        (literal_map(a="x"), "invalid a input wrong type. Expected Integer, but got String"),
        (literal_map(a=1, many=[1, "x"]), "invalid many input wrong type. Expected List[Integer], but got List[Union["),
        (literal_map(a=1, f=2), "fixed_inputs f cannot be overridden"),
        (literal_map(a=Literal(scalar={})), "Failed to validate literal type for [a] with err: "),
        (literal_map(a=Literal()), "missing valid literal in inputs a"),
        (literals_pb2.LiteralMap(literals={"": literal(1)}), "missing key in inputs"),
        (
            literal_map(
                a=1, at=Literal(scalar={"primitive": {"datetime": timestamp_pb2.Timestamp(seconds=253_402_300_800)}})
            ),
            "invalid datetime for at",
        ),
    ],
)
def test_what_does_not_fit(given: literals_pb2.LiteralMap, text: str) -> None:
    """Each mistake has its sentence."""
    with pytest.raises(InvalidInputError) as caught:
        INPUTS.complete(given)
    assert str(caught.value).startswith(text)
