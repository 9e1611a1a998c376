"""Cacheable tasks in the state machine: look-ups, puts, reservations, and restarts between any two of their steps."""

import dataclasses

import pytest
from flyteidl.core import catalog_pb2
from flyteidl.event import event_pb2
from tests.unit.core.arrays import array, array_plan, integers, launches, outputs
from tests.unit.core.plans import fan, line, task

from wingbeat_propeller.core.array_inputs import take_apart
from wingbeat_propeller.core.bindings import BindingProgram
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.caching import (
    CacheMode,
    CacheSource,
    CacheStatus,
    Caching,
    ReservationStatus,
    dynamic_details,
)
from wingbeat_propeller.core.effects import (
    Abort,
    Effects,
    Keep,
    LookUp,
    LookUpElements,
    NodeRef,
    OpenArray,
    Recall,
    Reserve,
    Unreserve,
)
from wingbeat_propeller.core.events import (
    AbortRequested,
    ArrayOpened,
    Begin,
    ElementsLookedUp,
    Kept,
    LookedUp,
    Recalled,
    ReservationHeld,
    Reserved,
    TaskBecameDynamic,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
    TimerFired,
    TimerKind,
)
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.kinds import KINDS
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import Plan, TaskSpec
from wingbeat_propeller.core.recovery import rebuild
from wingbeat_propeller.core.reuse import ALL
from wingbeat_propeller.core.rows import FLAG_DYNAMIC, ElementRow, LineageKind, LineageRow, NodeRow
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.step import step
from wingbeat_propeller.core.waiting import explain
from wingbeatidl.query.v1 import why_pb2

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


def _state(plan: Plan, *, mode: CacheMode = CacheMode.USE, max_parallelism: int = 0) -> ExecutionState:
    settings = Settings(base_uri="mem://b", cache=mode, max_parallelism=max_parallelism, element_attempts_max=4)
    return ExecutionState(ExecutionKey(1), "p", "d", "e", plan, settings)


def _begun(plan: Plan, **settings: object) -> tuple[ExecutionState, Effects]:
    state = _state(plan, **settings)  # pyright: ignore[reportArgumentType]
    return state, step(state, Begin(100.0, dict(INPUTS)))


def _look_ups(effects: Effects) -> list[LookUp]:
    return [read for read in effects.reads if isinstance(read, LookUp)]


def _only(effects: Effects) -> NodeRow:
    (row,) = (row for row in effects.nodes if row.node_id == "n0")
    return row


def _answer(ref: NodeRef, status: CacheStatus) -> LookedUp:
    if status is CacheStatus.HIT:
        return LookedUp(101.0, ref, status, CATALOG, dict(VALUES), OUT)
    return LookedUp(101.0, ref, status, CATALOG if status is CacheStatus.MISS else b"")


def _metadata(row: NodeRow) -> event_pb2.TaskNodeMetadata:
    return event_pb2.NodeExecutionEvent.FromString(row.details or b"").task_node_metadata


def _restarted(state: ExecutionState, *steps: Effects, elements: bool = False) -> tuple[ExecutionState, Effects]:
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


def test_a_hit_ends_the_node_without_an_attempt() -> None:
    """One row, SUCCEEDED with the outputs, the status and the key; no task row, no command."""
    state, effects = _begun(line(cached()))
    (call,) = _look_ups(effects)
    assert not [row for row in effects.nodes if row.node_id == "n0"]
    effects = step(state, _answer(call.ref, CacheStatus.HIT))
    row = _only(effects)
    assert (row.phase, row.cache_status, row.outputs) == (NodePhase.SUCCEEDED, CacheStatus.HIT, OUT)
    assert row.inputs is not None
    assert _metadata(row).catalog_key.artifact_tag.name == "flyte_cached-x"
    assert (effects.tasks, effects.commands, state.phase) == ([], [], ExecutionPhase.SUCCEEDED)


def test_a_hit_tells_who_made_the_outputs() -> None:
    """What ties the node to another execution is written with its row, once; of a foreign entry nobody can tell."""
    state, effects = _begun(line(cached()))
    (call,) = _look_ups(effects)
    source = CacheSource("p", "d", "other", "m0", 2, 4, "v")
    effects = step(state, _answer(call.ref, CacheStatus.HIT)._replace(source=source))
    assert effects.lineage == [
        LineageRow(LineageKind.CACHED, state.key, "n0", token="p:d:other", source_node_id="m0", source_first=4)
    ]
    state, effects = _begun(line(cached()))
    assert step(state, _answer(_look_ups(effects)[0].ref, CacheStatus.HIT)).lineage == []


