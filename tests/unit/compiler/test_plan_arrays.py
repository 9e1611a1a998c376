"""From array nodes of a closure to what the core runs."""

import functools
from collections import OrderedDict
from fractions import Fraction

import pytest
from flyteidl.core import identifier_pb2, interface_pb2, tasks_pb2, workflow_pb2
from flyteidl.core.workflow_pb2 import ArrayNode, Node
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.core.legacy_map_task import map_task as legacy_map_task
from flytekit.tools.translator import get_serializable
from google.protobuf import duration_pb2
from tests.unit.compiler import flyte_programs
from tests.unit.compiler.builders import (
    INT,
    bindings,
    compiled,
    identifier,
    list_of,
    mistakes,
    node,
    promise,
    task,
    variables,
    workflow,
)

from wingbeat_propeller.compiler.plan import MalformedClosureError, build_plan
from wingbeat_propeller.compiler.references import LaunchPlanInterface
from wingbeat_propeller.core.plan import ArraySpec, LaunchPlanSpec, NodeKind, Plan, TaskSpec

MANY = {"many": list_of(INT)}
MAPPED = task("mapped", {"a": list_of(INT), "w": INT}, {"o0": list_of(INT)})
PATIENT = task("patient", {"a": list_of(INT)}, {"o0": list_of(INT)})
PATIENT.metadata.retries.retries = 4


def _array(inner: Node, **fields: object) -> Node:
    return Node(id="n0", inputs=bindings({"a": promise("", "many")}), array_node=ArrayNode(node=inner, **fields))


def _spec(array: Node, *others: workflow_pb2.WorkflowTemplate, **known: object) -> ArraySpec:
    template = workflow([array], inputs=MANY, outputs={"o0": list_of(INT)}, returns={"o0": promise("n0")})
    plan = build_plan(compiled(template, *others, tasks=(MAPPED, PATIENT), **known))
    assert plan.kinds[2] is NodeKind.ARRAY
    return plan.array(2)


def test_a_mapped_task() -> None:
    """Numbers of the array node, budgets of the inner one; the program picks its item from the whole lists."""
    inner = node("inner", "mapped")
    inner.metadata.retries.retries = 2
    inner.metadata.interruptible = True
    inner.metadata.timeout.CopyFrom(duration_pb2.Duration(seconds=90))
    inner.task_node.overrides.container_image = "other"
    array = Node(
        id="n0",
        inputs=bindings({"a": promise("", "many"), "w": 3}),
        array_node=ArrayNode(node=inner, parallelism=4, min_success_ratio=0.6, bound_inputs=["w"]),
    )
    array.array_node.run_all_sub_nodes = True
    spec = _spec(array)
    assert isinstance(spec.element, TaskSpec)
    assert (spec.name, spec.picks, spec.appends_index) == ("mapped", False, False)
    assert (spec.parallelism, spec.runs_all, spec.bound_inputs) == (4, True, frozenset({"w"}))
    assert (spec.attempts_max, spec.timeout_s, spec.interruptible) == (3, 90.0, True)
    assert (spec.input_names, spec.output_names) == (("a", "w"), ("o0",))


@pytest.mark.parametrize(
    ("fields", "size", "needed"),
    [
        ({}, 7, 7),
        ({"min_success_ratio": 0.6}, 5, 3),
        ({"min_success_ratio": 0.7}, 10, 7),
        ({"min_success_ratio": 0.55}, 100, 55),
        ({"min_success_ratio": 0.5}, 3, 2),
        ({"min_successes": 0}, 3, 0),
        ({"min_successes": 2}, 3, 2),
    ],
)
def test_success_criterion(fields: dict[str, float], size: int, needed: int) -> None:
    """The ratio is the decimal number that was written, not the 32 bits that it became."""
    assert _spec(_array(node("inner", "patient"), **fields)).successes_needed(size) == needed


def test_retries_of_the_task_where_the_node_has_none() -> None:
    """As for task nodes."""
    assert _spec(_array(node("inner", "patient"))).attempts_max == 5


def test_a_task_with_the_interface_of_one_element_gets_picked_inputs() -> None:
    """As flytekit has it for reference tasks."""
    spec = _spec(_array(node("inner", "double"), is_original_sub_node_interface={"value": True}))
    assert spec.picks
    assert spec.is_counted


def test_over_a_sub_workflow() -> None:
    """Its inputs are wrapped whether or not the array says so, and what runs inside takes slots for itself."""
    inner = workflow([node("m", a=promise("", "a"))], name="inner", outputs={"o0": INT}, returns={"o0": promise("m")})
    spec = _spec(_array(Node(id="i", workflow_node={"sub_workflow_ref": inner.id})), inner)
    assert isinstance(spec.element, Plan)
    assert spec.element.ids[2:] == ("m",)
    assert (spec.picks, spec.is_counted, spec.name) == (True, False, "inner")


