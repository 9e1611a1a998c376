"""Sub-workflow nodes that are cached as a whole."""

import dataclasses

from tests.unit.core.arrays import launches
from tests.unit.core.caching import (
    CATALOG,
    OUT,
    VALUES,
    answer_to,
    begin,
    look_ups_of,
    metadata_of,
    only_row,
    restart,
    wait_for_reservation,
)
from tests.unit.core.plans import line, task

from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.caching import (
    CacheMode,
    CacheStatus,
    ReservationStatus,
)
from wingbeat_propeller.core.effects import (
    Keep,
    NodeRef,
    Reserve,
    Unreserve,
)
from wingbeat_propeller.core.events import (
    AbortRequested,
    Kept,
    ReservationHeld,
    Reserved,
    TaskFailed,
    TaskSucceeded,
    TimerFired,
    TimerKind,
)
from wingbeat_propeller.core.kinds import KINDS
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.step import step
from wingbeat_propeller.core.waiting.explanation import explain


def _whole(*, serialized: bool = False, timeout_s: float = 0.0) -> Plan:
    """A cacheable sub-workflow of one task."""
    known = CachedTask("p", "d", "w", "v", "1", b"", serialized=serialized, is_workflow=True)
    return dataclasses.replace(line(line(task("t")), timeout_s=timeout_s), cached_workflows={2: known})


def test_a_sub_workflow_that_is_there_does_not_begin() -> None:
    """One row; nothing inside is met."""
    state, effects = begin(_whole())
    (call,) = look_ups_of(effects)
    assert call.task.name == "w"
    assert [row.node_id for row in effects.nodes] == ["start-node"]
    effects = step(state, answer_to(call.ref, CacheStatus.HIT))
    row = only_row(effects)
    assert (row.phase, row.cache_status, row.outputs) == (NodePhase.SUCCEEDED, CacheStatus.HIT, OUT)
    assert metadata_of(row).catalog_key.artifact_tag.name == "flyte_cached-x"
    assert not [row for row in effects.nodes if row.parent_id is not None]
    assert state.phase == ExecutionPhase.SUCCEEDED


def test_what_a_sub_workflow_comes_to_is_put_before_the_node_ends() -> None:
    """And put again after a restart in between; the frame stays ended."""
    state, begun = begin(_whole())
    missed = step(state, answer_to(look_ups_of(begun)[0].ref, CacheStatus.MISS))
    row = only_row(missed)
    assert (row.phase, row.cache_status) == (NodePhase.RUNNING, CacheStatus.MISS)
    assert row.inputs is not None
    (launch,) = launches(missed)
    ended = step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
    (keep,) = ended.reads
    assert isinstance(keep, Keep)
    assert (keep.node_id, keep.outputs, keep.call.inputs, keep.overwrite) == ("n0", OUT, row.inputs, False)
    assert not [row for row in ended.nodes if row.node_id == "n0"]
    again, effects = restart(state, begun, missed, ended)
    (repeated,) = effects.reads
    assert isinstance(repeated, Keep)
    assert (repeated.outputs, repeated.call.inputs, effects.adopt) == (keep.outputs, keep.call.inputs, [])
    for one in (state, again):
        row = only_row(step(one, Kept(104.0, keep.call.ref, CacheStatus.POPULATED, CATALOG)))
        assert (row.phase, row.outputs, row.cache_status) == (NodePhase.SUCCEEDED, OUT, CacheStatus.POPULATED)
        assert one.phase == ExecutionPhase.SUCCEEDED


def test_a_sub_workflow_is_overwritten_or_left_alone() -> None:
    """It begins without a question; its outputs replace what is there, or are not put at all."""
    for mode, status, count in (
        (CacheMode.OVERWRITE, CacheStatus.SKIPPED, 1),
        (CacheMode.OFF, CacheStatus.DISABLED, 0),
    ):
        state, effects = begin(_whole(serialized=True), mode=mode)
        assert only_row(effects).cache_status == status
        (launch,) = launches(effects)
        effects = step(state, TaskSucceeded(102.0, launch.ref, 102.0, dict(VALUES), OUT))
        assert [one.overwrite for one in effects.reads if isinstance(one, Keep)] == [True] * count


def test_a_failure_inside_lets_the_reservation_go_and_puts_nothing() -> None:
    """So does an abort."""
    failure = Failure(ErrorKind.USER, "E", "no")
    for event in (TaskFailed(103.0, NodeRef(1, 2, 0), 103.0, failure), AbortRequested(103.0, "stop")):
        state, _, command = wait_for_reservation(_whole(serialized=True))
        begun = step(state, Reserved(102.0, command.call.ref, ReservationStatus.ACQUIRED))
        assert [launch.ref for launch in launches(begun)] == [NodeRef(1, 2, 0)]
        effects = step(state, event)
        assert Unreserve(command.call.ref, CATALOG, "e-n0-0") in effects.commands
        assert not effects.reads
        assert only_row(effects).cache_status == CacheStatus.MISS


def test_serialized_sub_workflows_wait_without_a_slot() -> None:
    """Queued, then running with the reservation, through restarts; or ended by what the other has made."""
    state, queued, command = wait_for_reservation(_whole(serialized=True), max_parallelism=1)
    assert (only_row(queued).phase, launches(queued), state.active) == (NodePhase.QUEUED, [], 0)
    held = step(state, ReservationHeld(102.0, command.call.ref, "other", 130.0))
    found = explain(state, KINDS, "n0", nodes_max=10)
    assert found is not None
    assert found.nodes[0][1].reasons[0].reservation.owner == "other"
    again, effects = restart(state, queued, held)
    (asked,) = effects.commands
    assert isinstance(asked, Reserve)
    assert (asked.runs, asked.call.inputs, launches(effects)) == (False, command.call.inputs, [])
    begun = step(again, Reserved(103.0, asked.call.ref, ReservationStatus.ACQUIRED))
    assert (only_row(begun).phase, len(launches(begun)), again.active) == (NodePhase.RUNNING, 1, 1)
    assert launches(begun)[0].inputs == command.call.inputs
    _, effects = restart(state, queued, held, begun)
    (asked,) = effects.commands
    assert isinstance(asked, Reserve)
    assert (asked.runs, len(effects.adopt)) == (True, 1)
    row = only_row(step(state, answer_to(command.call.ref, CacheStatus.HIT)))
    assert (row.phase, row.cache_status) == (NodePhase.SUCCEEDED, CacheStatus.HIT)


def test_a_sub_workflow_that_ended_in_time_does_not_expire_while_it_is_put() -> None:
    """Its deadlines come and go."""
    state, begun = begin(_whole(timeout_s=10.0))
    missed = step(state, answer_to(look_ups_of(begun)[0].ref, CacheStatus.MISS))
    step(state, TaskSucceeded(102.0, launches(missed)[0].ref, 102.0, dict(VALUES), OUT))
    for kind in (TimerKind.ATTEMPT, TimerKind.NODE):
        assert not step(state, TimerFired(121.0, NodeRef(0, 2, 0), kind)).writes
