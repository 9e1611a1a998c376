"""The engine: one process that drives every execution of the shards it owns.

It takes executions up (`intake`), feeds events to the pure core (`apply`), submits the returned rows to the journal and
carries out commands once those are durable (`dispatch`). Everything runs on one event loop, so a step is atomic; a
fault in one execution fails that execution and nothing else. When the lease is lost, `run` raises LeaseLostError and
the process ends: what was not committed never happened, and the next owner rebuilds from the rows.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, get_args

import structlog
from prometheus_client import Counter, Gauge

from wingbeat_propeller.core.caching import CacheMode
from wingbeat_propeller.core.effects import (
    Abort,
    AbortChild,
    AwaitSignal,
    Effects,
    Gather,
    Keep,
    Launch,
    LaunchChild,
    LookUp,
    LookUpElements,
    OpenArray,
    Read,
    Recall,
    RecallElements,
    Reserve,
    SetTimer,
    Unreserve,
)
from wingbeat_propeller.core.events import (
    AbortRequested,
    ArrayOpened,
    Continue,
    Event,
    Gathered,
    Prepared,
    PrepareFailed,
    Quarantine,
    TimerFired,
    TimerKind,
)
from wingbeat_propeller.core.folders import RAW_DATA_FOLDER
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.core.retry import RetryPolicy
from wingbeat_propeller.core.rows import ExecutionRow, Transition
from wingbeat_propeller.core.state import ELEMENTS_MAX, ExecutionState, Settings
from wingbeat_propeller.core.step import step
from wingbeat_propeller.engine.admission import Admission
from wingbeat_propeller.engine.alone import NoSources
from wingbeat_propeller.engine.answering import ServerTls, answer_servers
from wingbeat_propeller.engine.arrays import gather, open_array
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError
from wingbeat_propeller.engine.cache_keeper import CacheKeeper
from wingbeat_propeller.engine.child_keeper import ChildKeeper
from wingbeat_propeller.engine.dispatch.dispatcher import Dispatcher
from wingbeat_propeller.engine.dynamics import DynamicPlan, Dynamics
from wingbeat_propeller.engine.explainer import Explainer
from wingbeat_propeller.engine.intake import Intake, IntakeOptions
from wingbeat_propeller.engine.lease_keeper import LeaseKeeper
from wingbeat_propeller.engine.live import AttemptKey, LiveExecution, LiveExecutions
from wingbeat_propeller.engine.loop_metrics import LoopCounter, LoopHistogram
from wingbeat_propeller.engine.origins import made_reuse
from wingbeat_propeller.engine.plans import PlanCache
from wingbeat_propeller.engine.preparation import APART_AT_ONCE, PreparationFailedError, prepare
from wingbeat_propeller.engine.reservation_keeper import HEARTBEAT_S, ReservationKeeper
from wingbeat_propeller.engine.signal_keeper import SignalKeeper
from wingbeat_propeller.engine.slot_keeper import SlotKeeper
from wingbeat_propeller.engine.source_reader import SourceReader
from wingbeat_propeller.engine.sweeper import Sweeper
from wingbeat_propeller.engine.timer_wheel import TimerWheel
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.ports.cache import Cache
from wingbeat_propeller.ports.children import Children
from wingbeat_propeller.ports.executions import ExecutionStore
from wingbeat_propeller.ports.journal import Journal, Leases
from wingbeat_propeller.ports.lines import Lines
from wingbeat_propeller.ports.runtime import Lanes, Places, Runtime
from wingbeat_propeller.ports.signals import Signals
from wingbeat_propeller.ports.slots import Slots
from wingbeat_propeller.ports.sources import Sources
from wingbeat_propeller.tasks.registry import TaskPlugins
from wingbeatidl.engine.v1 import engine_pb2

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

ELEMENTS_MIN = 64
"""So many attempts of elements of one array may wait for the runtime, however little room it has."""
_RETRY_S = 0.2
PREPARING_MAX = 16
"""Preparations with large values at once; each may hold a whole LiteralMap in memory."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """`name` is shown to people. Times in seconds."""

    name: str
    lease_s: float = 6.0
    poll_s: float = 2.0
    """How often to look for work whose notification was lost."""
    live_max: int = 20_000
    """Executions in memory; more wait in the database."""
    tenant_live_min: int = 100
    """Executions of one tenant that are taken up although `live_max` is reached by others."""
    backlog_max: int = 5_000
    """Effects waiting for the journal above which no new execution is taken up."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    answer_host: str = ""
    """Where questions of the servers are answered, on a free port; empty: nowhere."""
    answer_tls: ServerTls | None = None
    """None: they are answered in the clear."""
    cache_heartbeat_s: float = HEARTBEAT_S
    """How often reservations in the cache are extended; those of an engine that is gone lapse after three times this,
    unless whoever takes its executions up goes on with them."""
    sweep_s: float = 30.0
    """How often the runtime is searched for attempts that nobody waits for."""


