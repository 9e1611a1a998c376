"""The engine's one state machine: `step(state, event) -> Effects`.

The same state and event give the same effects on any machine. The state is changed in place; the caller makes the rows
of the effects durable before it carries out their commands, and submits the effects of one execution in the order in
which they were returned. How nodes move is in `core.walk`, what differs between their kinds in `core.kinds`.

Events may be late, doubled or about an attempt that is over: those change nothing.
"""

from collections.abc import Callable
from typing import cast

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.events import (
    AbortRequested,
    ArrayOpened,
    Begin,
    CacheEvent,
    ChildEnded,
    ChildStarted,
    Continue,
    ElementsLookedUp,
    ElementsRecalled,
    Event,
    Gathered,
    Kept,
    LookedUp,
    Prepared,
    PrepareFailed,
    Quarantine,
    Recalled,
    ReservationHeld,
    Reserved,
    SignalReceived,
    TaskBecameDynamic,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
    TimerFired,
    TimerKind,
)
from wingbeat_propeller.core.kinds import KINDS
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase
from wingbeat_propeller.core.state import ExecutionState, Stage
from wingbeat_propeller.core.walk import AUTO_ABORT, USER_ABORT, Walk, deadline_exceeded


def step(state: ExecutionState, event: Event) -> Effects:
    """Apply one event. An execution that has ended ignores everything."""
    walk = Walk(state, event.now, KINDS)
    if not state.ended:
        _HANDLERS[type(event)](walk, event)
        walk.drain()
    return walk.effects


def _begin(walk: Walk, event: Begin) -> None:
    """A new execution: it runs at once, and so does everything that depends on nothing."""
    state = walk.state
    state.phase = ExecutionPhase.RUNNING
    state.started_at = walk.now
    walk.execution_row()
    walk.deadline()
    walk.open_frame(state.plan, event.inputs, parent=None)


def _prepared(walk: Walk, event: Prepared) -> None:
    """Inputs are stored; the node goes on as if they had been at hand."""
    found = walk.find(event.ref)
    if found is not None and found[1].stage is Stage.PREPARING:
        walk.enter(*found, event.ref.node, event.values, stored=True)


def _prepare_failed(walk: Walk, event: PrepareFailed) -> None:
    """Inputs cannot be had, or what a node under way asked for: permanent."""
    found = walk.find(event.ref)
    if found is None:
        return
    frame, run = found
    node = event.ref.node
    if run.stage is Stage.PREPARING:
        walk.drop_sources(frame, node)
        walk.fail(frame, run, node, event.failure)
    else:
        walk.kinds[frame.plan.kinds[node]].unanswered(walk, frame, run, node, event.failure)


def _answered(walk: Walk, event: ArrayOpened | Gathered | ElementsRecalled) -> None:
    """A node under way hears of what it asked for."""
    found = walk.find(event.ref)
    if found is not None and found[1].stage is Stage.ACTIVE:
        walk.kinds[found[0].plan.kinds[event.ref.node]].answered(walk, *found, event)


def _recalled(walk: Walk, event: Recalled) -> None:
    """What became of a node in the execution that is recovered."""
    found = walk.find(event.ref)
    if found is not None and found[1].stage is Stage.ASKING:
        walk.recalled(*found, event.ref.node, event)


def _of_cache(walk: Walk, event: CacheEvent) -> None:
    """What the cache answers about a node, or an element of one."""
    found = walk.find(event.ref, any_attempt=event.ref.element >= 0)
    if found is not None:
        walk.kinds[found[0].plan.kinds[event.ref.node]].cache_answered(walk, *found, event)


def _of_attempt(walk: Walk, event: TaskStarted | TaskSucceeded | TaskBecameDynamic | TaskFailed) -> None:
    """News of an attempt under way; what is over hears nothing."""
    found = walk.find(event.ref, any_attempt=event.ref.element >= 0)  # the attempt is that of the element
    if found is None or found[1].stage is not Stage.ACTIVE:
        return
    frame, run = found
    if run.cache is not None and run.cache.result is not None:
        return  # it is over, and being put into the cache
    kind = walk.kinds[frame.plan.kinds[event.ref.node]]
    if isinstance(event, TaskSucceeded):
        kind.task_succeeded(walk, frame, run, event)
    elif isinstance(event, TaskStarted):
        kind.task_started(walk, frame, run, event)
    elif isinstance(event, TaskBecameDynamic):
        kind.task_became_dynamic(walk, frame, run, event)
    else:
        kind.task_failed(walk, frame, run, event)


