"""Calls that are made once by whoever comes first: reservations, waiting, and letting go."""

import dataclasses

import pytest
from tests.unit.core.arrays import launches
from tests.unit.core.caching import (
    CATALOG,
    OUT,
    VALUES,
    answer_to,
    answers_to,
    begin,
    begin_array,
    cached,
    look_ups_of,
    metadata_of,
    only_row,
    page_of,
    restart,
    wait_for_reservation,
)
from tests.unit.core.plans import fan, line, task

from wingbeat_propeller.core.caching import (
    CacheMode,
    CacheStatus,
    ReservationStatus,
)
from wingbeat_propeller.core.effects import (
    Abort,
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
)
from wingbeat_propeller.core.kinds import KINDS
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase
from wingbeat_propeller.core.step import step
from wingbeat_propeller.core.waiting.explanation import explain
from wingbeatidl.query.v1 import why_pb2


def test_a_serialized_task_runs_once_it_has_the_reservation() -> None:
    """It is queued, asks, runs, and lets go after its end, which says so."""
    state, effects, command = wait_for_reservation(line(cached(serialized=True)))
    assert (only_row(effects).phase, launches(effects), command.owner) == (NodePhase.QUEUED, [], "e-n0-0")
    effects = step(state, Reserved(102.0, command.call.ref, ReservationStatus.ACQUIRED))
    (launch,) = launches(effects)
    assert launch.inputs == command.call.inputs
    assert metadata_of(only_row(effects)).reservation_status == ReservationStatus.ACQUIRED
    step(state, TaskSucceeded(103.0, launch.ref, 103.0, dict(VALUES), OUT))
    effects = step(state, Kept(104.0, launch.ref, CacheStatus.POPULATED, CATALOG))
    assert effects.commands == [Unreserve(launch.ref, CATALOG, "e-n0-0")]
    assert metadata_of(only_row(effects)).reservation_status == ReservationStatus.RELEASED


def test_one_that_waits_shares_what_the_other_makes() -> None:
    """It shows who holds it up, gives its slot to others, and ends with a hit."""
    state, _, command = wait_for_reservation(line(cached(serialized=True)), max_parallelism=1)
    assert state.active == 1
    effects = step(state, ReservationHeld(102.0, command.call.ref, "other", 130.0))
    assert metadata_of(only_row(effects)).reservation_status == ReservationStatus.EXISTS
    assert state.active == 0
    assert not step(state, ReservationHeld(103.0, command.call.ref, "other", 131.0)).writes
    effects = step(state, answer_to(command.call.ref, CacheStatus.HIT))
    row = only_row(effects)
    assert (row.phase, row.cache_status, row.outputs) == (NodePhase.SUCCEEDED, CacheStatus.HIT, OUT)
    assert state.phase == ExecutionPhase.SUCCEEDED


def test_one_that_takes_over_waits_for_a_slot_again() -> None:
    """The limit of max_parallelism holds although it had given its slot back."""
    plan = dataclasses.replace(fan(2), targets=(None, None, cached("a", serialized=True), task("b")))
    state, begun = begin(plan, max_parallelism=1)
    (call,) = look_ups_of(begun)
    effects = step(state, answer_to(call.ref, CacheStatus.MISS))
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
    state, _, command = wait_for_reservation(line(cached(serialized=True)))
    effects = step(state, Reserved(102.0, command.call.ref, ReservationStatus.FAILURE))
    (launch,) = launches(effects)
    step(state, TaskSucceeded(103.0, launch.ref, 103.0, dict(VALUES), OUT))
    effects = step(state, Kept(104.0, launch.ref, CacheStatus.POPULATED, CATALOG))
    assert effects.commands == []
    assert metadata_of(only_row(effects)).reservation_status == ReservationStatus.FAILURE


def test_overwrite_asks_for_no_reservation() -> None:
    """It runs at once."""
    _, effects = begin(line(cached(serialized=True)), mode=CacheMode.OVERWRITE)
    assert len(launches(effects)) == 1


@pytest.mark.parametrize("event", ["fail", "abort", "abort waiting"])
def test_whatever_ends_a_node_lets_its_reservation_go(event: str) -> None:
    """A failure, an abort while it runs, an abort while it waits."""
    state, _, command = wait_for_reservation(line(cached(serialized=True)))
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
    state, _, command = wait_for_reservation(line(cached(serialized=True), attempts_max=2))
    step(state, Reserved(102.0, command.call.ref, ReservationStatus.ACQUIRED))
    failure = Failure(ErrorKind.USER, "E", "no", retryable=True)
    effects = step(state, TaskFailed(103.0, command.call.ref, 103.0, failure))
    assert [type(one).__name__ for one in effects.commands] == ["Launch"]


def test_a_restart_waits_on_or_keeps_the_reservation_alive() -> None:
    """As the row says: one that waited asks again, for one that runs nothing is asked but to go on."""
    state, begun = begin(line(cached(serialized=True)), max_parallelism=1)
    queued = step(state, answer_to(look_ups_of(begun)[0].ref, CacheStatus.MISS))
    held = step(state, ReservationHeld(102.0, NodeRef(0, 2, 0), "other", 130.0))
    again, effects = restart(state, begun, queued, held)
    (command,) = effects.commands
    assert isinstance(command, Reserve)
    assert (command.runs, command.catalog, effects.adopt, again.active) == (False, CATALOG, [], 0)
    acquired = step(again, Reserved(103.0, command.call.ref, ReservationStatus.ACQUIRED))
    third, effects = restart(state, begun, queued, held, acquired)
    (command,) = effects.commands
    assert isinstance(command, Reserve)
    assert (command.runs, len(effects.adopt), third.active) == (True, 1, 1)


def test_a_wait_for_another_call_has_a_name() -> None:
    """Who makes what the node needs, and until when at most; an array says so for its elements."""
    state, _, command = wait_for_reservation(line(cached(serialized=True)))
    step(state, ReservationHeld(102.0, command.call.ref, "other", 130.0))
    found = explain(state, KINDS, "n0", nodes_max=10)
    assert found is not None
    ((_, answer),) = found.nodes
    assert answer.standing == why_pb2.STANDING_WAITING
    (reason,) = answer.reasons
    assert (reason.reservation.owner, reason.reservation.lapses.seconds) == ("other", 130)
    state, effects = begin_array(serialized=True)
    effects = step(state, answers_to(page_of(effects), set()))
    first = next(one for one in effects.commands if isinstance(one, Reserve))
    step(state, ReservationHeld(102.0, first.call.ref, "other", 130.0))
    found = explain(state, KINDS, "n0", nodes_max=10)
    assert found is not None
    assert any(reason.reservation.owner == "other" for reason in found.nodes[0][1].reasons)


def test_one_that_waits_for_a_slot_again_says_so() -> None:
    """The limit of max_parallelism and who holds it."""
    plan = dataclasses.replace(fan(2), targets=(None, None, cached("a", serialized=True), task("b")))
    state, begun = begin(plan, max_parallelism=1)
    (call,) = look_ups_of(begun)
    step(state, answer_to(call.ref, CacheStatus.MISS))
    step(state, ReservationHeld(102.0, call.ref, "other", 130.0))
    step(state, Reserved(103.0, call.ref, ReservationStatus.ACQUIRED))
    found = explain(state, KINDS, "n0", nodes_max=10)
    assert found is not None
    ((_, answer),) = found.nodes
    assert answer.standing == why_pb2.STANDING_HELD
    assert answer.reasons[0].parallelism.holder_count == 1
