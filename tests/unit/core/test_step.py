"""Single rules of the state machine: deadlines, failures across frames, node kinds that cannot run."""

import dataclasses

from tests.unit.core.plans import fan, line, task

from wingbeat_propeller.core.effects import Abort, Effects, Launch, SetTimer
from wingbeat_propeller.core.events import (
    AbortRequested,
    Begin,
    Continue,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
    TimerFired,
    TimerKind,
)
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import FailurePolicy, Plan
from wingbeat_propeller.core.recovery import rebuild
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.step import step
from wingbeat_propeller.core.walk import STEP_NODES_MAX


def _begin(plan: Plan) -> tuple[ExecutionState, Effects]:
    state = ExecutionState(ExecutionKey(1), "p", "d", "e", plan, Settings(base_uri="mem://b"))
    return state, step(state, Begin(100.0, {"x": b"\x0a\x00"}))


def _launch(effects: Effects) -> Launch:
    (launch,) = [command for command in effects.commands if isinstance(command, Launch)]
    return launch


def _timer(effects: Effects, kind: TimerKind) -> SetTimer:
    (timer,) = [timer for timer in effects.timers if timer.kind == kind]
    return timer


def _phases(effects: Effects) -> dict[str, int]:
    return {row.node_id: row.phase for row in effects.nodes}


def test_a_short_attempt_is_one_step() -> None:
    """An end that is the first that is said of its attempt tells when that began, unless its start was told before."""
    state, effects = _begin(line(task("t")))
    launch = _launch(effects)
    done = step(state, TaskSucceeded(103.0, launch.ref, 102.0, {}, b"", started_at=101.0))
    assert [(row.phase, row.started_at, row.ended_at) for row in done.tasks] == [(TaskPhase.SUCCEEDED, 101.0, 102.0)]
    node = next(row for row in done.nodes if row.node_id == launch.node_id)
    assert (node.phase, node.started_at, node.attempt_started_at) == (NodePhase.SUCCEEDED, 101.0, 101.0)

    state, effects = _begin(line(task("t")))
    launch = _launch(effects)
    step(state, TaskStarted(100.5, launch.ref, 100.2))
    done = step(state, TaskSucceeded(103.0, launch.ref, 102.0, {}, b"", started_at=101.0))
    assert done.tasks[0].started_at == 100.2


def test_a_deck_is_announced_from_the_start() -> None:
    """A task that says so has its deck from RUNNING on; its end says whether there is one, for each attempt anew."""
    state, effects = _begin(line(dataclasses.replace(task("t"), wants_deck=True), attempts_max=2))
    first = _launch(effects)
    assert effects.nodes[-1].deck_uri is None
    running = step(state, TaskStarted(101.0, first.ref, 101.0))
    assert running.nodes[0].deck_uri == f"{first.output_dir}/deck.html"
    failure = Failure(ErrorKind.USER, "c", "m", retryable=True)
    failed = step(state, TaskFailed(102.0, first.ref, 102.0, failure, deck_uri=""))
    assert failed.nodes[0].deck_uri == ""
    second = _launch(failed)
    running = step(state, TaskStarted(103.0, second.ref, 103.0))
    assert running.nodes[0].deck_uri == f"{second.output_dir}/deck.html"
    failed = step(state, TaskFailed(104.0, second.ref, 104.0, failure, deck_uri="d"))
    assert failed.nodes[0].deck_uri == "d"


def test_a_task_without_deck_announces_none() -> None:
    """A task that says nothing has a deck only if one is found at its end."""
    state, effects = _begin(line(dataclasses.replace(task("t"), wants_deck=None)))
    launch = _launch(effects)
    assert step(state, TaskStarted(101.0, launch.ref, 101.0)).nodes[0].deck_uri is None
    done = step(state, TaskSucceeded(102.0, launch.ref, 102.0, {"o0": b""}, b"", deck_uri="d"))
    assert done.nodes[0].deck_uri == "d"