class Engine:
    """See the module. Build one per term: `journal` makes the journal once the term is known. Without `lines` nothing
    that waits is let go by this process."""

    def __init__(
        self,
        options: EngineOptions,
        *,
        leases: Leases,
        journal: Callable[[int, Callable[[Effects, Exception], None]], Journal],
        store: ExecutionStore,
        blobs: Blobs,
        runtime: Runtime,
        plugins: TaskPlugins,
        signals: Signals,
        children: Children,
        lines: Lines | None = None,
        slots: Slots | None = None,
        places: Places | None = None,
        lanes: Lanes | None = None,
        services: Sequence[Callable[[ModuleType], Any]] = (),
        sources: Sources | None = None,
        cache: Cache | None = None,
        clock: Callable[[], float] = time.time,
        on_durable: Callable[[float], None] | None = None,
    ) -> None:
        self._options = options
        self._leases = leases
        self._make_journal = journal
        self._store = store
        self._blobs = blobs
        self._runtime = runtime
        self._lines = lines
        self._slots = slots
        """None: no tenant has a limit or a weight."""
        self._services = services
        """What is served beside answers to questions: each makes its gRPC handler, given the module `grpc`."""
        self._clock = clock
        self._on_durable = on_durable
        """Called with the seconds each batch of effects took to become durable; for measurements."""
        self._settings = Settings(
            base_uri=f"{blobs.base}/metadata/propeller",
            retry=options.retry,
            # Twice of what there is room for: the next are at hand, and others of the tenant are not far behind.
            element_attempts_max=min(max(ELEMENTS_MIN, 2 * runtime.capacity), ELEMENTS_MAX),
            cache=CacheMode.OFF if cache is None else CacheMode.USE,
        )
        self.live = LiveExecutions()
        self._cache_keeper: CacheKeeper | None = None
        self._reservations: ReservationKeeper | None = None
        if cache is not None:
            self._cache_keeper = CacheKeeper(cache, blobs, apply=self.apply, is_live=self._drives, clock=clock)
            self._reservations = ReservationKeeper(
                cache,
                blobs,
                apply=self.apply,
                is_live=self._drives,
                clock=clock,
                heartbeat_s=options.cache_heartbeat_s,
            )
        self._dynamics = Dynamics(blobs, store)
        self._slot_keeper = SlotKeeper(slots, poll_s=options.poll_s)
        self._sources = sources or NoSources()
        self._source_reader = SourceReader(
            self._sources,
            blobs,
            self._dynamics,
            raw_output_prefix=f"{blobs.base}/{RAW_DATA_FOLDER}",
            apply=self.apply,
            is_live=self._drives,
            clock=clock,
        )
        self._dispatcher = Dispatcher(
            runtime=runtime,
            plugins=plugins,
            blobs=blobs,
            compile_dynamic=self._compile_dynamic,
            raw_output_prefix=f"{blobs.base}/{RAW_DATA_FOLDER}",
            apply=self.apply,
            clock=clock,
            trusted=lambda: self._keeper is not None and self._keeper.trusted,
            slots=self._slot_keeper,
            places=places,
            lanes=lanes,
            left_by_element=self._source_reader.left_by_element,
        )
        self._signals = SignalKeeper(signals, apply=self.apply, clock=clock)
        self._children = ChildKeeper(children, blobs, apply=self.apply, clock=clock)
        self._timers: TimerWheel[tuple[AttemptKey, int]] = TimerWheel(self._on_timers, clock)
        self._preparing = asyncio.Semaphore(PREPARING_MAX)
        self._looking_apart = asyncio.Semaphore(APART_AT_ONCE)
        self._unfinished: deque[LiveExecution] = deque()
        self._more = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._journal: Journal | None = None
        self._keeper: LeaseKeeper | None = None
        self._admission: Admission | None = None
        self._intake: Intake | None = None

    async def run(self) -> None:
        """Drive executions until cancelled; a cancel makes durable what was decided and gives the shards up.

        Raises LeaseLostError (in an ExceptionGroup) when another process may own the shards.
        """
        options = self._options
        intake = self._intake = Intake(
            IntakeOptions(
                poll_s=options.poll_s,
                live_max=options.live_max,
                tenant_live_min=options.tenant_live_min,
                backlog_max=options.backlog_max,
            ),
            store=self._store,
            sources=self._sources,
            live=self.live,
            plans=PlanCache(self._store.workflow_closure),
            dynamics=self._dynamics,
            settings=self._settings,
            sink=self,
            clock=self._clock,
        )
        if self._lines is not None:
            self._admission = Admission(self._lines, poll_s=options.poll_s, wake_intake=lambda: intake.wake("new"))
        sweeper = Sweeper(runtime=self._runtime, store=self._store, interval_s=options.sweep_s)
        term = await self._leases.join(options.name, options.lease_s)
        if self._slots is not None:
            await self._slots.open(term)
        keeper = self._keeper = LeaseKeeper(
            self._leases, term=term, lease_s=options.lease_s, acquired=intake.acquired, release=intake.released
        )
        journal = self._journal = self._make_journal(term, self._rejected)

        def wake(reason: str, payload: str) -> None:
            match reason:
                case "shards":
                    keeper.wake()
                case "shares" | "slots":
                    self._slot_keeper.wake(reason)
                case "signal":
                    self._signals.wake(payload)
                case "child":
                    self._children.wake(payload)
                case "queue":
                    if self._admission is not None:
                        self._admission.wake()
                case _:
                    intake.wake(reason, payload)

        _log.info("engine started", name=options.name, term=term)
        writer = asyncio.create_task(journal.run(), name="journal")
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(_follow(writer), name="follow journal")
                tasks.create_task(self._runtime.run(), name="runtime")
                tasks.create_task(self._slot_keeper.run(), name="slot keeper")
                tasks.create_task(self._dispatcher.run(), name="dispatcher")
                tasks.create_task(self._timers.run(), name="timers")
                tasks.create_task(self._go_on(), name="unfinished steps")
                tasks.create_task(intake.run(), name="intake")
                tasks.create_task(self._store.listen(wake), name="listen")
                tasks.create_task(keeper.run(), name="lease keeper")
                tasks.create_task(sweeper.run(), name="sweeper")
                tasks.create_task(self._signals.run(), name="signals")
                tasks.create_task(self._children.run(), name="children")
                tasks.create_task(self._source_reader.run(), name="source reader")
                if self._cache_keeper is not None and self._reservations is not None:
                    tasks.create_task(self._cache_keeper.run(), name="cache")
                    tasks.create_task(self._reservations.run(), name="reservations")
                if self._admission is not None:
                    tasks.create_task(self._admission.run(), name="admission")
                if options.answer_host:
                    announce = partial(self._leases.announce, term)
                    answering = answer_servers(
                        self.explain,
                        host=options.answer_host,
                        announce=announce,
                        services=self._services,
                        tls=options.answer_tls,
                    )
                    tasks.create_task(answering, name="answer servers")
        finally:
            self._tasks = None
            writer.cancel()
            try:
                await _until_done(writer)
            finally:
                await self._leases.leave(term)
            _log.info("engine stopped", name=options.name, term=term)

    def explain(self, request: engine_pb2.ExplainRequest) -> engine_pb2.ExplainResponse:
        """Why an execution, or nodes of it, do not go on, as far as this process knows."""
        assert self._intake is not None, "the engine runs"
        explainer = Explainer(
            name=self._options.name,
            live=self.live,
            whereabouts=self._dispatcher.whereabouts,
            condition=self._intake.condition,
            clock=self._clock,
        )
        return explainer.explain(request)

    # ---- what intake, dispatcher and timers call ----

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

    def perform(self, live: LiveExecution, effects: Effects) -> None:
        """Carry out what a step asked for, in its order: reads and timers now, commands once the rows are durable."""
        for request in effects.reads:
            if isinstance(request, Recall | RecallElements):
                self._source_reader.ask(live, request)
            elif isinstance(request, LookUp | LookUpElements | Keep):
                assert self._cache_keeper is not None, "without a cache nothing is asked of it"
                self._cache_keeper.ask(live, request)
            else:
                self._prepare(live, request)
        for timer in effects.timers:
            self._set_timer(live, timer)
        late = [command for command in effects.commands if isinstance(command, Launch) and command.is_repeat]
        if adopted := [*effects.adopt, *late]:
            self._slot_keeper.taken_over(live.tenant, live.state.key, [launch.name for launch in adopted])
        if live.is_taken_over:
            aborted = [command.name for command in effects.commands if isinstance(command, Abort)]
            self._slot_keeper.inherited(live.tenant, live.state.key, [*effects.ended, *aborted])
        if effects.writes or effects.commands:  # commands alone wait for the rows of earlier steps
            began = time.perf_counter()
            self._slot_keeper.submit(self.journal, effects, lambda done: self._committed(live, done, began))
        else:
            self._command(live, effects)

    async def adopt(self, attempts: Sequence[tuple[LiveExecution, Launch]]) -> None:
        """Attempts under way before a restart; an execution among them may have ended by its deadline meanwhile."""
        await self._dispatcher.adopt([(live, launch) for live, launch in attempts if not live.state.ended])

    def drop(self, live: LiveExecution) -> None:
        """The execution has ended, or belongs to another process from now on."""
        self._dispatcher.drop(live)
        self._signals.drop(live)
        self._children.drop(live)
        if self._reservations is not None:
            self._reservations.drop(live)
        for key in live.timers:
            self._timers.cancel(key)
        self.live.remove(live)
        _LIVE.set(len(self.live))

    async def settled(self, dropped: Sequence[LiveExecution]) -> None:
        """Nothing is done any more for these executions."""
        await self._dispatcher.settled(dropped)
        await self._slot_keeper.settled()

    @property
    def queued(self) -> int:
        """Attempts waiting for the runtime."""
        return self._dispatcher.queued

    async def _go_on(self) -> None:
        """Step on with executions that have more ready nodes than one step starts, in turns with everything else."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._unfinished:
                live = self._unfinished.popleft()
                if self.live.get(live.state.key) is live:
                    self.apply(live, Continue(self._clock()))
                await asyncio.sleep(0)

    # ---- after the commit ----

    def _committed(self, live: LiveExecution, effects: Effects, began: float) -> None:
        took = time.perf_counter() - began
        _COMMIT_LATENCY.observe(took)
        if self._on_durable is not None:
            self._on_durable(took)
        self.live.undurable.discard(live.state.key)
        if self.live.get(live.state.key) is live:
            self._command(live, effects)

    def _command(self, live: LiveExecution, effects: Effects) -> None:
        if effects.unfinished:  # only now, so that the rows of one execution never fill the journal
            self._unfinished.append(live)
            self._more.set()
        repeats: list[Launch] = []
        for command in effects.commands:
            match command:
                case Launch() if command.is_repeat:
                    repeats.append(command)
                case Launch():
                    self._dispatcher.launch(live, command)
                case Abort():
                    self._dispatcher.abort(live, command.name)
                case LaunchChild():
                    self._children.launch(live, command)
                case AbortChild():
                    self._children.abort(live, command)
                case AwaitSignal():
                    self._signals.wait(live, command)
                case Reserve() | Unreserve():
                    self._reserve(live, command)
        if repeats:
            expected = self._dispatcher.expect([(live, launch) for launch in repeats])
            self._begin(self._find(live, expected), "adopt")
        if effects.ended:
            self._dispatcher.forget(effects.ended)
        row = effects.execution_row
        if row is not None and row.ended_at is not None:
            _ENDED.labels(ExecutionPhase(row.phase).name).inc()
            self.drop(live)
            self.ended(live.launch_plan_id)

    def _reserve(self, live: LiveExecution, command: Reserve | Unreserve) -> None:
        assert self._reservations is not None, "without a cache nothing is reserved"
        if isinstance(command, Reserve):
            self._reservations.reserve(live, command)
        else:
            self._reservations.let_go(live, command)

    def _drives(self, live: LiveExecution) -> bool:
        """Whether an execution is still driven here."""
        return self.live.get(live.state.key) is live

    def ended(self, launch_plan_id: int | None) -> None:
        """An execution of this launch plan has ended, durably; others may wait for that."""
        if self._admission is not None:
            self._admission.ended(launch_plan_id)

    def _rejected(self, effects: Effects, error: Exception) -> None:
        """The database refuses these rows for their own sake: the execution ends with that reason."""
        live = self.live.get(effects.execution)
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

    # ---- reads and timers ----

    def _prepare(self, live: LiveExecution, request: Read) -> None:
        self._begin(self._run_preparation(live, request), "prepare")

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do something for an execution beside everything else. Not when the engine stops, while its last rows are
        written: whoever takes the execution up comes to the same place again."""
        try:
            if self._tasks is None:
                work.close()
            else:
                self._tasks.create_task(work, name=name)
        except RuntimeError:  # the group is shutting down
            work.close()

    async def _find(self, live: LiveExecution, expected: Sequence[tuple[LiveExecution, Launch]]) -> None:
        """Attempts that may have been under way before a restart, of which the inputs had to be read first."""
        while self.live.get(live.state.key) is live:
            try:
                await self._dispatcher.find(expected)
            except OSError as error:
                _log.warning("attempts not taken up, trying again", execution=live.state.name, error=str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                return

    async def _run_preparation(self, live: LiveExecution, request: Read) -> None:
        async with self._preparing:
            try:
                event = await self._answer(request)
            except PreparationFailedError as error:
                event = PrepareFailed(self._clock(), request.ref, error.failure)
        if self.live.get(live.state.key) is live:
            self.apply(live, event)

    async def _answer(self, request: Read) -> Event:
        """Raises PreparationFailedError."""
        match request:
            case OpenArray():
                inputs = await open_array(self._blobs, request)
                return ArrayOpened(self._clock(), request.ref, inputs)
            case Gather():
                collections, serialized = await gather(self._blobs, request)
                return Gathered(self._clock(), request.ref, collections, serialized)
            case _:
                values = await prepare(self._blobs, request, self._looking_apart)
                return Prepared(self._clock(), request.ref, values)

    async def _compile_dynamic(self, state: ExecutionState, launch: Launch) -> DynamicPlan | Failure:
        """The workflow that a task has made, and what of it may be taken over if the execution recovers another one."""
        made = await self._dynamics.compile(state, launch)
        live = self.live.get(state.key)
        if live is None or isinstance(made, Failure):
            return made
        try:
            reuse = await made_reuse(
                self._dynamics, live.source, launch.node_id, launch.inherited, made.plan, made.futures_uri
            )
        except BlobStoreFailedError as error:
            _log.warning("nothing inside of a dynamic node is reused", node=launch.node_id, error=str(error))
            return made
        return made._replace(reuse=reuse)

    def _set_timer(self, live: LiveExecution, timer: SetTimer) -> None:
        key = (AttemptKey(live.state.key, timer.ref), timer.kind)
        live.timers.add(key)
        self._timers.set(key, timer.at)

    def _on_timers(self, due: Sequence[tuple[AttemptKey, int]]) -> None:
        for key, kind in due:
            live = self.live.get(ExecutionKey(key.execution))
            if live is not None:
                self.apply(live, TimerFired(self._clock(), key.ref, TimerKind(kind)))

    @property
    def journal(self) -> Journal:
        """Where rows go; exists while the engine runs."""
        assert self._journal is not None, "the engine runs"
        return self._journal

    def abort(self, live: LiveExecution, cause: str) -> None:
        """Somebody asked to terminate the execution."""
        self.apply(live, AbortRequested(self._clock(), cause))


async def _until_done(task: "asyncio.Task[None]") -> None:
    """Wait for a task that was told to end and does so in bounded time.

    A cancel meanwhile is raised afterwards: it may be a task group's own, when one of its tasks failed in the moment in
    which the group was cancelled from outside.
    """
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


async def _follow(task: "asyncio.Task[None]") -> None:
    """End with the journal's error, so that the engine stops when it can no longer write."""
    await asyncio.shield(task)