def _of_child(walk: Walk, event: ChildStarted | ChildEnded) -> None:
    """News of an execution that a node launched."""
    found = walk.find(event.ref)
    if found is None or found[1].stage is not Stage.ACTIVE:
        return
    frame, run = found
    kind = walk.kinds[frame.plan.kinds[event.ref.node]]
    if isinstance(event, ChildStarted):
        kind.child_started(walk, frame, run, event)
    else:
        kind.child_ended(walk, frame, run, event)


def _signal_received(walk: Walk, event: SignalReceived) -> None:
    """The value that a gate waits for."""
    found = walk.find(event.ref)
    if found is not None and found[1].stage is Stage.ACTIVE:
        walk.kinds[found[0].plan.kinds[event.ref.node]].signal_received(walk, *found, event)


def _timer_fired(walk: Walk, event: TimerFired) -> None:
    """A deadline of a node that is still under way, or of the execution."""
    if event.kind is TimerKind.EXECUTION:
        failure = deadline_exceeded(walk.state)
        walk.end(ExecutionPhase.TIMED_OUT, failure, failure.message)
        return
    found = walk.find(event.ref, any_attempt=event.kind is TimerKind.NODE)
    if found is None or found[1].stage is not Stage.ACTIVE:
        return
    frame, run = found
    if run.cache is not None and run.cache.result is not None:
        return  # it was in time
    node = event.ref.node
    kind = walk.kinds[frame.plan.kinds[node]]
    if event.kind is TimerKind.WAKE:
        kind.woken(walk, frame, run, node)
    elif event.kind is TimerKind.RETRY:
        kind.retry(walk, frame, run, event.ref)
    elif event.kind is TimerKind.NODE:
        failure = Failure(ErrorKind.USER, "Timeout", "Timeout in node")
        kind.stop(walk, frame, run, node, failure.message)
        walk.fail(frame, run, node, failure, NodePhase.TIMED_OUT)
    else:
        text = f"task execution timeout [{frame.plan.timeout_s[node]:g}s] expired"
        kind.expire(walk, frame, run, node, Failure(ErrorKind.USER, "TimeoutExpired", text, retryable=True))


def _continue(_walk: Walk, _event: Continue) -> None:
    """The work list is gone through after every event."""


def _abort_requested(walk: Walk, event: AbortRequested) -> None:
    """Terminate: everything under way is aborted, inner nodes before their parents."""
    walk.end(ExecutionPhase.ABORTED, None, USER_ABORT)


def _quarantine(walk: Walk, event: Quarantine) -> None:
    """The engine gives the execution up."""
    walk.end(ExecutionPhase.FAILED, event.failure, AUTO_ABORT)


_HANDLERS: dict[type[Event], Callable[[Walk, Event], None]] = cast(
    "dict[type[Event], Callable[[Walk, Event], None]]",
    {
        Begin: _begin,
        Prepared: _prepared,
        PrepareFailed: _prepare_failed,
        ArrayOpened: _answered,
        Gathered: _answered,
        Recalled: _recalled,
        ElementsRecalled: _answered,
        LookedUp: _of_cache,
        ElementsLookedUp: _of_cache,
        Kept: _of_cache,
        Reserved: _of_cache,
        ReservationHeld: _of_cache,
        TaskStarted: _of_attempt,
        TaskSucceeded: _of_attempt,
        TaskBecameDynamic: _of_attempt,
        TaskFailed: _of_attempt,
        TimerFired: _timer_fired,
        ChildStarted: _of_child,
        ChildEnded: _of_child,
        SignalReceived: _signal_received,
        Continue: _continue,
        AbortRequested: _abort_requested,
        Quarantine: _quarantine,
    },
)