def test_an_attempt_that_takes_too_long_is_aborted_and_tried_again() -> None:
    """The clock of an attempt starts when it runs; its timeout consumes a user attempt."""
    state, effects = _begin(line(task("t"), timeout_s=10, attempts_max=2))
    first = _launch(effects)
    assert not [timer for timer in effects.timers if timer.kind == TimerKind.ATTEMPT]
    timer = _timer(step(state, TaskStarted(103.0, first.ref, 103.0)), TimerKind.ATTEMPT)
    assert timer.at == 113.0
    effects = step(state, TimerFired(113.0, timer.ref, TimerKind.ATTEMPT))
    assert Abort(first.ref, first.name) in effects.commands
    second = _launch(effects)
    assert second.ref.attempt == 1
    assert second.name != first.name
    assert effects.tasks[0].failure is not None
    assert effects.tasks[0].failure.code == "TimeoutExpired"
    assert not step(state, TimerFired(114.0, timer.ref, TimerKind.ATTEMPT)).writes


def test_a_node_times_out_after_twice_its_timeout_over_all_attempts() -> None:
    """The active deadline counts from the first queueing, and ends the node for good."""
    state, effects = _begin(line(task("t"), timeout_s=10, attempts_max=9))
    timer = _timer(effects, TimerKind.NODE)
    assert timer.at == 120.0
    step(state, TaskStarted(101.0, _launch(effects).ref, 101.0))
    effects = step(state, TimerFired(120.0, timer.ref, TimerKind.NODE))
    assert _phases(effects)["n0"] == NodePhase.TIMED_OUT
    assert effects.execution_row is not None
    assert effects.execution_row.phase == ExecutionPhase.FAILED
    assert effects.execution_row.failure == Failure(ErrorKind.USER, "Timeout", "Timeout in node")
    assert [task.phase for task in effects.tasks] == [TaskPhase.ABORTED]
    assert len([command for command in effects.commands if isinstance(command, Abort)]) == 1


def test_a_sub_workflow_that_takes_too_long_ends_with_what_runs_inside() -> None:
    """Its tasks are aborted before it fails."""
    inner = line(task("inner"))
    state, effects = _begin(line(inner, timeout_s=10))
    launch = _launch(effects)
    step(state, TaskStarted(101.0, launch.ref, 101.0))
    timer = _timer(effects, TimerKind.ATTEMPT)
    effects = step(state, TimerFired(110.0, timer.ref, TimerKind.ATTEMPT))
    assert list(_phases(effects).items()) == [("n0-0-n0", NodePhase.ABORTED), ("n0", NodePhase.FAILED)]
    assert Abort(launch.ref, launch.name) in effects.commands


def test_a_failure_inside_fails_the_nodes_around_it() -> None:
    """Under FAIL_IMMEDIATELY parents fail with the same error, everything else is aborted."""
    state, effects = _begin(line(line(task("deep"))))
    failure = Failure(ErrorKind.USER, "USER:RuntimeError", "no")
    effects = step(state, TaskFailed(101.0, _launch(effects).ref, 101.0, failure))
    assert _phases(effects) == {"n0-0-n0": NodePhase.FAILED, "n0": NodePhase.FAILED}
    assert effects.execution_row is not None
    assert effects.execution_row.failure == failure


def test_what_depends_on_a_failure_is_skipped() -> None:
    """Under FAIL_AFTER_EXECUTABLE_NODES_COMPLETE later nodes are SKIPPED, the execution fails with the first error."""
    policy = FailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE
    state, effects = _begin(line(task("a"), task("b"), policy=policy))
    failure = Failure(ErrorKind.USER, "E", "no")
    effects = step(state, TaskFailed(101.0, _launch(effects).ref, 101.0, failure))
    assert _phases(effects) == {
        "n0": NodePhase.FAILED,
        "n1": NodePhase.SKIPPED,
        "end-node": NodePhase.SKIPPED,
    }
    assert effects.execution_row is not None
    assert effects.execution_row.failure == failure
    assert state.ended


def test_retries_keep_the_node_running() -> None:
    """A retryable failure moves the attempt on without a new phase."""
    state, effects = _begin(line(task("t"), attempts_max=3))
    launch = _launch(effects)
    step(state, TaskStarted(101.0, launch.ref, 101.0))
    failure = Failure(ErrorKind.USER, "E", "again", retryable=True)
    effects = step(state, TaskFailed(102.0, launch.ref, 102.0, failure))
    (row,) = effects.nodes
    assert (row.phase, row.attempt, row.ended_at) == (NodePhase.RUNNING, 1, None)
    assert effects.ended == [launch.name]
    assert _launch(effects).previous_generated_name == launch.generated_name


