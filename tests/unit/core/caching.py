"""Steps of executions with cacheable tasks, for the tests of caching."""

import dataclasses

from flyteidl.core import catalog_pb2
from flyteidl.event import event_pb2
from tests.unit.core.arrays import array, array_plan, integers, outputs
from tests.unit.core.plans import task

from wingbeat_propeller.core.array_inputs import take_apart
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.caching import (
    CacheMode,
    CacheStatus,
)
from wingbeat_propeller.core.effects import (
    Effects,
    LookUp,
    LookUpElements,
    NodeRef,
    OpenArray,
    Reserve,
)
from wingbeat_propeller.core.events import (
    ArrayOpened,
    Begin,
    ElementsLookedUp,
    LookedUp,
)
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.plan import Plan, TaskSpec
from wingbeat_propeller.core.recovery import rebuild
from wingbeat_propeller.core.rows import ElementRow, NodeRow
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.step import step

CATALOG = catalog_pb2.CatalogMetadata(
    artifact_tag=catalog_pb2.CatalogArtifactTag(name="flyte_cached-x")
).SerializeToString()
INPUTS = {"x": b"\x0a\x00"}
OUT = outputs(7)
VALUES = {"o0": OUT[8:]}


def cached(name: str = "t", *, serialized: bool = False) -> TaskSpec:
    """A cacheable task from `x` to `o0`."""
    known = CachedTask("p", "d", name, "v", "1", b"", serialized=serialized)
    return dataclasses.replace(task(name), cached=known)


def state_of(plan: Plan, *, mode: CacheMode = CacheMode.USE, max_parallelism: int = 0) -> ExecutionState:
    """An execution that has not begun."""
    settings = Settings(base_uri="mem://b", cache=mode, max_parallelism=max_parallelism, element_attempts_max=4)
    return ExecutionState(ExecutionKey(1), "p", "d", "e", plan, settings)


def begin(plan: Plan, **settings: object) -> tuple[ExecutionState, Effects]:
    """It has begun; what its first step asks for."""
    state = state_of(plan, **settings)  # pyright: ignore[reportArgumentType]
    return state, step(state, Begin(100.0, dict(INPUTS)))


def look_ups_of(effects: Effects) -> list[LookUp]:
    """Single calls that are looked up."""
    return [read for read in effects.reads if isinstance(read, LookUp)]


def only_row(effects: Effects) -> NodeRow:
    """The one row of node n0."""
    (row,) = (row for row in effects.nodes if row.node_id == "n0")
    return row


def answer_to(ref: NodeRef, status: CacheStatus) -> LookedUp:
    """What the catalog says of a call."""
    if status is CacheStatus.HIT:
        return LookedUp(101.0, ref, status, CATALOG, dict(VALUES), OUT)
    return LookedUp(101.0, ref, status, CATALOG if status is CacheStatus.MISS else b"")


def metadata_of(row: NodeRow) -> event_pb2.TaskNodeMetadata:
    """What a console reads of a row."""
    return event_pb2.NodeExecutionEvent.FromString(row.details or b"").task_node_metadata


def restart(state: ExecutionState, *steps: Effects, elements: bool = False) -> tuple[ExecutionState, Effects]:
    """Another process takes the execution up from the rows of these steps."""
    nodes: dict[str, NodeRow] = {}
    rows: dict[int, ElementRow] = {}
    for effects in steps:
        for row in effects.nodes:
            before = nodes.get(row.node_id)
            if before is not None:
                for name in ("inputs", "input_uri", "outputs", "output_uri", "details", "memo", "inherited"):
                    if getattr(row, name) is None:
                        setattr(row, name, getattr(before, name))
            nodes[row.node_id] = row
        rows.update({row.element: row for row in effects.elements})
    again = ExecutionState(state.key, "p", "d", "e", state.plan, state.settings)
    inputs = {"x": integers(range(6)).SerializeToString()} if elements else dict(INPUTS)
    ordered = sorted(nodes.values(), key=lambda row: row.seq)
    return again, rebuild(again, ordered, inputs, elements=rows.values(), started_at=100.0, now=200.0)


def wait_for_reservation(plan: Plan, **settings: object) -> tuple[ExecutionState, Effects, Reserve]:
    """A call that was missed and asks for its reservation."""
    state, begun = begin(plan, **settings)
    effects = step(state, answer_to(look_ups_of(begun)[0].ref, CacheStatus.MISS))
    (command,) = (command for command in effects.commands if isinstance(command, Reserve))
    return state, effects, command


def cached_array(*, serialized: bool = False) -> Plan:
    """A map of six elements over a cacheable task."""
    return array_plan(array(cached(serialized=serialized)))


def answers_to(page: LookUpElements, hits: set[int]) -> ElementsLookedUp:
    """What the catalog says of a page of elements: `hits` are there."""
    answers = [
        LookedUp(101.0, call.ref, CacheStatus.HIT, CATALOG, {}, outputs(call.ref.element))
        if call.ref.element in hits
        else LookedUp(101.0, call.ref, CacheStatus.MISS, CATALOG)
        for call in page.calls
    ]
    return ElementsLookedUp(101.0, page.ref, answers)


def begin_array(*, serialized: bool = False, mode: CacheMode = CacheMode.USE) -> tuple[ExecutionState, Effects]:
    """A map whose lists are at hand; what it asks for."""
    state = state_of(cached_array(serialized=serialized), mode=mode)
    return state, open_array(state, step(state, Begin(100.0, {"x": integers(range(6)).SerializeToString()})))


def open_array(state: ExecutionState, effects: Effects) -> Effects:
    """The effects of the step after the lists are at hand, with the rows of the one before."""
    (request,) = effects.reads
    assert isinstance(request, OpenArray)
    opened = step(state, ArrayOpened(100.0, request.ref, take_apart(request.spec, request.values)))
    opened.nodes = [*effects.nodes, *opened.nodes]
    return opened


def page_of(effects: Effects) -> LookUpElements:
    """The elements that are looked up at once."""
    (page,) = (read for read in effects.reads if isinstance(read, LookUpElements))
    return page
