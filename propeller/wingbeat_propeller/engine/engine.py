"""The engine: one process that drives every execution of the shards it owns.

It is made of parts that live side by side on one event loop: executions are taken up (`intake`) and driven (`driver`),
attempts go to the runtime (`dispatch`), keepers look after what is outside of the process. This module puts them
together, starts and stops them. When the lease is lost, `run` raises LeaseLostError and the process ends: what was not
committed never happened, and the next owner rebuilds from the rows.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias

import structlog

from wingbeat_propeller.core.caching import CacheMode
from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.folders import RAW_DATA_FOLDER
from wingbeat_propeller.core.state import ELEMENTS_MAX, Settings
from wingbeat_propeller.engine.admission import Admission
from wingbeat_propeller.engine.alone import NoSources
from wingbeat_propeller.engine.answering import answer_servers
from wingbeat_propeller.engine.cache_keeper import CacheKeeper
from wingbeat_propeller.engine.child_keeper import ChildKeeper
from wingbeat_propeller.engine.dispatch.dispatcher import Dispatcher
from wingbeat_propeller.engine.driver import Driver, Hands
from wingbeat_propeller.engine.dynamics import Dynamics
from wingbeat_propeller.engine.errands import Errands
from wingbeat_propeller.engine.explainer import Explainer
from wingbeat_propeller.engine.intake import Intake, IntakeOptions
from wingbeat_propeller.engine.lease_keeper import LeaseKeeper
from wingbeat_propeller.engine.live import LiveExecutions
from wingbeat_propeller.engine.options import EngineOptions
from wingbeat_propeller.engine.origins import compile_made
from wingbeat_propeller.engine.plans import PlanCache
from wingbeat_propeller.engine.reservation_keeper import ReservationKeeper
from wingbeat_propeller.engine.signal_keeper import SignalKeeper
from wingbeat_propeller.engine.slot_keeper import SlotKeeper
from wingbeat_propeller.engine.source_reader import SourceReader
from wingbeat_propeller.engine.sweeper import Sweeper
from wingbeat_propeller.engine.uptake import Uptake
from wingbeat_propeller.engine.value_reader import ValueReader
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

ELEMENTS_MIN = 64
"""So many attempts of elements of one array may wait for the runtime, however little room it has."""

Part: TypeAlias = tuple[str, Coroutine[Any, Any, None]]
"""What lives as long as the engine, and the name of its task."""


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
        """Without `slots` no tenant has a limit or a weight. `services` is what is served beside answers to questions:
        each makes its gRPC handler, given the module `grpc`. `on_durable`: see Driver."""
        self._options = options
        self._leases = leases
        self._make_journal = journal
        self._store = store
        self._runtime = runtime
        self._lines = lines
        self._slots = slots
        self._services = services
        self._clock = clock
        self.live = LiveExecutions()
        self._errands = Errands()
        self._sources = sources or NoSources()
        self._dynamics = Dynamics(blobs, store)
        self._settings = Settings(
            base_uri=f"{blobs.base}/metadata/propeller",
            retry=options.retry,
            # Twice of what there is room for: the next are at hand, and others of the tenant are not far behind.
            element_attempts_max=min(max(ELEMENTS_MIN, 2 * runtime.capacity), ELEMENTS_MAX),
            cache=CacheMode.OFF if cache is None else CacheMode.USE,
        )
        self._driver = driver = Driver(self.live, self._errands, clock=clock, ended=self._ended, on_durable=on_durable)
        raw_output_prefix = f"{blobs.base}/{RAW_DATA_FOLDER}"
        source_reader = SourceReader(
            self._sources,
            blobs,
            self._dynamics,
            raw_output_prefix=raw_output_prefix,
            apply=driver.apply,
            is_live=self.live.drives,
            clock=clock,
        )
        slot_keeper = SlotKeeper(slots, poll_s=options.poll_s)
        dispatcher = Dispatcher(
            runtime=runtime,
            plugins=plugins,
            blobs=blobs,
            compile_dynamic=partial(compile_made, self._dynamics),
            raw_output_prefix=raw_output_prefix,
            apply=driver.apply,
            clock=clock,
            trusted=lambda: self._keeper is not None and self._keeper.trusted,
            slots=slot_keeper,
            places=places,
            lanes=lanes,
            left_by_element=source_reader.left_by_element,
        )
        cache_keeper: CacheKeeper | None = None
        reservations: ReservationKeeper | None = None
        if cache is not None:
            cache_keeper = CacheKeeper(cache, blobs, apply=driver.apply, is_live=self.live.drives, clock=clock)
            reservations = ReservationKeeper(
                cache,
                blobs,
                apply=driver.apply,
                is_live=self.live.drives,
                clock=clock,
                heartbeat_s=options.cache_heartbeat_s,
            )
        self._hands = driver.hands = Hands(
            slots=slot_keeper,
            dispatcher=dispatcher,
            signals=SignalKeeper(signals, apply=driver.apply, clock=clock),
            children=ChildKeeper(children, blobs, apply=driver.apply, clock=clock),
            values=ValueReader(blobs, self._errands, apply=driver.apply, is_live=self.live.drives, clock=clock),
            sources=source_reader,
            cache=cache_keeper,
            reservations=reservations,
        )
        self._keeper: LeaseKeeper | None = None
        self._admission: Admission | None = None
        self._intake: Intake | None = None

    async def run(self) -> None:
        """Drive executions until cancelled; a cancel makes durable what was decided and gives the shards up.

        Raises LeaseLostError (in an ExceptionGroup) when another process may own the shards.
        """
        options = self._options
        intake = self._intake = self._make_intake()
        if self._lines is not None:
            self._admission = Admission(self._lines, poll_s=options.poll_s, wake_intake=lambda: intake.wake("new"))
        term = await self._leases.join(options.name, options.lease_s)
        if self._slots is not None:
            await self._slots.open(term)
        self._keeper = LeaseKeeper(
            self._leases, term=term, lease_s=options.lease_s, acquired=intake.acquired, release=intake.released
        )
        journal = self._driver.journal = self._make_journal(term, self._driver.rejected)
        _log.info("engine started", name=options.name, term=term)
        writer = asyncio.create_task(journal.run(), name="journal")
        try:
            async with asyncio.TaskGroup() as tasks:
                self._errands.tasks = tasks
                tasks.create_task(_follow(writer), name="follow journal")
                for name, part in self._parts(term, intake, self._keeper):
                    tasks.create_task(part, name=name)
        finally:
            self._errands.tasks = None
            writer.cancel()
            try:
                await _until_done(writer)
            finally:
                await self._leave(term)
            _log.info("engine stopped", name=options.name, term=term)

    async def _leave(self, term: int) -> None:
        try:
            await self._leases.leave(term)
        except OSError as error:
            _log.warning("the shards are free once their leases lapse", term=term, error=repr(error))

    def explain(self, request: engine_pb2.ExplainRequest) -> engine_pb2.ExplainResponse:
        """Why an execution, or nodes of it, do not go on, as far as this process knows."""
        assert self._intake is not None, "the engine runs"
        explainer = Explainer(
            name=self._options.name,
            live=self.live,
            whereabouts=self._hands.dispatcher.whereabouts,
            condition=self._intake.condition,
            clock=self._clock,
        )
        return explainer.explain(request)

    @property
    def queued(self) -> int:
        """Attempts waiting for the runtime."""
        return self._hands.dispatcher.queued

    def _make_intake(self) -> Intake:
        options = self._options
        uptake = Uptake(
            sources=self._sources,
            live=self.live,
            plans=PlanCache(self._store.workflow_closure),
            dynamics=self._dynamics,
            settings=self._settings,
            sink=self._driver,
            clock=self._clock,
        )
        return Intake(
            IntakeOptions(
                poll_s=options.poll_s,
                live_max=options.live_max,
                tenant_live_min=options.tenant_live_min,
                backlog_max=options.backlog_max,
            ),
            store=self._store,
            live=self.live,
            uptake=uptake,
            sink=self._driver,
        )

    def _parts(self, term: int, intake: Intake, keeper: LeaseKeeper) -> Iterator[Part]:
        hands, options = self._hands, self._options
        yield "runtime", self._runtime.run()
        yield "slot keeper", hands.slots.run()
        yield "dispatcher", hands.dispatcher.run()
        yield "driver", self._driver.run()
        yield "intake", intake.run()
        yield "listen", self._store.listen(partial(self._woken, intake, keeper))
        yield "lease keeper", keeper.run()
        yield "sweeper", Sweeper(runtime=self._runtime, store=self._store, interval_s=options.sweep_s).run()
        yield "signals", hands.signals.run()
        yield "children", hands.children.run()
        yield "source reader", hands.sources.run()
        if hands.cache is not None and hands.reservations is not None:
            yield "cache", hands.cache.run()
            yield "reservations", hands.reservations.run()
        if self._admission is not None:
            yield "admission", self._admission.run()
        if options.answer_host:
            answering = answer_servers(
                self.explain,
                host=options.answer_host,
                announce=partial(self._leases.announce, term),
                services=self._services,
                tls=options.answer_tls,
            )
            yield "answer servers", answering

    def _woken(self, intake: Intake, keeper: LeaseKeeper, reason: str, payload: str) -> None:
        """The database has notified; who it concerns looks what there is."""
        match reason:
            case "shards":
                keeper.wake()
            case "shares" | "slots":
                self._hands.slots.wake(reason)
            case "signal":
                self._hands.signals.wake(payload)
            case "child":
                self._hands.children.wake(payload)
            case "queue":
                if self._admission is not None:
                    self._admission.wake()
            case _:
                intake.wake(reason, payload)

    def _ended(self, launch_plan_id: int | None) -> None:
        """An execution of this launch plan has ended, durably; others may wait for that."""
        if self._admission is not None:
            self._admission.ended(launch_plan_id)


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