def test_an_execution_past_its_deadline_times_out() -> None:
    """Everything under way is aborted, the reason names the deadline, and what comes later changes nothing."""
    settings = Settings(base_uri="mem://b", deadline_s=7200.0)
    state = ExecutionState(ExecutionKey(1), "p", "d", "e", line(line(task("deep"))), settings)
    effects = step(state, Begin(100.0, {"x": b"\x0a\x00"}))
    launch = _launch(effects)
    timer = _timer(effects, TimerKind.EXECUTION)
    assert timer.at == 7300.0
    effects = step(state, TimerFired(7300.0, timer.ref, TimerKind.EXECUTION))
    assert _phases(effects) == {"n0-0-n0": NodePhase.ABORTED, "n0": NodePhase.ABORTED}
    assert Abort(launch.ref, launch.name) in effects.commands
    row = effects.execution_row
    assert row is not None
    assert (row.phase, row.ended_at) == (ExecutionPhase.TIMED_OUT, 7300.0)
    text = "the execution ran for longer than its deadline allows (7200 s)"
    assert row.failure == Failure(ErrorKind.USER, "DeadlineExceeded", text)
    assert not step(state, TaskSucceeded(7300.0, launch.ref, 7300.0, {"o0": b"\x0a\x00"})).writes


def test_a_deadline_that_comes_after_the_end_changes_nothing() -> None:
    """The end was first."""
    settings = Settings(base_uri="mem://b", deadline_s=1.0)
    state = ExecutionState(ExecutionKey(1), "p", "d", "e", line(task("t")), settings)
    effects = step(state, Begin(100.0, {"x": b"\x0a\x00"}))
    step(state, TaskSucceeded(100.5, _launch(effects).ref, 100.5, {"o0": b"\x0a\x00"}))
    assert state.phase == ExecutionPhase.SUCCEEDED
    assert not step(state, TimerFired(101.0, _timer(effects, TimerKind.EXECUTION).ref, TimerKind.EXECUTION)).writes


def test_a_restart_sets_the_same_deadline() -> None:
    """It counts from when the execution began, wherever it is taken up."""
    settings = Settings(base_uri="mem://b", deadline_s=50.0)
    state = ExecutionState(ExecutionKey(1), "p", "d", "e", line(task("t")), settings)
    rows = step(state, Begin(100.0, {"x": b"\x0a\x00"})).nodes
    again = ExecutionState(ExecutionKey(1), "p", "d", "e", line(task("t")), settings)
    effects = rebuild(again, rows, {"x": b"\x0a\x00"}, started_at=100.0, now=140.0)
    assert _timer(effects, TimerKind.EXECUTION).at == 150.0


def test_aborts_reach_what_runs_inside_first() -> None:
    """Inner nodes are aborted before their parents; the execution ends ABORTED without an error."""
    state, effects = _begin(line(line(task("deep"))))
    step(state, TaskStarted(101.0, _launch(effects).ref, 101.0))
    effects = step(state, AbortRequested(102.0, "enough"))
    assert list(_phases(effects)) == ["n0-0-n0", "n0"]
    assert set(_phases(effects).values()) == {NodePhase.ABORTED}
    assert [task.phase for task in effects.tasks] == [TaskPhase.ABORTED]
    assert effects.execution_row is not None
    assert (effects.execution_row.phase, effects.execution_row.failure) == (ExecutionPhase.ABORTED, None)


def test_missing_output_fails_the_consumer() -> None:
    """A task that did not write what a later node binds fails that node, and no attempt of it is launched."""
    state, effects = _begin(line(task("a"), task("b")))
    effects = step(state, TaskSucceeded(101.0, _launch(effects).ref, 101.0, {}))
    assert _phases(effects) == {"n0": NodePhase.SUCCEEDED, "n1": NodePhase.FAILED}
    assert effects.execution_row is not None
    assert effects.execution_row.failure is not None
    assert effects.execution_row.failure.code == "BindingResolutionFailure"
    assert not effects.commands


def test_a_wide_graph_is_begun_in_short_steps() -> None:
    """No step starts more than STEP_NODES_MAX nodes; the rest follows when asked for, and nothing is lost."""
    width = 2 * STEP_NODES_MAX + 5
    state, effects = _begin(fan(width))
    launched = [command for command in effects.commands if isinstance(command, Launch)]
    assert len(launched) < STEP_NODES_MAX + 1
    while effects.unfinished:
        effects = step(state, Continue(101.0))
        more = [command for command in effects.commands if isinstance(command, Launch)]
        assert len(more) <= STEP_NODES_MAX
        launched += more
    assert len({launch.name for launch in launched}) == len(launched) == width
