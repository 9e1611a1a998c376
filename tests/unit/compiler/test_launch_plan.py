"""Launch plans at registration."""

from collections.abc import Mapping

import pytest
from flyteidl.admin import launch_plan_pb2, schedule_pb2
from flyteidl.core import interface_pb2, literals_pb2
from tests.unit.compiler.builders import DATETIME, INT, STR, Type, enum, interface, literal

from wingbeat_propeller.compiler.launch_plan import InvalidLaunchPlanError, complete_launch_plan

Parameter = interface_pb2.Parameter
INTERFACE = interface({"a": INT, "b": STR, "color": enum("red"), "at": DATETIME}, {"o0": INT})
INTERFACE.inputs.variables["a"].description = "how many"
DAILY = schedule_pb2.Schedule(rate=schedule_pb2.FixedRate(value=1, unit=schedule_pb2.DAY))


def default(literal_type: Type, value: object) -> Parameter:
    """A parameter with a default."""
    return Parameter(var={"type": literal_type}, default=literal(value))


def spec(
    defaults: Mapping[str, Parameter] | None = None,
    fixed: Mapping[str, object] | None = None,
    schedule: schedule_pb2.Schedule | None = None,
) -> launch_plan_pb2.LaunchPlanSpec:
    """A launch plan spec."""
    made = launch_plan_pb2.LaunchPlanSpec(
        default_inputs=interface_pb2.ParameterMap(parameters=defaults or {}),
        fixed_inputs=literal(dict(fixed or {})).map,
    )
    if schedule is not None:
        made.entity_metadata.schedule.CopyFrom(schedule)
    return made


def test_completion() -> None:
    """Defaults stay, fixed inputs vanish from what is expected, all others become required."""
    given = spec({"b": default(STR, "x")}, {"color": "red"})
    completed = complete_launch_plan(given, INTERFACE)
    expected = completed.expected_inputs.parameters
    assert set(expected) == {"a", "b", "at"}
    assert expected["b"] == default(STR, "x")
    assert expected["a"].required
    assert expected["a"].var.description == "how many"
    assert completed.spec.default_inputs == completed.expected_inputs
    assert completed.spec.fixed_inputs == given.fixed_inputs
    assert completed.expected_outputs == INTERFACE.outputs
    assert set(given.default_inputs.parameters) == {"b"}


def test_workflow_without_inputs() -> None:
    """A workflow that takes nothing has launch plans that give nothing."""
    assert not complete_launch_plan(spec(), interface()).expected_inputs.parameters


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (spec({"z": default(INT, 1)}), "unexpected default_input z"),
        (spec(None, {"z": 1}), "unexpected fixed_input z"),
        (spec({"a": default(STR, "x")}), "invalid default_input wrong type a, expected Integer, got String instead"),
        (spec(None, {"a": "x"}), "invalid fixed_input wrong type a, expected Integer, got String instead"),
        (
            spec({"a": default(INT, "x")}),
            "Type mismatch for Parameter a in default_inputs has type String, expected Integer",
        ),
        (spec({"a": Parameter(default=literal(1))}), "The Variable component of the Parameter a"),
        (spec({"a": Parameter(var={"type": INT})}), "Invalid variable a in default_inputs"),
        (spec({"a": Parameter(var={"type": INT}, required=False)}), "Invalid variable a in default_inputs"),
        (spec({"a": default(INT, 1)}, {"a": 1}), "input a is both a default_input and a fixed_input"),
        (spec({"": default(INT, 1)}), "missing key in default_inputs"),
        (spec(None, {"": 1}), "missing key in fixed_inputs"),
        (spec(None, {"a": literals_pb2.Literal()}), "missing valid literal in fixed_inputs a"),
        (spec(None, {"a": literals_pb2.Literal(scalar={})}), "Failed to validate literal type for [a]"),
        (
            spec(None, {"at": literals_pb2.Literal(scalar={"primitive": {"datetime": {"nanos": -1}}})}),
            "invalid datetime for at",
        ),
    ],
)
def test_what_does_not_fit(given: launch_plan_pb2.LaunchPlanSpec, text: str) -> None:
    """Each mistake has its sentence."""
    with pytest.raises(InvalidLaunchPlanError) as caught:
        complete_launch_plan(given, INTERFACE)
    assert str(caught.value).startswith(text)


def test_inputs_for_a_workflow_that_takes_none() -> None:
    """Both kinds of inputs are refused."""
    with pytest.raises(InvalidLaunchPlanError, match="default inputs, expected none but found 1"):
        complete_launch_plan(spec({"a": default(INT, 1)}), interface())
    with pytest.raises(InvalidLaunchPlanError, match="fixed inputs, expected none but found 1"):
        complete_launch_plan(spec(None, {"a": 1}), interface())


def test_schedules() -> None:
    """A schedule leaves no required input open but the kickoff time, which is a free datetime."""
    fixed: dict[str, object] = {"a": 1, "b": "x", "color": "red"}
    kickoff = schedule_pb2.Schedule()
    kickoff.CopyFrom(DAILY)
    kickoff.kickoff_time_input_arg = "at"
    assert complete_launch_plan(spec(None, fixed, kickoff), INTERFACE).expected_inputs.parameters["at"].required
    with pytest.raises(InvalidLaunchPlanError, match=r"unbound required input. \[at\] is required"):
        complete_launch_plan(spec(None, fixed, DAILY), INTERFACE)
    kickoff.kickoff_time_input_arg = "b"
    bound = {"at": default(DATETIME, literals_pb2.Literal(scalar={"primitive": {"datetime": {}}}))}
    with pytest.raises(InvalidLaunchPlanError, match=r"\[b\] is not free"):
        complete_launch_plan(spec(bound, fixed, kickoff), INTERFACE)
    del fixed["b"]
    with pytest.raises(InvalidLaunchPlanError, match=r"must reference a datetime input. \[b\] is a \[String\]"):
        complete_launch_plan(spec(bound, fixed, kickoff), INTERFACE)
