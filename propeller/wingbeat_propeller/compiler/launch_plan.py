"""Launch plans at registration: their inputs checked against the workflow, and completed.

A stored launch plan names every input that a launch may or must give. So inputs that it neither fixes nor defaults are
added as required ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from flyteidl.admin import launch_plan_pb2
from flyteidl.core import interface_pb2, literals_pb2, types_pb2

from wingbeat_propeller.compiler.castability import is_castable
from wingbeat_propeller.compiler.inputs import InvalidInputError, check_datetime
from wingbeat_propeller.compiler.literal_types import UnknownLiteralError, literal_type_of
from wingbeat_propeller.compiler.type_text import type_text


class InvalidLaunchPlanError(ValueError):
    """The launch plan does not fit its workflow; the text is the sentence for the caller."""


@dataclass(frozen=True, slots=True)
class CompletedLaunchPlan:
    """What to store: the spec with completed `default_inputs`, and the two maps of the closure."""

    spec: launch_plan_pb2.LaunchPlanSpec
    expected_inputs: interface_pb2.ParameterMap
    expected_outputs: interface_pb2.VariableMap


def complete_launch_plan(
    spec: launch_plan_pb2.LaunchPlanSpec, workflow_interface: interface_pb2.TypedInterface
) -> CompletedLaunchPlan:
    """Check and complete a launch plan of a workflow with that interface; `spec` is left as it is.

    Raises InvalidLaunchPlanError.
    """
    variables = workflow_interface.inputs.variables
    defaults = spec.default_inputs.parameters
    fixed = spec.fixed_inputs.literals
    if not variables:
        for kind, given in (("default", len(defaults)), ("fixed", len(fixed))):
            if given:
                raise InvalidLaunchPlanError(f"invalid launch plan {kind} inputs, expected none but found {given}")
    for name in sorted(defaults):
        _check_default(name, defaults[name], variables)
        if name in fixed:
            raise InvalidLaunchPlanError(
                f"input {name} is both a default_input and a fixed_input; a fixed input cannot be given at launch, "
                "leave one of them out"
            )
    for name in sorted(fixed):
        _check_fixed(name, fixed[name], variables)

    expected = interface_pb2.ParameterMap()
    for name, variable in variables.items():
        if name in defaults:
            expected.parameters[name].CopyFrom(defaults[name])
        elif name not in fixed:
            parameter = expected.parameters[name]
            parameter.var.type.CopyFrom(variable.type)
            parameter.var.description = variable.description
            parameter.required = True
    _check_schedule(spec, expected)
    completed = launch_plan_pb2.LaunchPlanSpec()
    completed.CopyFrom(spec)
    completed.default_inputs.CopyFrom(expected)
    outputs = interface_pb2.VariableMap()
    outputs.CopyFrom(workflow_interface.outputs)
    return CompletedLaunchPlan(completed, expected, outputs)


def _check_default(
    name: str, parameter: interface_pb2.Parameter, variables: Mapping[str, interface_pb2.Variable]
) -> None:
    if not name:
        raise InvalidLaunchPlanError("missing key in default_inputs")
    if parameter.var.type.WhichOneof("type") is None:
        raise InvalidLaunchPlanError(
            f"The Variable component of the Parameter {name} in default_inputs either is missing, or has a missing Type"
        )
    match parameter.WhichOneof("behavior"):
        case "artifact_query" | "artifact_id":
            pass  # found at launch; whoever keeps artifacts judges the query
        case "default":
            literal_type = _literal_type(name, parameter.default, "default_inputs")
            if not is_castable(literal_type, parameter.var.type):
                raise InvalidLaunchPlanError(
                    f"Type mismatch for Parameter {name} in default_inputs has type {type_text(literal_type)}, "
                    f"expected {type_text(parameter.var.type)}"
                )
        case "required" if parameter.required:
            pass
        case _:
            raise InvalidLaunchPlanError(
                f"Invalid variable {name} in default_inputs - variable has neither default, nor is required. "
                "One must be specified"
            )
    if name not in variables:
        raise InvalidLaunchPlanError(f"unexpected default_input {name}")
    wanted = variables[name].type
    if not is_castable(parameter.var.type, wanted):
        raise InvalidLaunchPlanError(
            f"invalid default_input wrong type {name}, expected {type_text(wanted)}, "
            f"got {type_text(parameter.var.type)} instead"
        )


def _check_fixed(name: str, literal: literals_pb2.Literal, variables: Mapping[str, interface_pb2.Variable]) -> None:
    if not name:
        raise InvalidLaunchPlanError("missing key in fixed_inputs")
    literal_type = _literal_type(name, literal, "fixed_inputs")
    if name not in variables:
        raise InvalidLaunchPlanError(f"unexpected fixed_input {name}")
    wanted = variables[name].type
    if not is_castable(literal_type, wanted):
        raise InvalidLaunchPlanError(
            f"invalid fixed_input wrong type {name}, expected {type_text(wanted)}, "
            f"got {type_text(literal_type)} instead"
        )


def _literal_type(name: str, literal: literals_pb2.Literal, where: str) -> types_pb2.LiteralType:
    if literal.WhichOneof("value") is None:
        raise InvalidLaunchPlanError(f"missing valid literal in {where} {name}")
    try:
        check_datetime(name, literal)
        return literal_type_of(literal)
    except UnknownLiteralError as error:
        raise InvalidLaunchPlanError(f"Failed to validate literal type for [{name}] with err: {error}") from error
    except InvalidInputError as error:
        raise InvalidLaunchPlanError(str(error)) from error


def _check_schedule(spec: launch_plan_pb2.LaunchPlanSpec, expected: interface_pb2.ParameterMap) -> None:
    schedule = spec.entity_metadata.schedule
    if schedule.WhichOneof("ScheduleExpression") is None:
        return
    kickoff = schedule.kickoff_time_input_arg
    for name in sorted(expected.parameters):
        if expected.parameters[name].required and name != kickoff:
            raise InvalidLaunchPlanError(
                "Cannot create a launch plan with a schedule if there is an unbound required input. "
                f"[{name}] is required"
            )
    if not kickoff:
        return
    if kickoff not in expected.parameters:
        raise InvalidLaunchPlanError(
            "Cannot create a schedule with a KickoffTimeInputArg that does not point to a free input. "
            f"[{kickoff}] is not free or does not exist"
        )
    kickoff_type = expected.parameters[kickoff].var.type
    if kickoff_type.simple != types_pb2.DATETIME:
        raise InvalidLaunchPlanError(
            f"KickoffTimeInputArg must reference a datetime input. [{kickoff}] is a [{type_text(kickoff_type)}]"
        )
