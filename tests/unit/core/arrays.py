"""Small arrays made by hand."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from flyteidl.core import literals_pb2
from tests.unit.core.plans import line, task

from wingbeat_propeller.core.effects import Effects, Launch
from wingbeat_propeller.core.events import Begin
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.plan import ArraySpec, NodeKind, Plan, TaskSpec
from wingbeat_propeller.core.retry import RetryPolicy
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.step import step
from wingbeat_propeller.core.values import build_literal_map

AT_ONCE = RetryPolicy(backoff_s=0)


def integer(value: int) -> literals_pb2.Literal:
    """An integer literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def integers(values: Sequence[int]) -> literals_pb2.Literal:
    """A collection of integers."""
    return literals_pb2.Literal(
        collection=literals_pb2.LiteralCollection(literals=[integer(value) for value in values])
    )


def outputs(value: int) -> bytes:
    """What a task from `x` to `o0` hands over."""
    return build_literal_map({"o0": integer(value).SerializeToString()})


def array(element: TaskSpec | Plan | None = None, **changes: Any) -> ArraySpec:
    """An array from `x` to `o0` over a task whose program picks its own item."""
    spec = ArraySpec(
        project="p",
        domain="d",
        name="mapped",
        version="v",
        element=element if element is not None else task("t"),
        bound_inputs=frozenset(),
        picks=False,
        appends_index=False,
        parallelism=0,
        min_successes=None,
        min_success_ratio=Fraction(1),
        runs_all=False,
        attempts_max=1,
        timeout_s=0.0,
        interruptible=None,
        input_names=("x",),
        output_names=("o0",),
    )
    return replace(spec, **changes)


def array_plan(spec: ArraySpec) -> Plan:
    """A workflow of one array node, n0, from `x` to `o0`."""
    return replace(line(task("t")), kinds=(NodeKind.START, NodeKind.END, NodeKind.ARRAY), targets=(None, None, spec))


def begun(
    spec: ArraySpec,
    values: Sequence[int],
    *,
    elements_max: int = 100,
    retry: RetryPolicy = AT_ONCE,
    node_id: str = "n0",
) -> tuple[ExecutionState, Effects]:
    """An execution of that workflow over some integers, and the effects of its first step."""
    settings = Settings(base_uri="mem://b", elements_max=elements_max, element_attempts_max=elements_max, retry=retry)
    plan = replace(array_plan(spec), ids=("start-node", "end-node", node_id))
    state = ExecutionState(ExecutionKey(1), "p", "d", "e", plan, settings)
    return state, step(state, Begin(100.0, {"x": integers(values).SerializeToString()}))


def launches(effects: Effects) -> list[Launch]:
    """Attempts that begin after these effects are durable."""
    return [command for command in effects.commands if isinstance(command, Launch)]
