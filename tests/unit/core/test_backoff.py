"""Pauses before attempts lost to failures of the system: durable, cut short by whatever ends the node."""

import dataclasses

from tests.unit.core.plans import line, task

from wingbeat_propeller.core.effects import Abort, Effects, Launch, SetTimer
from wingbeat_propeller.core.events import AbortRequested, Begin, TaskFailed, TaskStarted, TimerFired, TimerKind
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.recovery import rebuild
from wingbeat_propeller.core.retry import RetryPolicy
from wingbeat_propeller.core.rows import NodeRow
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.step import step

SYSTEM = Failure(ErrorKind.SYSTEM, "Interrupted", "the machine went away", retryable=True)
INPUTS = {"x": b"\x0a\x00"}


def _state(plan: Plan, max_parallelism: int = 0) -> ExecutionState:
    policy = RetryPolicy(backoff_s=8.0, backoff_s_max=60.0)
    settings = Settings(base_uri="mem://b", max_parallelism=max_parallelism, retry=policy)
    return ExecutionState(ExecutionKey(1), "p", "d", "e", plan, settings)


def _launches(effects: Effects) -> list[Launch]:
    return [command for command in effects.commands if isinstance(command, Launch)]


def _pause(effects: Effects) -> SetTimer:
    (timer,) = [timer for timer in effects.timers if timer.kind == TimerKind.RETRY]
    return timer


def _fail_first(state: ExecutionState) -> tuple[list[NodeRow], Launch, Effects]:
    """The first attempt of n0 runs and is lost at 102; the rows so far, that attempt, and what follows."""
    begun = step(state, Begin(100.0, INPUTS))
    (launch,) = _launches(begun)
    started = step(state, TaskStarted(101.0, launch.ref, 101.0))
    failed = step(state, TaskFailed(102.0, launch.ref, 102.0, SYSTEM))
    return [*begun.nodes, *started.nodes, *failed.nodes], launch, failed


def _last(rows: list[NodeRow]) -> list[NodeRow]:
    return sorted({row.node_id: row for row in rows}.values(), key=lambda row: row.seq)


def test_the_next_attempt_begins_when_the_pause_is_over() -> None:
    """The node stays RUNNING with its next attempt and the time it may begin; nothing is launched before."""
    state = _state(line(task("t")))
    _, first, failed = _fail_first(state)
    (row,) = failed.nodes
    assert (row.phase, row.attempt, row.system_failures, row.ended_at) == (NodePhase.RUNNING, 1, 1, None)
    assert not failed.commands
    timer = _pause(failed)
    assert row.retry_at == timer.at
    assert 108.0 <= timer.at <= 110.0
    due = step(state, TimerFired(timer.at, timer.ref, TimerKind.RETRY))
    (second,) = _launches(due)
    assert (second.ref.attempt, due.nodes[0].retry_at) == (1, None)
    assert second.previous_generated_name == first.generated_name
    assert not step(state, TimerFired(timer.at + 1, timer.ref, TimerKind.RETRY)).writes


def test_failures_of_the_user_are_tried_again_at_once() -> None:
    """As in Flyte v1."""
    state = _state(line(task("t"), attempts_max=2))
    (launch,) = _launches(step(state, Begin(100.0, INPUTS)))
    failure = Failure(ErrorKind.USER, "USER:Recoverable", "again", retryable=True)
    effects = step(state, TaskFailed(102.0, launch.ref, 102.0, failure))
    assert _launches(effects)[0].ref.attempt == 1
    assert effects.nodes[0].retry_at is None


def test_a_pause_survives_a_crash() -> None:
    """Whoever takes the execution up waits for the rest of it; one that is over meanwhile ends at once."""
    state = _state(line(task("t")))
    rows, _, failed = _fail_first(state)
    for now in (103.0, 500.0):
        again = _state(line(task("t")))
        rebuilt = rebuild(again, _last(rows), INPUTS, started_at=100.0, now=now)
        assert not rebuilt.adopt
        assert not _launches(rebuilt)
        timer = _pause(rebuilt)
        assert timer.at == _pause(failed).at
        (launch,) = _launches(step(again, TimerFired(max(now, timer.at), timer.ref, TimerKind.RETRY)))
        assert launch.ref.attempt == 1


def test_an_attempt_that_was_launched_after_its_pause_is_adopted() -> None:
    """A crash after the launch asks the runtime first, as for any attempt."""
    state = _state(line(task("t")))
    rows, _, failed = _fail_first(state)
    timer = _pause(failed)
    rows += step(state, TimerFired(timer.at, timer.ref, TimerKind.RETRY)).nodes
    rebuilt = rebuild(_state(line(task("t"))), _last(rows), INPUTS, started_at=100.0, now=120.0)
    assert [launch.ref.attempt for launch in rebuilt.adopt] == [1]


def test_a_clock_that_was_set_back_makes_no_pause_longer_than_allowed() -> None:
    """After a restart the rest of a pause is at most the longest pause there is."""
    rows, _, _ = _fail_first(_state(line(task("t"))))
    rebuilt = rebuild(_state(line(task("t"))), _last(rows), INPUTS, started_at=100.0, now=-100_000.0)
    assert _pause(rebuilt).at == -100_000.0 + 60.0


def test_an_abort_ends_a_pause() -> None:
    """No attempt is there to be stopped; the node ends ABORTED, and the pause comes to nothing."""
    state = _state(line(task("t")))
    _, _, failed = _fail_first(state)
    effects = step(state, AbortRequested(103.0, "enough"))
    assert {row.node_id: row.phase for row in effects.nodes} == {"n0": NodePhase.ABORTED}
    assert not [command for command in effects.commands if isinstance(command, Abort)]
    assert not effects.tasks
    assert not step(state, TimerFired(200.0, _pause(failed).ref, TimerKind.RETRY)).writes


def test_the_deadline_of_a_node_ends_a_pause() -> None:
    """The active deadline runs on while the node pauses."""
    state = _state(line(task("t"), timeout_s=4))
    _, _, failed = _fail_first(state)
    ref = failed.timers[0].ref
    effects = step(state, TimerFired(108.0, ref, TimerKind.NODE))
    assert effects.nodes[0].phase == NodePhase.TIMED_OUT
    assert not effects.commands


def test_a_node_that_pauses_keeps_its_slot() -> None:
    """max_parallelism bounds nodes that run, and this one does as clients see it."""
    plan = line(task("a"), task("b"))
    both = dataclasses.replace(
        plan,
        successors=((2, 3), (), (1,), (1,)),
        indegree=(0, 2, 1, 1),
        bindings=(plan.bindings[0], plan.bindings[1], plan.bindings[2], plan.bindings[2]),
        uses=(2, 0, 0, 1),
    )
    state = _state(both, max_parallelism=1)
    (first,) = _launches(step(state, Begin(100.0, INPUTS)))
    failed = step(state, TaskFailed(102.0, first.ref, 102.0, SYSTEM))
    assert not _launches(failed)
    timer = _pause(failed)
    assert [launch.ref.node for launch in _launches(step(state, TimerFired(111.0, timer.ref, TimerKind.RETRY)))] == [2]
