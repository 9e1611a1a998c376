"""An array gives its slot of max_parallelism back while others make what all of its elements need, and has it again
before one of them runs."""

import dataclasses

from tests.unit.core.arrays import array, integers, launches, outputs
from tests.unit.core.caching import CATALOG, answer_to, answers_to, cached, open_array, page_of, state_of
from tests.unit.core.plans import fan, task

from wingbeat_propeller.core.caching import CacheStatus, ReservationStatus
from wingbeat_propeller.core.effects import Effects, Launch, NodeRef, Reserve
from wingbeat_propeller.core.events import (
    AbortRequested,
    Begin,
    Event,
    Kept,
    LookedUp,
    ReservationHeld,
    Reserved,
    TaskSucceeded,
    TimerFired,
    TimerKind,
)
from wingbeat_propeller.core.kinds import KINDS
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.step import step
from wingbeat_propeller.core.values import split_literal_map
from wingbeat_propeller.core.waiting.explanation import explain


class Run:
    """A map n0 of elements of a serialized task beside a task n1 without cache, one of which may run at a time."""

    def __init__(self, elements: int, *, min_successes: int | None = None) -> None:
        spec = array(cached(serialized=True), min_successes=min_successes)
        plan = dataclasses.replace(
            fan(2),
            kinds=(NodeKind.START, NodeKind.END, NodeKind.ARRAY, NodeKind.TASK),
            targets=(None, None, spec, task("b")),
        )
        self.state = state_of(plan, max_parallelism=1)
        begun = step(self.state, Begin(100.0, {"x": integers(range(elements)).SerializeToString()}))
        asked = self.tell(answers_to(page_of(open_array(self.state, begun)), set()))
        self.calls = [command.call.ref for command in asked.commands if isinstance(command, Reserve)]
        assert len(self.calls) == elements
        assert (self.state.active, launches(asked)) == (1, [])

    def tell(self, event: Event) -> Effects:
        """One step."""
        return step(self.state, event)

    def hold(self, call: NodeRef) -> list[Launch]:
        """Another makes the call; what runs for that."""
        return launches(self.tell(ReservationHeld(102.0, call, "other", 130.0)))

    def reserve(self, call: NodeRef) -> list[Launch]:
        """The reservation is ours."""
        return launches(self.tell(Reserved(103.0, call, ReservationStatus.ACQUIRED)))

    def succeed(self, launch: Launch) -> list[Launch]:
        """An attempt is done, and put into the cache if that is asked for."""
        data = outputs(1)
        effects = self.tell(TaskSucceeded(104.0, launch.ref, 104.0, dict(split_literal_map(data)), data))
        more = self.tell(Kept(105.0, launch.ref, CacheStatus.POPULATED, CATALOG))
        return [*launches(effects), *launches(more)]


def test_the_slot_is_free_while_all_are_held() -> None:
    """Not before: one that may still get its reservation would run."""
    run = Run(2)
    assert run.hold(run.calls[0]) == []
    (other,) = run.hold(run.calls[1])
    assert (other.ref.node, run.state.active) == (3, 1)
    assert run.hold(run.calls[1]) == []
    assert run.state.active == 1


def test_elements_wait_for_the_slot_again() -> None:
    """Those that have their reservations meanwhile run together once there is one, and the line says so until then."""
    run = Run(3)
    (other,) = [launch for call in run.calls for launch in run.hold(call)]
    assert run.reserve(run.calls[1]) == run.reserve(run.calls[0]) == []
    found = explain(run.state, KINDS, "n0", nodes_max=10)
    assert found is not None
    (parallelism,) = (one.parallelism for one in found.nodes[0][1].reasons if one.HasField("parallelism"))
    assert parallelism.holder_count == 1
    began = run.succeed(other)
    assert [launch.ref for launch in began] == [run.calls[1], run.calls[0]]
    assert run.state.active == 1
    assert run.reserve(run.calls[1]) == [], "said twice"
    (last,) = run.reserve(run.calls[2])
    for launch in (*began, last):
        run.succeed(launch)
    assert run.state.phase == ExecutionPhase.SUCCEEDED
    assert run.state.active == 0


def test_one_that_ends_meanwhile_leaves_the_line() -> None:
    """It shares what the other has made; the slot goes to nobody, and is there for the next."""
    run = Run(2)
    (other,) = [launch for call in run.calls for launch in run.hold(call)]
    for call in run.calls:
        answer = answer_to(call, CacheStatus.HIT)
        run.tell(LookedUp(103.0, call, answer.status, CATALOG, answer.values, answer.serialized))
    assert run.state.active == 1
    run.succeed(other)
    assert run.state.phase == ExecutionPhase.SUCCEEDED


def test_whoever_is_called_in_for_nothing_lets_the_next_one_in() -> None:
    """An array had its place in line for an element that has taken too long since; the one behind it gets the slot."""
    hasty = array(cached(serialized=True), parallelism=1, timeout_s=10.0, runs_all=True, min_successes=1)
    patient = array(cached("u", serialized=True), parallelism=1)
    plan = dataclasses.replace(
        fan(3),
        kinds=(NodeKind.START, NodeKind.END, NodeKind.ARRAY, NodeKind.ARRAY, NodeKind.TASK),
        targets=(None, None, hasty, patient, task("b")),
    )
    state = state_of(plan, max_parallelism=1)

    def hold_next(asked: Effects) -> tuple[NodeRef, Effects]:
        (call,) = (command.call.ref for command in asked.commands if isinstance(command, Reserve))
        return call, step(state, ReservationHeld(102.0, call, "other", 130.0))

    def begin(effects: Effects) -> tuple[NodeRef, Effects]:
        return hold_next(step(state, answers_to(page_of(open_array(state, effects)), set())))

    first, rested = begin(step(state, Begin(100.0, {"x": integers([1, 2]).SerializeToString()})))
    second, rested = begin(rested)
    (other,) = launches(rested)
    for call in (first, second):
        assert launches(step(state, Reserved(103.0, call, ReservationStatus.ACQUIRED))) == []
    third, _ = hold_next(step(state, TimerFired(122.0, NodeRef(0, 2, 0), TimerKind.WAKE)))
    assert (third.node, third.element) == (2, 1)
    data = outputs(1)
    effects = step(state, TaskSucceeded(123.0, other.ref, 123.0, dict(split_literal_map(data)), data))
    assert [launch.ref for launch in launches(effects)] == [second]


def test_whatever_fails_takes_its_elements_out_of_the_line() -> None:
    """An array that is aborted while elements of it wait for a slot asks for none any more."""
    run = Run(2)
    (other,) = [launch for call in run.calls for launch in run.hold(call)]
    assert run.reserve(run.calls[0]) == []
    effects = run.tell(AbortRequested(104.0, "stop"))
    assert launches(effects) == []
    assert run.state.phase == ExecutionPhase.ABORTED
    assert run.succeed(other) == []