def test_large_outputs_of_a_hit_stay_where_they_are() -> None:
    """The row says where they stand."""
    state, effects = _begun(line(cached()))
    (call,) = _look_ups(effects)
    row = _only(step(state, LookedUp(101.0, call.ref, CacheStatus.HIT, CATALOG, dict(VALUES))))
    assert (row.outputs, row.output_uri) == (None, call.outputs_uri)


def test_a_miss_runs_and_is_put_before_the_node_ends() -> None:
    """Nothing of the end is written before the put is answered; then status and key are."""
    state, effects = _begun(line(cached()))
    effects = step(state, _answer(_look_ups(effects)[0].ref, CacheStatus.MISS))
    row = _only(effects)
    assert (row.phase, row.cache_status) == (NodePhase.QUEUED, CacheStatus.MISS)
    (launch,) = launches(effects)
    effects = step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    (keep,) = effects.reads
    assert isinstance(keep, Keep)
    assert (keep.outputs, keep.overwrite, keep.call.inputs, effects.writes) == (OUT, False, launch.inputs, False)
    effects = step(state, Kept(103.0, launch.ref, CacheStatus.POPULATED, CATALOG))
    row = _only(effects)
    assert (row.phase, row.cache_status, row.outputs) == (NodePhase.SUCCEEDED, CacheStatus.POPULATED, OUT)
    assert effects.ended == [launch.name]
    assert effects.tasks[0].phase == TaskPhase.SUCCEEDED


@pytest.mark.parametrize(
    ("looked", "put", "shown"),
    [
        (CacheStatus.MISS, CacheStatus.PUT_FAILURE, CacheStatus.PUT_FAILURE),
        (CacheStatus.LOOKUP_FAILURE, CacheStatus.POPULATED, CacheStatus.LOOKUP_FAILURE),
    ],
)
def test_failures_of_the_cache_fail_no_node(looked: CacheStatus, put: CacheStatus, shown: CacheStatus) -> None:
    """The task runs and succeeds; the status tells of the failure."""
    state, effects = _begun(line(cached()))
    (launch,) = launches(step(state, _answer(_look_ups(effects)[0].ref, looked)))
    step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    row = _only(step(state, Kept(103.0, launch.ref, put, b"")))
    assert (row.phase, row.cache_status) == (NodePhase.SUCCEEDED, shown)


def test_overwrite_runs_without_a_question_and_replaces() -> None:
    """SKIPPED while it runs; what comes of it is put over what is there."""
    state, effects = _begun(line(cached()), mode=CacheMode.OVERWRITE)
    assert not effects.reads
    assert _only(effects).cache_status == CacheStatus.SKIPPED
    (launch,) = launches(effects)
    (keep,) = step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT)).reads
    assert isinstance(keep, Keep)
    assert keep.overwrite


def test_a_cache_that_is_off_is_not_asked() -> None:
    """Neither before nor after; the status is DISABLED."""
    state, effects = _begun(line(cached(serialized=True)), mode=CacheMode.OFF)
    (launch,) = launches(effects)
    effects = step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    assert (_only(effects).cache_status, effects.reads, effects.commands) == (CacheStatus.DISABLED, [], [])