def test_over_a_launch_plan() -> None:
    """An element is a plan of one node; the array takes the slot of max_parallelism, not its children."""
    variable = variables({"a": INT}).variables["a"]
    known = LaunchPlanInterface(
        identifier("lp", identifier_pb2.WORKFLOW),
        interface_pb2.ParameterMap(parameters={"a": interface_pb2.Parameter(var=variable, required=True)}),
        variables({"o0": INT, "o1": INT}),
    )
    inner = Node(id="i", workflow_node={"launchplan_ref": identifier("lp", identifier_pb2.LAUNCH_PLAN)})
    spec = _spec(_array(inner, is_original_sub_node_interface={"value": True}), launch_plans={"lp": known})
    assert isinstance(spec.element, Plan)
    target = spec.element.targets[2]
    assert isinstance(target, LaunchPlanSpec)
    assert (target.name, target.output_names, spec.element.kinds[2]) == ("lp", ("o0",), NodeKind.LAUNCH_PLAN)
    assert (spec.picks, spec.is_counted, spec.input_names) == (True, True, ("a",))


def test_over_an_array() -> None:
    """Lists of lists: the inner array is the one node of a plan for each outer element."""
    inner = Node(
        id="inner", array_node=ArrayNode(node=node("i", "double"), is_original_sub_node_interface={"value": True})
    )
    array = Node(id="n0", inputs=bindings({"a": promise("", "many")}), array_node=ArrayNode(node=inner, parallelism=1))
    lists = list_of(list_of(INT))
    template = workflow([array], inputs={"many": lists}, outputs={"o0": lists}, returns={"o0": promise("n0")})
    spec = build_plan(compiled(template)).array(2)
    assert isinstance(spec.element, Plan)
    assert spec.element.kinds[2] is NodeKind.ARRAY
    assert (spec.parallelism, spec.element.array(2).parallelism) == (1, 0)
    assert [spec.name, spec.element.array(2).name] == ["double", "double"]
    flat = workflow([array], inputs=MANY, outputs={"o0": lists}, returns={"o0": promise("n0")})
    assert [mistake[0] for mistake in mistakes(flat)] == ["MismatchingTypes"]


@pytest.mark.parametrize(
    "inner",
    [
        Node(id="i", gate_node={"sleep": {"duration": {"seconds": 1}}}),
        Node(id="i", branch_node={"if_else": {}}),
    ],
)
def test_over_what_cannot_be_mapped(inner: Node) -> None:
    """Branches and gates are refused at registration."""
    assert [mistake[:2] for mistake in mistakes(workflow([_array(inner)], inputs=MANY))] == [("InvalidValue", "n0")]


def _legacy(**fields: object) -> tasks_pb2.TaskTemplate:
    settings = SerializationSettings(
        project="p", domain="d", version="v", image_config=ImageConfig(Image("default", "image", "tag"))
    )
    mapped = legacy_map_task(functools.partial(flyte_programs.scale, factor=2), **fields)
    return get_serializable(OrderedDict(), settings, mapped).to_flyte_idl().template


def _legacy_plan(template: tasks_pb2.TaskTemplate) -> Plan:
    called = Node(
        id="n0",
        inputs=bindings({"a": promise("", "many"), "factor": 2}),
        task_node={"reference_id": template.id},
    )
    called.metadata.retries.retries = 1
    return build_plan(compiled(workflow([called], inputs=MANY), tasks=(template,)))


def test_the_older_kind_of_map_task() -> None:
    """A task node of type container_array is an array: numbers from `custom`, bound inputs from its arguments."""
    plan = _legacy_plan(_legacy(concurrency=3, min_success_ratio=0.6))
    assert plan.kinds[2] is NodeKind.ARRAY
    spec = plan.array(2)
    assert (spec.appends_index, spec.picks, spec.parallelism) == (True, False, 3)
    assert spec.min_success_ratio == Fraction(3, 5)
    assert spec.bound_inputs == {"factor"}
    assert (spec.attempts_max, spec.input_names, spec.output_names) == (2, ("a", "factor"), ("o0",))


def test_an_older_map_task_with_a_broken_custom_is_refused() -> None:
    """With a sentence that names the task."""
    template = _legacy()
    template.custom["parallelism"] = "many"
    with pytest.raises(MalformedClosureError, match=r"map_scale.*container_array"):
        _legacy_plan(template)
