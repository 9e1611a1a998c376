"""Driving executions: an event goes into the pure core, and what comes out is carried out.

Rows go to the journal. Reads and timers begin at once, commands leave when the rows are durable; who carries them out
is in `Hands`, and what comes of them is the next event. All of it is called on one event loop, so a step is atomic; a
fault in one execution fails that execution and nothing else.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import structlog
from prometheus_client import Counter, Gauge

from wingbeat_propeller.core.effects import (
    Abort,
    AbortChild,
    AwaitSignal,
    Effects,
    Keep,
    Launch,
    LaunchChild,
    LookUp,
    LookUpElements,
    Recall,
    RecallElements,
    Reserve,
    SetTimer,
    Unreserve,
)
from wingbeat_propeller.core.events import AbortRequested, Continue, Event, Quarantine, TimerFired, TimerKind
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.core.rows import ExecutionRow, Transition
from wingbeat_propeller.core.step import step
from wingbeat_propeller.engine.cache_keeper import CacheKeeper
from wingbeat_propeller.engine.child_keeper import ChildKeeper
from wingbeat_propeller.engine.dispatch.dispatcher import Dispatcher
from wingbeat_propeller.engine.errands import Errands
from wingbeat_propeller.engine.live import AttemptKey, LiveExecution, LiveExecutions
from wingbeat_propeller.engine.loop_metrics import LoopCounter, LoopHistogram
from wingbeat_propeller.engine.reservation_keeper import ReservationKeeper
from wingbeat_propeller.engine.signal_keeper import SignalKeeper
from wingbeat_propeller.engine.slot_keeper import SlotKeeper
from wingbeat_propeller.engine.source_reader import SourceReader
from wingbeat_propeller.engine.timer_wheel import TimerWheel
from wingbeat_propeller.engine.value_reader import ValueReader
from wingbeat_propeller.ports.journal import Journal

_log = structlog.get_logger(__name__)
_STEPS = LoopCounter(
    "wingbeat_steps", "Events applied to executions", "event", [kind.__name__ for kind in get_args(Event)]
)
_LIVE = Gauge("wingbeat_live_executions", "Executions in memory")
_ENDED = Counter("wingbeat_ended_executions", "Executions ended", ["phase"])
_COMMIT_LATENCY = LoopHistogram(
    "wingbeat_transition_seconds",
    "From an event to its rows being durable",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
_RETRY_S = 0.2


@dataclass(frozen=True, slots=True)
class Hands:
    """Who carries out what steps ask for."""

    slots: SlotKeeper
    """Stands before the journal."""
    dispatcher: Dispatcher
    signals: SignalKeeper
    children: ChildKeeper
    values: ValueReader
    sources: SourceReader
    cache: CacheKeeper | None
    """None, as `reservations`: nothing is cached, and steps ask for neither."""
    reservations: ReservationKeeper | None


class Driver:
    """See the module; satisfies `intake.Sink`. Life: `run` beside its hands."""

    hands: Hands
    """Given before the first event, since they call the driver in turn."""
    journal: Journal
    """Where rows go; given when the term is known."""

    def __init__(
        self,
        live: LiveExecutions,
        errands: Errands,
        *,
        clock: Callable[[], float],
        ended: Callable[[int | None], None],
        on_durable: Callable[[float], None] | None = None,
    ) -> None:
        """`ended` is told the launch plan of each execution that has ended, durably; `on_durable` the seconds that each
        batch of effects took to become durable, for measurements."""
        self._live = live
        self._errands = errands
        self._clock = clock
        self._on_durable = on_durable
        self._timers: TimerWheel[tuple[AttemptKey, int]] = TimerWheel(self._on_timers, clock)
        self._unfinished: deque[LiveExecution] = deque()
        self._more = asyncio.Event()
        self._tell_ended = ended

    async def run(self) -> None:
        """Let timers fire, and go on with executions that have more ready nodes than one step starts, in turns with
        everything else."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._timers.run(), name="timers")
            while True:
                await self._more.wait()
                self._more.clear()
                while self._unfinished:
                    live = self._unfinished.popleft()
                    if self._live.drives(live):
                        self.apply(live, Continue(self._clock()))
                    await asyncio.sleep(0)

    # ---- events in ----

    def apply(self, live: LiveExecution, event: Event) -> None:
        """One step of one execution. An error of the core's own fails the execution, never the engine."""
        try:
            effects = step(live.state, event)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong inside one execution stays there
            _log.exception("execution quarantined", execution=live.state.name, event_type=type(event).__name__)
            text = f"the engine cannot drive this execution: {type(error).__name__}: {error}"
            self._give_up(live, text)
            return
        _STEPS.inc(type(event).__name__)
        self.perform(live, effects)

    def abort(self, live: LiveExecution, cause: str) -> None:
        """Somebody asked to terminate the execution."""
        self.apply(live, AbortRequested(self._clock(), cause))

    def rejected(self, effects: Effects, error: Exception) -> None:
        """The database refuses these rows for their own sake: the execution ends with that reason."""
        live = self._live.get(effects.execution)
        _log.error("rows refused, execution fails", execution=effects.execution, error=str(error))
        if live is None:
            return
        if live.is_last_word_said:
            # Not even its end can be stored: leave it as it is until somebody has mended the database.
            _log.critical("the end of an execution is refused, letting go of it", execution=live.state.name)
            self.drop(live)
        else:
            self._give_up(live, f"the database refuses to store the execution's progress: {error}")

    def _give_up(self, live: LiveExecution, reason: str) -> None:
        state = live.state
        failure = Failure(ErrorKind.SYSTEM, "EngineFault", reason)
        now = self._clock()
        try:
            effects = step(state, Quarantine(now, failure))
        except Exception:  # noqa: BLE001 - the state itself is broken: write the one row that must be written
            _log.exception("quarantine fell back to the execution's row", execution=state.name)
            effects = Effects(state.key)
        if effects.execution_row is None:
            live.is_last_word_said = True
            state.ended = True
            effects = Effects(state.key)
            effects.execution_row = ExecutionRow(
                state.key, ExecutionPhase.FAILED, now, state.started_at, ended_at=now, failure=failure
            )
            effects.transitions.append(Transition(state.key, None, 0, ExecutionPhase.FAILED, now))
        self.perform(live, effects)

    def _on_timers(self, due: Sequence[tuple[AttemptKey, int]]) -> None:
        for key, kind in due:
            live = self._live.get(ExecutionKey(key.execution))
            if live is not None:
                self.apply(live, TimerFired(self._clock(), key.ref, TimerKind(kind)))

    # ---- effects out ----

    def perform(self, live: LiveExecution, effects: Effects) -> None:
        """Carry out what a step asked for, in its order: reads and timers now, commands once the rows are durable."""
        hands = self.hands
        for request in effects.reads:
            if isinstance(request, Recall | RecallElements):
                hands.sources.ask(live, request)
            elif isinstance(request, LookUp | LookUpElements | Keep):
                assert hands.cache is not None, "without a cache nothing is asked of it"
                hands.cache.ask(live, request)
            else:
                hands.values.ask(live, request)
        for timer in effects.timers:
            self._set_timer(live, timer)
        late = [command for command in effects.commands if isinstance(command, Launch) and command.is_repeat]
        if adopted := [*effects.adopt, *late]:
            hands.slots.taken_over(live.tenant, live.state.key, [launch.name for launch in adopted])
        if live.is_taken_over:
            aborted = [command.name for command in effects.commands if isinstance(command, Abort)]
            hands.slots.inherited(live.tenant, live.state.key, [*effects.ended, *aborted])
        if effects.writes or effects.commands:  # commands alone wait for the rows of earlier steps
            began = time.perf_counter()
            hands.slots.submit(self.journal, effects, lambda done: self._committed(live, done, began))
        else:
            self._command(live, effects)

    def _committed(self, live: LiveExecution, effects: Effects, began: float) -> None:
        took = time.perf_counter() - began
        _COMMIT_LATENCY.observe(took)
        if self._on_durable is not None:
            self._on_durable(took)
        self._live.undurable.discard(live.state.key)
        if self._live.drives(live):
            self._command(live, effects)

    def _command(self, live: LiveExecution, effects: Effects) -> None:
        if effects.unfinished:  # only now, so that the rows of one execution never fill the journal
            self._unfinished.append(live)
            self._more.set()
        hands = self.hands
        repeats: list[Launch] = []
        for command in effects.commands:
            match command:
                case Launch() if command.is_repeat:
                    repeats.append(command)
                case Launch():
                    hands.dispatcher.launch(live, command)
                case Abort():
                    hands.dispatcher.abort(live, command.name)
                case LaunchChild():
                    hands.children.launch(live, command)
                case AbortChild():
                    hands.children.abort(live, command)
                case AwaitSignal():
                    hands.signals.wait(live, command)
                case Reserve() | Unreserve():
                    self._reserve(live, command)
        if repeats:
            expected = hands.dispatcher.expect([(live, launch) for launch in repeats])
            self._errands.begin(self._find(live, expected), "find attempts")
        if effects.ended:
            hands.dispatcher.forget(effects.ended)
        row = effects.execution_row
        if row is not None and row.ended_at is not None:
            _ENDED.labels(ExecutionPhase(row.phase).name).inc()
            self.drop(live)
            self.ended(live.launch_plan_id)

    def _set_timer(self, live: LiveExecution, timer: SetTimer) -> None:
        key = (AttemptKey(live.state.key, timer.ref), timer.kind)
        live.timers.add(key)
        self._timers.set(key, timer.at)

    def _reserve(self, live: LiveExecution, command: Reserve | Unreserve) -> None:
        reservations = self.hands.reservations
        assert reservations is not None, "without a cache nothing is reserved"
        if isinstance(command, Reserve):
            reservations.reserve(live, command)
        else:
            reservations.let_go(live, command)

    async def _find(self, live: LiveExecution, expected: Sequence[tuple[LiveExecution, Launch]]) -> None:
        """Attempts that may have been under way before a restart, of which the inputs had to be read first."""
        while self._live.drives(live):
            try:
                await self.hands.dispatcher.find(expected)
            except OSError as error:
                _log.warning("attempts not taken up, trying again", execution=live.state.name, error=str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                return

    # ---- taking over and letting go ----

    async def adopt(self, attempts: Sequence[tuple[LiveExecution, Launch]]) -> None:
        """Attempts under way before a restart; an execution among them may have ended by its deadline meanwhile."""
        await self.hands.dispatcher.adopt([(live, launch) for live, launch in attempts if not live.state.ended])

    def drop(self, live: LiveExecution) -> None:
        """The execution has ended, or belongs to another process from now on."""
        hands = self.hands
        hands.dispatcher.drop(live)
        hands.signals.drop(live)
        hands.children.drop(live)
        if hands.reservations is not None:
            hands.reservations.drop(live)
        for key in live.timers:
            self._timers.cancel(key)
        self._live.remove(live)
        _LIVE.set(len(self._live))

    def ended(self, launch_plan_id: int | None) -> None:
        """An execution of this launch plan has ended, durably; others may wait for that."""
        self._tell_ended(launch_plan_id)

    async def settled(self, dropped: Sequence[LiveExecution]) -> None:
        """Nothing is done any more for these executions."""
        await self.hands.dispatcher.settled(dropped)
        await self.hands.slots.settled()