def test_a_restart_asks_again_for_what_was_looked_up_or_put() -> None:
    """A node that was looked up has no row; the attempt of one that was put is asked for again."""
    state, begun = _begun(line(cached()))
    again, effects = _restarted(state, begun)
    (call,) = _look_ups(effects)
    missed = step(again, _answer(call.ref, CacheStatus.MISS))
    (launch,) = launches(missed)
    step(again, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    third, effects = _restarted(state, begun, missed)
    assert [one.name for one in effects.adopt] == [launch.name]
    (keep,) = step(third, TaskSucceeded(103.0, launch.ref, 102.0, dict(VALUES), OUT)).reads
    assert isinstance(keep, Keep)
    assert keep.call.inputs == launch.inputs
    assert _only(step(third, Kept(104.0, launch.ref, CacheStatus.POPULATED, CATALOG))).phase == NodePhase.SUCCEEDED


def test_what_ended_in_time_does_not_expire_while_it_is_put() -> None:
    """Neither deadline, nor a doubled event, changes anything."""
    state, effects = _begun(line(cached(), timeout_s=10.0))
    (launch,) = launches(step(state, _answer(_look_ups(effects)[0].ref, CacheStatus.MISS)))
    step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    failure = Failure(ErrorKind.USER, "E", "no")
    for event in (
        TimerFired(120.0, launch.ref, TimerKind.ATTEMPT),
        TimerFired(120.0, launch.ref, TimerKind.NODE),
        TaskSucceeded(120.0, launch.ref, 102.0, dict(VALUES), OUT),
        TaskFailed(120.0, launch.ref, 102.0, failure),
    ):
        effects = step(state, event)
        assert (effects.writes, effects.commands, effects.reads) == (False, [], [])
    assert _only(step(state, Kept(121.0, launch.ref, CacheStatus.POPULATED, b""))).phase == NodePhase.SUCCEEDED


# ---- dynamic tasks ----


def _dynamic(state: ExecutionState, launch_ref: NodeRef, plan: Plan) -> Effects:
    return step(state, TaskBecameDynamic(102.0, launch_ref, 102.0, plan, b"", "mem://f/futures.pb"))


def test_the_final_outputs_of_a_dynamic_task_are_put() -> None:
    """Not those of its attempt; and after a restart in between they are put again."""
    state, begun = _begun(line(cached()))
    missed = step(state, _answer(_look_ups(begun)[0].ref, CacheStatus.MISS))
    (launch,) = launches(missed)
    made = dataclasses.replace(
        line(task("inner")), bindings=(line(task("i")).bindings[0], line(task("i")).bindings[1], line().bindings[0])
    )
    became = _dynamic(state, launch.ref, made)
    assert not became.reads
    (inner,) = launches(became)
    ended = step(state, TaskSucceeded(103.0, inner.ref, 103.0, dict(VALUES), OUT))
    (keep,) = ended.reads
    assert isinstance(keep, Keep)
    assert (keep.node_id, keep.outputs) == ("n0", OUT)
    assert not [row for row in ended.nodes if row.node_id == "n0"]

    rows: dict[str, NodeRow] = {}
    for effects in (begun, missed, became, ended):
        for row in effects.nodes:
            if (before := rows.get(row.node_id)) is not None:
                row.details, row.inputs = row.details or before.details, row.inputs or before.inputs
            rows[row.node_id] = row
    again = ExecutionState(state.key, "p", "d", "e", state.plan, state.settings)
    ordered = sorted(rows.values(), key=lambda row: row.seq)
    effects = rebuild(again, ordered, dict(INPUTS), started_at=1.0, now=2.0, dynamic_plans={("n0", 0): made})
    (repeated,) = effects.reads
    assert isinstance(repeated, Keep)
    assert (repeated.outputs, repeated.call.inputs) == (keep.outputs, keep.call.inputs)
    row = _only(step(again, Kept(104.0, NodeRef(0, 2, 0), CacheStatus.POPULATED, CATALOG)))
    assert (row.phase, row.outputs, row.cache_status) == (NodePhase.SUCCEEDED, OUT, CacheStatus.POPULATED)
    metadata = _metadata(row)
    assert metadata.dynamic_workflow.dynamic_job_spec_uri == "mem://f/futures.pb"
    assert metadata.catalog_key.artifact_tag.name == "flyte_cached-x"


# ---- sub-workflows ----


def _whole(*, serialized: bool = False, timeout_s: float = 0.0) -> Plan:
    """A cacheable sub-workflow of one task."""
    known = CachedTask("p", "d", "w", "v", "1", b"", serialized=serialized, is_workflow=True)
    return dataclasses.replace(line(line(task("t")), timeout_s=timeout_s), cached_workflows={2: known})


def test_a_sub_workflow_that_is_there_does_not_begin() -> None:
    """One row; nothing inside is met."""
    state, effects = _begun(_whole())
    (call,) = _look_ups(effects)
    assert call.task.name == "w"
    assert [row.node_id for row in effects.nodes] == ["start-node"]
    effects = step(state, _answer(call.ref, CacheStatus.HIT))
    row = _only(effects)
    assert (row.phase, row.cache_status, row.outputs) == (NodePhase.SUCCEEDED, CacheStatus.HIT, OUT)
    assert _metadata(row).catalog_key.artifact_tag.name == "flyte_cached-x"
    assert not [row for row in effects.nodes if row.parent_id is not None]
    assert state.phase == ExecutionPhase.SUCCEEDED


def test_what_a_sub_workflow_comes_to_is_put_before_the_node_ends() -> None:
    """And put again after a restart in between; the frame stays ended."""
    state, begun = _begun(_whole())
    missed = step(state, _answer(_look_ups(begun)[0].ref, CacheStatus.MISS))
    row = _only(missed)
    assert (row.phase, row.cache_status) == (NodePhase.RUNNING, CacheStatus.MISS)
    assert row.inputs is not None
    (launch,) = launches(missed)
    ended = step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    (keep,) = ended.reads
    assert isinstance(keep, Keep)
    assert (keep.node_id, keep.outputs, keep.call.inputs, keep.overwrite) == ("n0", OUT, row.inputs, False)
    assert not [row for row in ended.nodes if row.node_id == "n0"]
    again, effects = _restarted(state, begun, missed, ended)
    (repeated,) = effects.reads
    assert isinstance(repeated, Keep)
    assert (repeated.outputs, repeated.call.inputs, effects.adopt) == (keep.outputs, keep.call.inputs, [])
    for one in (state, again):
        row = _only(step(one, Kept(104.0, keep.call.ref, CacheStatus.POPULATED, CATALOG)))
        assert (row.phase, row.outputs, row.cache_status) == (NodePhase.SUCCEEDED, OUT, CacheStatus.POPULATED)
        assert one.phase == ExecutionPhase.SUCCEEDED


def test_a_sub_workflow_is_overwritten_or_left_alone() -> None:
    """It begins without a question; its outputs replace what is there, or are not put at all."""
    for mode, status, count in (
        (CacheMode.OVERWRITE, CacheStatus.SKIPPED, 1),
        (CacheMode.OFF, CacheStatus.DISABLED, 0),
    ):
        state, effects = _begun(_whole(serialized=True), mode=mode)
        assert _only(effects).cache_status == status
        (launch,) = launches(effects)
        effects = step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
        assert [one.overwrite for one in effects.reads if isinstance(one, Keep)] == [True] * count


def test_a_failure_inside_lets_the_reservation_go_and_puts_nothing() -> None:
    """So does an abort."""
    failure = Failure(ErrorKind.USER, "E", "no")
    for event in (TaskFailed(103.0, NodeRef(1, 2, 0), 103.0, failure), AbortRequested(103.0, "stop")):
        state, _, command = _waiting(_whole(serialized=True))
        begun = step(state, Reserved(102.0, command.call.ref, ReservationStatus.ACQUIRED))
        assert [launch.ref for launch in launches(begun)] == [NodeRef(1, 2, 0)]
        effects = step(state, event)
        assert Unreserve(command.call.ref, CATALOG, "e-n0-0") in effects.commands
        assert not effects.reads
        assert _only(effects).cache_status == CacheStatus.MISS


def test_serialized_sub_workflows_wait_without_a_slot() -> None:
    """Queued, then running with the reservation, through restarts; or ended by what the other has made."""
    state, queued, command = _waiting(_whole(serialized=True), max_parallelism=1)
    assert (_only(queued).phase, launches(queued), state.active) == (NodePhase.QUEUED, [], 0)
    held = step(state, ReservationHeld(102.0, command.call.ref, "other", 130.0))
    found = explain(state, KINDS, "n0", nodes_max=10)
    assert found is not None
    assert found.nodes[0][1].reasons[0].reservation.owner == "other"
    again, effects = _restarted(state, queued, held)
    (asked,) = effects.commands
    assert isinstance(asked, Reserve)
    assert (asked.runs, asked.call.inputs, launches(effects)) == (False, command.call.inputs, [])
    begun = step(again, Reserved(103.0, asked.call.ref, ReservationStatus.ACQUIRED))
    assert (_only(begun).phase, len(launches(begun)), again.active) == (NodePhase.RUNNING, 1, 1)
    assert launches(begun)[0].inputs == command.call.inputs
    _, effects = _restarted(state, queued, held, begun)
    (asked,) = effects.commands
    assert isinstance(asked, Reserve)
    assert (asked.runs, len(effects.adopt)) == (True, 1)
    row = _only(step(state, _answer(command.call.ref, CacheStatus.HIT)))
    assert (row.phase, row.cache_status) == (NodePhase.SUCCEEDED, CacheStatus.HIT)


def test_a_sub_workflow_that_ended_in_time_does_not_expire_while_it_is_put() -> None:
    """Its deadlines come and go."""
    state, begun = _begun(_whole(timeout_s=10.0))
    missed = step(state, _answer(_look_ups(begun)[0].ref, CacheStatus.MISS))
    step(state, TaskSucceeded(102.0, launches(missed)[0].ref, 102.0, dict(VALUES), OUT))
    for kind in (TimerKind.ATTEMPT, TimerKind.NODE):
        assert not step(state, TimerFired(121.0, NodeRef(0, 2, 0), kind)).writes


# ---- one at a time ----


def _waiting(plan: Plan, **settings: object) -> tuple[ExecutionState, Effects, Reserve]:
    state, begun = _begun(plan, **settings)
    effects = step(state, _answer(_look_ups(begun)[0].ref, CacheStatus.MISS))
    (command,) = (command for command in effects.commands if isinstance(command, Reserve))
    return state, effects, command


def test_a_serialized_task_runs_once_it_has_the_reservation() -> None:
    """It is queued, asks, runs, and lets go after its end, which says so."""
    state, effects, command = _waiting(line(cached(serialized=True)))
    assert (_only(effects).phase, launches(effects), command.owner) == (NodePhase.QUEUED, [], "e-n0-0")
    effects = step(state, Reserved(102.0, command.call.ref, ReservationStatus.ACQUIRED))
    (launch,) = launches(effects)
    assert launch.inputs == command.call.inputs
    assert _metadata(_only(effects)).reservation_status == ReservationStatus.ACQUIRED
    step(state, TaskSucceeded(103.0, launch.ref, 103.0, dict(VALUES), OUT))
    effects = step(state, Kept(104.0, launch.ref, CacheStatus.POPULATED, CATALOG))
    assert effects.commands == [Unreserve(launch.ref, CATALOG, "e-n0-0")]
    assert _metadata(_only(effects)).reservation_status == ReservationStatus.RELEASED


def test_one_that_waits_shares_what_the_other_makes() -> None:
    """It shows who holds it up, gives its slot to others, and ends with a hit."""
    state, _, command = _waiting(line(cached(serialized=True)), max_parallelism=1)
    assert state.active == 1
    effects = step(state, ReservationHeld(102.0, command.call.ref, "other", 130.0))
    assert _metadata(_only(effects)).reservation_status == ReservationStatus.EXISTS
    assert state.active == 0
    assert not step(state, ReservationHeld(103.0, command.call.ref, "other", 131.0)).writes
    effects = step(state, _answer(command.call.ref, CacheStatus.HIT))
    row = _only(effects)
    assert (row.phase, row.cache_status, row.outputs) == (NodePhase.SUCCEEDED, CacheStatus.HIT, OUT)
    assert state.phase == ExecutionPhase.SUCCEEDED


def test_one_that_takes_over_waits_for_a_slot_again() -> None:
    """The limit of max_parallelism holds although it had given its slot back."""
    plan = dataclasses.replace(fan(2), targets=(None, None, cached("a", serialized=True), task("b")))
    state, begun = _begun(plan, max_parallelism=1)
    (call,) = _look_ups(begun)
    effects = step(state, _answer(call.ref, CacheStatus.MISS))
    (command,) = effects.commands
    assert isinstance(command, Reserve)
    effects = step(state, ReservationHeld(102.0, call.ref, "other", 130.0))
    (other,) = launches(effects)
    effects = step(state, Reserved(103.0, call.ref, ReservationStatus.ACQUIRED))
    assert (launches(effects), state.active) == ([], 1)
    effects = step(state, TaskSucceeded(104.0, other.ref, 104.0, dict(VALUES), OUT))
    (launch,) = launches(effects)
    assert (launch.ref.node, state.active) == (call.ref.node, 1)


def test_a_cache_that_fails_keeps_no_serialized_task() -> None:
    """It runs without a reservation, and has none to let go."""
    state, _, command = _waiting(line(cached(serialized=True)))
    effects = step(state, Reserved(102.0, command.call.ref, ReservationStatus.FAILURE))
    (launch,) = launches(effects)
    step(state, TaskSucceeded(103.0, launch.ref, 103.0, dict(VALUES), OUT))
    effects = step(state, Kept(104.0, launch.ref, CacheStatus.POPULATED, CATALOG))
    assert effects.commands == []
    assert _metadata(_only(effects)).reservation_status == ReservationStatus.FAILURE


def test_overwrite_asks_for_no_reservation() -> None:
    """It runs at once."""
    _, effects = _begun(line(cached(serialized=True)), mode=CacheMode.OVERWRITE)
    assert len(launches(effects)) == 1


@pytest.mark.parametrize("event", ["fail", "abort", "abort waiting"])
def test_whatever_ends_a_node_lets_its_reservation_go(event: str) -> None:
    """A failure, an abort while it runs, an abort while it waits."""
    state, _, command = _waiting(line(cached(serialized=True)))
    if event != "abort waiting":
        step(state, Reserved(102.0, command.call.ref, ReservationStatus.ACQUIRED))
    if event == "fail":
        effects = step(state, TaskFailed(103.0, command.call.ref, 103.0, Failure(ErrorKind.USER, "E", "no")))
    else:
        effects = step(state, AbortRequested(103.0, "stop"))
    assert Unreserve(command.call.ref, CATALOG, "e-n0-0") in effects.commands
    assert any(isinstance(command, Abort) for command in effects.commands) is (event == "abort")


def test_a_retry_keeps_the_reservation() -> None:
    """The next attempt runs at once."""
    state, _, command = _waiting(line(cached(serialized=True), attempts_max=2))
    step(state, Reserved(102.0, command.call.ref, ReservationStatus.ACQUIRED))
    failure = Failure(ErrorKind.USER, "E", "no", retryable=True)
    effects = step(state, TaskFailed(103.0, command.call.ref, 103.0, failure))
    assert [type(one).__name__ for one in effects.commands] == ["Launch"]


def test_a_restart_waits_on_or_keeps_the_reservation_alive() -> None:
    """As the row says: one that waited asks again, for one that runs nothing is asked but to go on."""
    state, begun = _begun(line(cached(serialized=True)), max_parallelism=1)
    queued = step(state, _answer(_look_ups(begun)[0].ref, CacheStatus.MISS))
    held = step(state, ReservationHeld(102.0, NodeRef(0, 2, 0), "other", 130.0))
    again, effects = _restarted(state, begun, queued, held)
    (command,) = effects.commands
    assert isinstance(command, Reserve)
    assert (command.runs, command.catalog, effects.adopt, again.active) == (False, CATALOG, [], 0)
    acquired = step(again, Reserved(103.0, command.call.ref, ReservationStatus.ACQUIRED))
    third, effects = _restarted(state, begun, queued, held, acquired)
    (command,) = effects.commands
    assert isinstance(command, Reserve)
    assert (command.runs, len(effects.adopt), third.active) == (True, 1, 1)


# ---- elements of arrays ----


def _array(*, serialized: bool = False) -> Plan:
    return array_plan(array(cached(serialized=serialized)))


def _looked_up(page: LookUpElements, hits: set[int]) -> ElementsLookedUp:
    answers = [
        LookedUp(101.0, call.ref, CacheStatus.HIT, CATALOG, {}, outputs(call.ref.element))
        if call.ref.element in hits
        else LookedUp(101.0, call.ref, CacheStatus.MISS, CATALOG)
        for call in page.calls
    ]
    return ElementsLookedUp(101.0, page.ref, answers)


def _begun_array(*, serialized: bool = False, mode: CacheMode = CacheMode.USE) -> tuple[ExecutionState, Effects]:
    state = _state(_array(serialized=serialized), mode=mode)
    return state, _opened(state, step(state, Begin(100.0, {"x": integers(range(6)).SerializeToString()})))


def _opened(state: ExecutionState, effects: Effects) -> Effects:
    """The effects of the step after the lists are at hand, with the rows of the one before."""
    (request,) = effects.reads
    assert isinstance(request, OpenArray)
    opened = step(state, ArrayOpened(100.0, request.ref, take_apart(request.spec, request.values)))
    opened.nodes = [*effects.nodes, *opened.nodes]
    return opened


def _page(effects: Effects) -> LookUpElements:
    (page,) = (read for read in effects.reads if isinstance(read, LookUpElements))
    return page


def test_elements_are_looked_up_in_one_question_and_only_the_others_run() -> None:
    """Those that are there end at once, with their outputs in their places."""
    state, effects = _begun_array()
    page = _page(effects)
    assert len({call.inputs for call in page.calls}) == 6
    effects = step(state, _looked_up(page, {0, 1, 3, 5}))
    assert {row.element: (row.phase, row.cache_status) for row in effects.elements} == dict.fromkeys(
        (0, 1, 3, 5), (TaskPhase.SUCCEEDED, CacheStatus.HIT)
    )
    attempts = launches(effects)
    assert [launch.ref.element for launch in attempts] == [2, 4]
    for launch in attempts:
        (keep,) = step(state, TaskSucceeded(102.0, launch.ref, 102.0, {}, outputs(launch.ref.element))).reads
        assert isinstance(keep, Keep)
        assert keep.call.inputs == page.calls[launch.ref.element].inputs
        effects = step(state, Kept(103.0, launch.ref, CacheStatus.POPULATED, CATALOG))
        assert effects.elements[0].cache_status == CacheStatus.POPULATED
    assert state.phase == ExecutionPhase.SUCCEEDED
    row = next(row for row in effects.nodes if row.node_id == "n0")
    assert row.outputs is not None
    assert integers(range(6)).SerializeToString() in row.outputs


def test_elements_tell_who_made_their_outputs() -> None:
    """One row for elements that follow each other in both arrays; a node that is no array has no elements to follow."""
    state, effects = _begun_array()
    page = _page(effects)
    event = _looked_up(page, {0, 1, 2, 4, 5})
    places = {0: ("other", "m0", 7), 1: ("other", "m0", 8), 2: ("third", "m0", 9), 4: ("other", "m1", -1)}
    answers = [
        answer._replace(source=CacheSource("p", "d", place[0], place[1], 0, place[2], "v"))
        if (place := places.get(answer.ref.element))
        else answer
        for answer in event.answers
    ]
    effects = step(state, event._replace(answers=answers))
    assert [
        (row.token, row.source_node_id, row.first, row.run_length, row.source_first) for row in effects.lineage
    ] == [
        ("p:d:other", "m0", 0, 2, 7),
        ("p:d:third", "m0", 2, 1, 9),
        ("p:d:other", "m1", 4, 1, -1),
    ]
    assert {(row.kind, row.node_id) for row in effects.lineage} == {(LineageKind.CACHED, "n0")}


def test_an_array_that_is_wholly_there_runs_nothing() -> None:
    """No element is launched, and the node succeeds."""
    state, effects = _begun_array()
    effects = step(state, _looked_up(_page(effects), set(range(6))))
    assert (launches(effects), state.phase) == ([], ExecutionPhase.SUCCEEDED)


def test_a_restarted_array_asks_again_for_elements_without_rows() -> None:
    """Those that may have run are asked for; one that has come to be there meanwhile is aborted, should it run."""
    state, begun = _begun_array()
    missed = step(state, _looked_up(_page(begun), {0}))
    assert [launch.ref.element for launch in launches(missed)] == [1, 2, 3, 4]
    started = step(state, TaskStarted(102.0, launches(missed)[0].ref, 102.0))
    again, effects = _restarted(state, begun, missed, started, elements=True)
    assert [launch.ref.element for launch in effects.adopt] == [1]
    page = _page(effects)
    assert [call.ref.element for call in page.calls] == [2, 3, 4, 5]
    effects = step(again, _looked_up(page, {2}))
    assert [command.ref.element for command in effects.commands if isinstance(command, Abort)] == [2]
    assert {launch.ref.element: launch.is_repeat for launch in launches(effects)} == {3: True, 4: True, 5: True}


def test_elements_of_a_serialized_task_wait_for_each_other() -> None:
    """One that waits begins with the reservation, or ends with what the other has made."""
    state, effects = _begun_array(serialized=True)
    effects = step(state, _looked_up(_page(effects), set()))
    commands = [command for command in effects.commands if isinstance(command, Reserve)]
    assert [command.call.ref.element for command in commands] == [0, 1, 2, 3]
    assert len({command.owner for command in commands}) == 4
    (launch,) = launches(step(state, Reserved(102.0, commands[0].call.ref, ReservationStatus.ACQUIRED)))
    assert not step(state, ReservationHeld(102.0, commands[1].call.ref, "other", 130.0)).commands
    effects = step(state, LookedUp(103.0, commands[1].call.ref, CacheStatus.HIT, CATALOG, {}, outputs(1)))
    assert effects.elements[0].cache_status == CacheStatus.HIT
    assert Unreserve(commands[1].call.ref, CATALOG, commands[1].owner) in effects.commands
    step(state, TaskSucceeded(104.0, launch.ref, 104.0, {}, outputs(0)))
    effects = step(state, Kept(105.0, launch.ref, CacheStatus.POPULATED, CATALOG))
    assert Unreserve(launch.ref, CATALOG, commands[0].owner) in effects.commands


def test_elements_overwrite_without_a_question() -> None:
    """All of them run at once, and what comes of them replaces what is there."""
    state, effects = _begun_array(mode=CacheMode.OVERWRITE)
    (first, *_) = launches(effects)
    (keep,) = step(state, TaskSucceeded(102.0, first.ref, 102.0, {}, outputs(0))).reads
    assert isinstance(keep, Keep)
    assert keep.overwrite
    effects = step(state, Kept(103.0, first.ref, CacheStatus.POPULATED, b""))
    assert effects.elements[0].cache_status == CacheStatus.POPULATED


def test_details_are_the_message_that_readers_parse() -> None:
    """What is put together by hand is what the protobuf library would write, merged."""
    workflow = event_pb2.DynamicWorkflowNodeMetadata(dynamic_job_spec_uri="mem://f")
    caching = Caching(None, catalog=CATALOG, reservation=ReservationStatus.EXISTS, dynamic=dynamic_details(workflow))
    metadata = event_pb2.NodeExecutionEvent.FromString(caching.details() or b"").task_node_metadata
    assert metadata == event_pb2.TaskNodeMetadata(
        catalog_key=catalog_pb2.CatalogMetadata.FromString(CATALOG),
        reservation_status=catalog_pb2.CatalogReservation.RESERVATION_EXISTS,
        dynamic_workflow=workflow,
    )
    assert Caching(None).details() is None


def test_a_wait_for_another_call_has_a_name() -> None:
    """Who makes what the node needs, and until when at most; an array says so for its elements."""
    state, _, command = _waiting(line(cached(serialized=True)))
    step(state, ReservationHeld(102.0, command.call.ref, "other", 130.0))
    found = explain(state, KINDS, "n0", nodes_max=10)
    assert found is not None
    ((_, answer),) = found.nodes
    assert answer.standing == why_pb2.STANDING_WAITING
    (reason,) = answer.reasons
    assert (reason.reservation.owner, reason.reservation.lapses.seconds) == ("other", 130)
    state, effects = _begun_array(serialized=True)
    effects = step(state, _looked_up(_page(effects), set()))
    first = next(one for one in effects.commands if isinstance(one, Reserve))
    step(state, ReservationHeld(102.0, first.call.ref, "other", 130.0))
    found = explain(state, KINDS, "n0", nodes_max=10)
    assert found is not None
    assert any(reason.reservation.owner == "other" for reason in found.nodes[0][1].reasons)


def test_one_that_waits_for_a_slot_again_says_so() -> None:
    """The limit of max_parallelism and who holds it."""
    plan = dataclasses.replace(fan(2), targets=(None, None, cached("a", serialized=True), task("b")))
    state, begun = _begun(plan, max_parallelism=1)
    (call,) = _look_ups(begun)
    step(state, _answer(call.ref, CacheStatus.MISS))
    step(state, ReservationHeld(102.0, call.ref, "other", 130.0))
    step(state, Reserved(103.0, call.ref, ReservationStatus.ACQUIRED))
    found = explain(state, KINDS, "n0", nodes_max=10)
    assert found is not None
    ((_, answer),) = found.nodes
    assert answer.standing == why_pb2.STANDING_HELD
    assert answer.reasons[0].parallelism.holder_count == 1


def test_a_recovered_dynamic_task_puts_what_its_workflow_comes_to() -> None:
    """Its attempt does not run again, and its call is known from the inputs of then."""
    state = _state(line(cached()))
    state.reuse = ALL
    effects = step(state, Begin(100.0, dict(INPUTS)))
    (recall,) = effects.reads
    assert isinstance(recall, Recall)
    workflow = event_pb2.DynamicWorkflowNodeMetadata(dynamic_job_spec_uri="mem://f/futures.pb")
    source = NodeRow(
        *(ExecutionKey(9), "n0", 3, "n0", None, None, "n0", 2, FLAG_DYNAMIC, NodePhase.FAILED, 0, 0, 1.0, 2.0),
        inputs=b"\x0a\x07\x0a\x01x\x12\x02\x0a\x00",
        details=dynamic_details(workflow),
        cache_status=CacheStatus.MISS,
    )
    made = dataclasses.replace(line(task("inner")), bindings=line(task("inner")).bindings)
    made = dataclasses.replace(made, bindings=(made.bindings[0], made.bindings[1], BindingProgram()))
    effects = step(state, Recalled(101.0, recall.ref, source, None, made, None))
    (inner,) = launches(effects)
    (keep,) = step(state, TaskSucceeded(103.0, inner.ref, 103.0, dict(VALUES), OUT)).reads
    assert isinstance(keep, Keep)
    assert (keep.call.inputs, keep.outputs) == (source.inputs, OUT)
    row = _only(step(state, Kept(104.0, keep.call.ref, CacheStatus.POPULATED, CATALOG)))
    assert (row.phase, row.cache_status) == (NodePhase.SUCCEEDED, CacheStatus.POPULATED)
