"""From durable launches to attempts under way, and from the runtime's events back to the core.

Launches wait in the fair queue until the runtime has room. One whose tenant has a limit then asks for a slot
(`slot_keeper`): it keeps its room until the answer, and without a slot goes back to its place in line. Starting one may
write blobs, so several are started at once; requests that need no files go to the runtime as one batch. An abort meets
its attempt wherever it is: in the queue, while it asks or starts, or in the runtime. Tasks that the engine carries out
itself go past all that (`engine_tasks`), and eager tasks have a line of their own (`eager_line`) and need no slot.
Attempts that workers run wait in lines of their own (`lane_lines`), take room there instead of here, and get their
inputs handed over, so they need no file. Called on one event loop; nothing here survives a crash, the rows do.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import structlog
from flyteidl.admin import task_execution_pb2
from flyteidl.core import execution_pb2
from flyteidl.event import event_pb2
from prometheus_client import Counter, Gauge

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.events import Event, TaskBecameDynamic, TaskFailed, TaskStarted, TaskSucceeded
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.reuse import inherited_checkpoint, inherited_elements
from wingbeat_propeller.core.state import ExecutionState
from wingbeat_propeller.core.values import MalformedLiteralMapError, split_literal_map
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError, riding_out
from wingbeat_propeller.engine.checkpoints import previous_checkpoint
from wingbeat_propeller.engine.dynamics import DynamicPlan
from wingbeat_propeller.engine.eager_line import EAGER_MAX, EagerLine
from wingbeat_propeller.engine.engine_tasks import EngineTasks
from wingbeat_propeller.engine.fair_queue import Turn
from wingbeat_propeller.engine.lane_lines import OWN, LaneLines
from wingbeat_propeller.engine.live import LiveExecution, Tenant
from wingbeat_propeller.engine.outcomes import IsDynamic, Outcome, announced_deck, collect, inline_bytes_max
from wingbeat_propeller.engine.requests import (
    SupersededError,
    build_context,
    load_inputs,
    remove_results,
    write_files,
)
from wingbeat_propeller.engine.shares import Scope
from wingbeat_propeller.engine.slot_keeper import SlotKeeper
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs
from wingbeat_propeller.ports.runtime import Ended, Lanes, LogLink, Places, Runtime, RuntimeEvent, Started
from wingbeat_propeller.ports.slots import SlotAsk
from wingbeat_propeller.ports.tasks import (
    AttemptOrigin,
    BadTaskError,
    ContainerRequest,
    InstantRequest,
    RuntimeRequest,
    TaskPlugin,
)
from wingbeat_propeller.tasks.container import wants_task_template
from wingbeat_propeller.tasks.registry import TaskPlugins

_log = structlog.get_logger(__name__)
_QUEUED = Gauge("wingbeat_queued_attempts", "Attempts waiting for the runtime to have room")
_UNDER_WAY = Gauge("wingbeat_attempts_under_way", "Attempts starting or running")
_AT_LIMIT = Gauge("wingbeat_attempts_at_limit", "Attempts waiting for their tenant to be below its limit")
_LAUNCHED = Counter("wingbeat_launched_attempts", "Attempts handed to the runtime")

STARTING_MAX = 64
"""Attempts whose files are written at once."""
PLACE_POLL_S = 0.05
"""How soon to look again whether another engine of the machine has left room."""
TRUST_POLL_S = 0.02
"""How soon to look again whether a lease in doubt was renewed."""
TURN = 128
"""Events or launches handled before other work gets its turn."""


class _Attempt(NamedTuple):
    live: LiveExecution
    launch: Launch
    is_repeat: bool = False
    """It may have been launched before, and the runtime has lost it."""

    @property
    def origin(self) -> AttemptOrigin:
        """Where it belongs."""
        state, launch = self.live.state, self.launch
        node_id = launch.array_id or launch.node_id
        return AttemptOrigin(state.project, state.domain, state.name, node_id, launch.ref.attempt, launch.ref.element)

    @property
    def ask(self) -> SlotAsk:
        """What it says when it asks for a slot."""
        project, domain = self.live.tenant
        launch = self.launch
        return SlotAsk(project, domain, self.live.state.key, launch.name, launch.node_id, launch.ref.attempt)


class Dispatcher:
    """Owner of every attempt that is durable and has not ended."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        plugins: TaskPlugins,
        blobs: Blobs,
        compile_dynamic: Callable[[ExecutionState, Launch], Awaitable[DynamicPlan | Failure]],
        raw_output_prefix: str,
        apply: Callable[[LiveExecution, Event], None],
        clock: Callable[[], float],
        trusted: Callable[[], bool] = lambda: True,
        slots: SlotKeeper | None = None,
        places: Places | None = None,
        lanes: Lanes | None = None,
        left_by_element: Callable[[LiveExecution, Launch], Awaitable[str]] | None = None,
    ) -> None:
        """`trusted` says whether the lease still holds; without it nothing is launched and no file is removed. `slots`
        knows the limits of tenants, `places` the room that engines of one machine share; without them there is none to
        keep to. `lanes` is the room that workers have. `left_by_element` finds the checkpoint that an element has left
        in an execution that is recovered, empty for none."""
        self._runtime = runtime
        self._plugins = plugins
        self._blobs = blobs
        self._compile_dynamic = compile_dynamic
        self._left_by_element = left_by_element
        self._raw_output_prefix = raw_output_prefix
        self._apply = apply
        self._clock = clock
        self._engine_tasks = EngineTasks(
            plugins=plugins, blobs=blobs, raw_output_prefix=raw_output_prefix, apply=apply, clock=clock
        )
        self._trusted = trusted
        self._slots = slots or SlotKeeper()
        self._places = places
        self._lanes = lanes
        self._queue: LaneLines[_Attempt] = LaneLines(weight=self._slots.weight, lanes=lanes, lane_of=self._lane_of)
        self._in_lanes: set[str] = set()
        """Of those under way, the ones that have room with workers; some have ended."""
        self._under_way: dict[str, _Attempt] = {}
        self._asked: dict[str, Turn[Tenant, str, _Attempt]] = {}
        """Those under way that ask for a slot, or have got it and start next."""
        self._admitted: deque[str] = deque()
        self._adopting: set[str] = set()
        """Those under way of which it is not known yet whether they are."""
        self._eager: EagerLine[_Attempt] = EagerLine(self._under_way)
        self._to_abort: list[str] = []
        self._to_forget: list[str] = []
        self._events: deque[RuntimeEvent] = deque()
        self._told = asyncio.Event()
        self._work = asyncio.Event()
        self._starting = asyncio.Semaphore(STARTING_MAX)
        self._starts: dict[asyncio.Task[None], _Attempt] = {}
        self._aborted: set[str] = set()
        """Names aborted while they are handed over: that abort may come before the launch."""
        self._running = False
        runtime.subscribe(self._on_events)
        self._slots.subscribe(self)
        if lanes is not None:
            lanes.subscribe(changed=self._lanes_changed, returned=self._on_returned)

    @property
    def queued(self) -> int:
        """Attempts waiting for room."""
        return len(self._queue) + len(self._eager)

    def launch(self, live: LiveExecution, launch: Launch) -> None:
        """Queue a durable launch; a name already here is ignored."""
        if launch.name in live.names:
            return
        live.names.add(launch.name)
        if self._engine_tasks.takes(launch):
            self._engine_tasks.launch(live, launch)
            return
        self._push(_Attempt(live, launch, launch.is_repeat))
        self._work.set()

    def abort(self, live: LiveExecution, name: str) -> None:
        """Stop an attempt; its runtime record goes too."""
        live.names.discard(name)
        if self._cancel(name) or self._engine_tasks.discard(name):
            return
        self._under_way.pop(name, None)
        self._asked.pop(name, None)
        self._free([name])
        if any(attempt.launch.name == name for attempt in self._starts.values()):
            self._aborted.add(name)
        self._to_abort.append(name)
        self._work.set()

    def forget(self, names: Sequence[str]) -> None:
        """The ends of these attempts are durable."""
        self._to_forget.extend(names)
        self._work.set()

    async def adopt(self, attempts: Sequence[tuple[LiveExecution, Launch]]) -> None:
        """Take up attempts that may have been under way before a restart: ask the runtime, launch what it lost."""
        await self.find(self.expect(attempts))

    def expect(self, attempts: Sequence[tuple[LiveExecution, Launch]]) -> Sequence[tuple[LiveExecution, Launch]]:
        """From now on these attempts count as under way, so that an abort meets them; returns those to `find`."""
        for live, launch in attempts:
            if self._engine_tasks.takes(launch):
                self.launch(live, launch)
        attempts = [(live, launch) for live, launch in attempts if not self._engine_tasks.takes(launch)]
        for live, launch in attempts:
            live.names.add(launch.name)
            self._under_way[launch.name] = _Attempt(live, launch)
            self._adopting.add(launch.name)
            if self._eager.takes(launch):
                self._eager.adopted(live, launch.name)
        return attempts

    async def find(self, attempts: Sequence[tuple[LiveExecution, Launch]]) -> None:
        """Ask the runtime for attempts that are expected there, and line up those that it has lost."""
        await self._slots.look_up(list({live.state.key for live, _ in attempts}))
        known = set(await self._runtime.adopt([launch.name for _, launch in attempts]))
        if self._lanes is not None:
            self._in_lanes.update(name for name in known if self._lanes.holds(name) and name in self._under_way)
        self._keep_places([(live, launch) for live, launch in attempts if launch.name in known])
        for live, launch in attempts:
            self._adopting.discard(launch.name)
            attempt = self._under_way.get(launch.name)
            if attempt is None or attempt.live is not live or live.state.ended:
                continue  # it has ended or moved meanwhile, or is about to end
            if launch.name not in known:
                self._line_up_again(attempt)
            elif not self._eager.takes(launch):
                self._slots.runs(live.tenant, attempt.ask)
        self._work.set()

    def _line_up_again(self, attempt: _Attempt) -> None:
        """An attempt under way that may not have been started goes back to its line."""
        del self._under_way[attempt.launch.name]
        self._free([attempt.launch.name])
        # One that has a slot keeps others from theirs, so it goes first.
        priority = 1 if self._slots.waits(attempt.launch.name) else 0
        self._push(attempt._replace(is_repeat=True), priority)

    def drop(self, live: LiveExecution) -> None:
        """The execution has ended or moved to another process: forget it here, leave the runtime alone."""
        for name in live.names:
            if not self._cancel(name) and not self._engine_tasks.discard(name):
                self._under_way.pop(name, None)
                self._asked.pop(name, None)
        if self._places is not None:
            self._places.leave(list(live.names))
        self._in_lanes -= live.names
        live.names.clear()
        self._slots.forget(live.state.key)
        self._work.set()  # there may be room now

    async def settled(self, dropped: Sequence[LiveExecution]) -> None:
        """Wait until nothing is done any more for the attempts of executions that were dropped."""
        starts = [start for start, attempt in self._starts.items() if attempt.live in dropped]
        if starts:
            await asyncio.wait(starts)

    # ---- what explanations ask ----

    def is_eager(self, name: str) -> bool:
        """Whether an attempt waits in the line of eager tasks, which has room of its own."""
        return name in self._eager

    def lane(self, name: str) -> str:
        """The lane of workers that a waiting attempt waits for; empty for the machine's own room."""
        return self._queue.lane_of_key(name)

    def wants_worker(self, lane: str) -> str:
        """What attempts of a lane need of a worker, when there is none for them; else empty."""
        return "" if self._lanes is None or lane == OWN else self._lanes.wants(lane)

    def capacity(self, *, eager: bool, lane: str = OWN) -> int:
        """How many attempts may be under way at once."""
        if eager:
            return EAGER_MAX
        if lane != OWN and self._lanes is not None:
            return self._lanes.capacity(lane)
        of_others = 0 if self._places is None else self._places.of_others
        return max(0, self._runtime.capacity - of_others)

    def is_queued(self, name: str) -> bool:
        """Whether an attempt waits for its turn, or for the answer to whether its tenant may have it under way."""
        return name in self._queue or name in self._eager or name in self._asked

    def limits(self, tenant: Tenant) -> Sequence[tuple[Scope, int]]:
        """The limits of a tenant that may have no further attempt under way now."""
        is_at_limit = tenant in self._queue.aside() or self._slots.at_limit(tenant)
        return self._slots.limits(tenant) if is_at_limit else ()

    def is_started(self, name: str) -> bool:
        """Whether an attempt has left the queue."""
        return (name in self._under_way and name not in self._asked) or name in self._engine_tasks

    def is_handed_over(self, name: str) -> bool:
        """Whether the runtime has an attempt."""
        if name in self._engine_tasks:
            return True
        return name in self._under_way and all(start.launch.name != name for start in self._starts.values())

    def place(self, name: str) -> int:
        """How many attempts leave the queue before this one, which waits there; 0 when it does not."""
        return self._queue.place(name) or self._eager.place(name)

    def place_in_line(self, name: str) -> int:
        """The same for attempts of its own tenant alone."""
        return self._queue.place_in_line(name)

    def waiting(self, *, eager: bool, lane: str = OWN) -> Mapping[Tenant, int]:
        """How many attempts of each tenant wait."""
        return self._eager.waiting() if eager else self._queue.waiting(lane)

    def occupants(self, *, eager: bool, lane: str = OWN) -> Iterable[tuple[LiveExecution, Launch]]:
        """The attempts that take up room; workers have room for several lanes, so all that run there are told."""
        in_lane = lane != OWN
        under_way = (
            attempt
            for name, attempt in self._under_way.items()
            if self._eager.takes(attempt.launch) is eager and (eager or (name in self._in_lanes) is in_lane)
        )
        return ((attempt.live, attempt.launch) for attempt in under_way)

    # ---- what is said of slots ----

    def admitted(self, names: Sequence[str]) -> None:
        """These attempts have their slots: they start next."""
        self._admitted.extend(names)
        self._work.set()

    def refused(self, names: Sequence[str]) -> None:
        """These have none: they go back to their places in line."""
        for name in names:
            turn = self._asked.pop(name, None)
            if turn is not None:
                del self._under_way[name]
                self._queue.give_back(turn)
        self._free(names)
        self._work.set()  # there is room for others

    def resume(self, project: str | None) -> None:
        """Tenants of this project (None: of any) may be below their limits again."""
        self._queue.resume([tenant for tenant in self._queue.aside() if project in (None, tenant[0])])
        self._work.set()

    def reweigh(self) -> None:
        """Weights have changed."""
        self._queue.reweigh()

    def running(self) -> Iterable[tuple[Tenant, SlotAsk]]:
        """Every attempt that is starting or running and may need a slot, as far as is known."""
        for name, attempt in list(self._under_way.items()):
            is_certain = name not in self._asked and name not in self._adopting and not attempt.live.state.ended
            if is_certain and not self._eager.takes(attempt.launch):
                yield attempt.live.tenant, attempt.ask

    # ---- the way to the runtime ----

    def _free(self, names: Sequence[str]) -> None:
        if self._places is not None:
            self._places.free(names)
        if self._in_lanes:
            self._in_lanes.difference_update(names)

    def _lane_of(self, attempt: _Attempt) -> str:
        live = attempt.live
        assert self._lanes is not None, "asked only where there are lanes"
        envs = {**live.envs, **attempt.launch.env} if live.envs else attempt.launch.env
        return self._lanes.lane(attempt.launch, live.tenant, live.labels, envs)

    def _lanes_changed(self, belongs_elsewhere: bool) -> None:
        """There is more room with workers, or attempts belong to other lanes than before."""
        if belongs_elsewhere:
            self._queue.sort_again()
        self._work.set()

    def _on_returned(self, names: Sequence[str]) -> None:
        """A worker gives back what it has not begun."""
        for name in names:
            attempt = self._under_way.get(name)
            if attempt is not None and not attempt.live.state.ended:
                self._line_up_again(attempt)
        self._work.set()

    def _keep_places(self, attempts: Sequence[tuple[LiveExecution, Launch]]) -> None:
        if self._places is not None:
            adopted = [_Attempt(live, launch) for live, launch in attempts if not self._eager.takes(launch)]
            self._places.keep({one.launch.name: one.origin for one in adopted if one.launch.name in self._under_way})

    def _push(self, attempt: _Attempt, priority: int = 0) -> None:
        live, launch = attempt.live, attempt.launch
        if self._eager.takes(launch):
            self._eager.push(live, launch.name, attempt)
        else:
            self._queue.push(live.tenant, launch.name, attempt, priority)

    def _cancel(self, name: str) -> bool:
        """Take an attempt out of the line it waits in, if it waits."""
        return self._queue.cancel(name) or self._eager.cancel(name)

    async def run(self) -> None:
        """Dispatch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._running = True
            tasks.create_task(self._follow_events(tasks), name="runtime events")
            tasks.create_task(self._engine_tasks.run(), name="engine tasks")
            try:
                while True:
                    await self._work.wait()
                    self._work.clear()
                    await self._pass_on_ends()
                    await self._start_ready(tasks)
                    _QUEUED.set(len(self._queue))
                    _AT_LIMIT.set(self._queue.waiting_aside)
                    _UNDER_WAY.set(len(self._under_way))
            finally:
                self._running = False

    async def _pass_on_ends(self) -> None:
        aborts, self._to_abort = self._to_abort, []
        ended, self._to_forget = self._to_forget, []
        if aborts:
            await self._runtime.abort(aborts)
            await self._runtime.forget(aborts)
        if ended:
            await self._runtime.forget(ended)

    async def _start_ready(self, tasks: asyncio.TaskGroup) -> None:
        if not self._trusted():
            asyncio.get_running_loop().call_later(TRUST_POLL_S, self._work.set)
            return
        batch: list[tuple[_Attempt, RuntimeRequest]] = []
        for attempt in self._ready():
            if len(batch) == TURN:
                await self._launch_batch(batch)
                batch = []
            launch = attempt.launch
            plugin = self._plugins.for_type(launch.task.type)
            if launch.previous_generated_name is not None or inherited_elements(launch.inherited) is not None:
                await self._spawn(tasks, attempt, plugin, None)
                continue
            if not plugin.needs_inputs(launch.task.template):
                request = self._build(attempt, plugin, None, inherited_checkpoint(launch.inherited))
            elif launch.inputs is not None:
                checkpoint = inherited_checkpoint(launch.inherited)
                request = self._build(attempt, plugin, split_literal_map(launch.inputs), checkpoint)
            else:
                await self._spawn(tasks, attempt, plugin, None)
                continue
            if request is None:
                continue
            is_instant = isinstance(request, InstantRequest) and request.failure is None
            if is_instant or not self._needs_files(attempt):
                batch.append((attempt, request))
            else:
                await self._spawn(tasks, attempt, plugin, request)
        if batch:
            await self._launch_batch(batch)

    def _needs_files(self, attempt: _Attempt) -> bool:
        """Whether files must be written, or removed, before the attempt can start. One with a time limit may be
        followed by another one without our hearing how it ended, and that one finds its inputs in the file."""
        launch = attempt.launch
        return (
            launch.name not in self._in_lanes
            or attempt.is_repeat
            or (launch.timeout_s is not None and launch.inputs is not None)
            or wants_task_template(launch.task.template)
        )

    def _ready(self) -> Iterator[_Attempt]:
        """Attempts that may start now; each is under way when it is given out. Those that need a slot are asked for on
        the way."""
        while self._admitted:
            turn = self._asked.pop(self._admitted.popleft(), None)
            if turn is not None:
                yield turn.item
        slots = self._slots
        if not slots.is_ready:
            return
        while (attempt := self._eager.take()) is not None:
            self._under_way[attempt.launch.name] = attempt
            yield attempt
        yield from self._ready_for_workers()
        in_lanes = len(self._in_lanes)
        for _ in range(self._runtime.capacity - (len(self._under_way) - self._eager.under_way - in_lanes)):
            turn = self._queue.line(OWN).take(slots.at_limit)
            if turn is None:  # nothing waits, or only tenants at their limits
                if self._places is not None:
                    self._places.rest()
                return
            if self._places is not None and not self._places.take(turn.key, turn.item.origin):
                self._put_back(OWN, turn)
                asyncio.get_running_loop().call_later(PLACE_POLL_S, self._work.set)
                return
            yield from self._begin_turn(turn)

    def _ready_for_workers(self) -> Iterator[_Attempt]:
        """Of each lane as many as its workers have room for; they say when they have more."""
        if self._lanes is None:
            return
        for lane in list(self._queue.busy_lanes()):
            while (turn := self._queue.line(lane).take(self._slots.at_limit)) is not None:
                if not self._lanes.take(lane, turn.key):
                    self._put_back(lane, turn)
                    break
                self._in_lanes.add(turn.key)
                yield from self._begin_turn(turn)

    def _put_back(self, lane: str, turn: Turn[Tenant, str, _Attempt]) -> None:
        """There is no room after all."""
        line = self._queue.line(lane)
        line.give_back(turn)
        line.resume([turn.tenant])

    def _begin_turn(self, turn: Turn[Tenant, str, _Attempt]) -> Iterator[_Attempt]:
        """An attempt that has room: it may start, unless its tenant has a limit that must be asked first."""
        attempt = turn.item
        self._under_way[turn.key] = attempt
        if attempt.live.state.ended:
            return  # the rows that say so are on their way, and take it from here
        if self._slots.concern(turn.tenant, turn.key) and not self._slots.may_start(turn.tenant, attempt.ask):
            self._asked[turn.key] = turn
        else:
            yield attempt

    async def _launch_batch(self, batch: Sequence[tuple[_Attempt, RuntimeRequest]]) -> None:
        if self._trusted():
            # Something may have become of them while others were started.
            ready = [(attempt, request) for attempt, request in batch if self._is_still_there(attempt)]
            _LAUNCHED.inc(len(ready))
            await self._runtime.launch([request for _, request in ready])
        else:
            for attempt, _ in batch:
                self._in_doubt(attempt)
        await asyncio.sleep(0)

    def _is_still_there(self, attempt: _Attempt) -> bool:
        """Whether an attempt that is about to be handed over is still to be, and has its room; without its room it goes
        back to its line."""
        name = attempt.launch.name
        if self._under_way.get(name) is not attempt:
            return False
        if self._lanes is None or name not in self._in_lanes or self._lanes.holds(name):
            return True
        self._in_doubt(attempt)
        return False

    def _in_doubt(self, attempt: _Attempt) -> None:
        """Not handed over: if that is for the lease alone, the attempt waits until it is renewed or the engine ends."""
        if self._under_way.get(attempt.launch.name) is attempt:
            self._line_up_again(attempt)
            self._work.set()

    async def _spawn(
        self, tasks: asyncio.TaskGroup, attempt: _Attempt, plugin: TaskPlugin, request: RuntimeRequest | None
    ) -> None:
        await self._starting.acquire()
        start = tasks.create_task(self._start(attempt, plugin, request), name=f"start {attempt.launch.name}")
        self._starts[start] = attempt
        start.add_done_callback(self._starts.pop)

    def _build(
        self, attempt: _Attempt, plugin: TaskPlugin, inputs: Mapping[str, bytes] | None, checkpoint: str = ""
    ) -> RuntimeRequest | None:
        """The plugin's request; None when it has none to give, and then the attempt has failed."""
        launch = attempt.launch
        try:
            context = build_context(attempt.live, launch, self._raw_output_prefix, checkpoint)
            request = plugin.build(launch.task.template, inputs, context)
        except BadTaskError as error:
            self._failed(attempt, error.failure)
        except Exception as error:  # noqa: BLE001 - a plugin's own error must not stop the engine
            _log.exception("a task cannot be built", task=launch.task.name, attempt=launch.name)
            text = f"the task cannot be built: {type(error).__name__}: {error}"
            self._failed(attempt, Failure(ErrorKind.SYSTEM, "FailedToBuildResource", text))
        else:
            if launch.inputs is not None and launch.name in self._in_lanes and isinstance(request, ContainerRequest):
                return replace(request, inputs=launch.inputs)
            return request
        return None

    async def _start(self, attempt: _Attempt, plugin: TaskPlugin, request: RuntimeRequest | None) -> None:
        """Write the files of an attempt and hand it over; `request` None: what it needs must be looked up first."""
        launch = attempt.launch
        try:
            if request is None:
                wanted = plugin.needs_inputs(launch.task.template)
                inputs = await load_inputs(self._blobs, launch) if wanted else None
                prefix = attempt.live.raw_output_prefix or self._raw_output_prefix
                checkpoint = await previous_checkpoint(self._blobs, prefix, attempt.live.state.name, launch)
                if not checkpoint and self._left_by_element is not None:
                    checkpoint = await self._left_by_element(attempt.live, launch)
                request = self._build(attempt, plugin, inputs, checkpoint)
                if request is None:
                    return
            if attempt.is_repeat:
                if await self._runtime.adopt([launch.name]):
                    if self._lanes is not None and self._lanes.holds(launch.name):
                        self._in_lanes.add(launch.name)
                    return  # a launch that was on its way when its engine ended has arrived after all
                await remove_results(self._blobs, launch, lambda: self._is_ours(attempt))
            if self._needs_files(attempt):
                await write_files(self._blobs, launch)
        except SupersededError:
            self._in_doubt(attempt)  # or somebody else has it now, and starts it
        except BlobStoreFailedError as error:
            self._failed(attempt, error.failure())
        except (BlobNotFoundError, MalformedLiteralMapError) as error:
            text = f"the inputs of the task cannot be read: {error}"
            self._failed(attempt, Failure(ErrorKind.SYSTEM, "BindingResolutionFailure", text))
        else:
            if self._is_ours(attempt) and self._is_still_there(attempt):
                _LAUNCHED.inc()
                await self._runtime.launch([request])
                if launch.name in self._aborted:
                    self._to_abort.append(launch.name)
                    self._work.set()
            else:
                self._in_doubt(attempt)
        finally:
            self._aborted.discard(launch.name)
            self._starting.release()

    def _is_ours(self, attempt: _Attempt) -> bool:
        """Whether it is still this process's to start the attempt: it may have been aborted or dropped meanwhile, and a
        process that was stopped for a while may have lost its lease without knowing."""
        return self._under_way.get(attempt.launch.name) is attempt and self._trusted()

    def _on_events(self, events: Sequence[RuntimeEvent]) -> None:
        """Take events of the runtime; no more than two an attempt under way, and dropped while nothing runs here:
        whoever adopts the attempts is told again."""
        if self._running:
            self._events.extend(events)
            self._told.set()

    async def _follow_events(self, tasks: asyncio.TaskGroup) -> None:
        """Judge events a few at a time, so that the journal commits the first ones while the next are looked at."""
        events = self._events
        while True:
            await self._told.wait()
            self._told.clear()
            while events:
                for _ in range(min(len(events), TURN)):
                    self._on_event(tasks, events.popleft())
                await asyncio.sleep(0)

    def _on_event(self, tasks: asyncio.TaskGroup, event: RuntimeEvent) -> None:
        attempt = self._under_way.get(event.name)
        if attempt is None:
            return  # aborted, moved away, or told before
        if isinstance(event, Started):
            self._send(attempt, self._started(attempt, event))
        elif _is_small(event.outputs, attempt.launch) or (event.failure and not self._must_look(attempt)):
            self._finish(attempt, self._judged(attempt, event))
        else:
            tasks.create_task(self._collect(attempt, event), name=f"collect {event.name}")

    def _must_look(self, attempt: _Attempt) -> bool:
        """Whether the store is needed for an attempt that has failed: for its deck, or for the inputs of the next one,
        which the failed one was given without a file."""
        launch = attempt.launch
        return bool(launch.task.wants_deck) or (launch.name in self._in_lanes and launch.inputs is not None)

    def _started(self, attempt: _Attempt, event: Started) -> TaskStarted:
        details = _details(attempt.launch, event.logs, event.reason)
        return TaskStarted(self._clock(), attempt.launch.ref, event.at, details)

    def _judged(self, attempt: _Attempt, event: Ended) -> Event:
        now = self._clock()
        ref = attempt.launch.ref
        details = _details(attempt.launch, event.logs)
        failure = event.failure
        if failure is None:
            try:
                data = event.outputs or b""
                return TaskSucceeded(now, ref, event.at, dict(split_literal_map(data)), data, details=details)
            except MalformedLiteralMapError as error:
                failure = Failure(ErrorKind.SYSTEM, "OutputsNotReadable", f"malformed outputs: {error}", retryable=True)
        return TaskFailed(now, ref, event.at, failure, details)

    async def _collect(self, attempt: _Attempt, event: Ended) -> None:
        """Look at what the attempt left in the store."""
        launch = attempt.launch
        outcome: Outcome | DynamicPlan = event.failure or await self._outcome(launch, event.outputs)
        if isinstance(outcome, IsDynamic):
            if self._under_way.get(launch.name) is not attempt:
                return
            outcome = await self._compile_dynamic(attempt.live.state, launch)
        deck_uri = None
        if isinstance(outcome, Failure):
            if launch.name in self._in_lanes and outcome.retryable:
                outcome = await self._with_inputs_kept(launch, outcome)
            deck_uri = await announced_deck(self._blobs, launch.task, launch.output_dir)
        if self._under_way.get(launch.name) is not attempt:
            return
        details = _details(launch, event.logs)
        now = self._clock()
        if isinstance(outcome, DynamicPlan):
            plan, identifier, futures_uri, reuse = outcome
            made = TaskBecameDynamic(now, launch.ref, event.at, plan, identifier, futures_uri, details, reuse)
            self._finish(attempt, made)
        elif isinstance(outcome, Failure):
            self._finish(attempt, TaskFailed(now, launch.ref, event.at, outcome, details, deck_uri))
        else:
            result = TaskSucceeded(
                now,
                launch.ref,
                event.at,
                outcome.outputs,
                serialized=outcome.serialized,
                deck_uri=deck_uri,
                details=details,
                references=outcome.references,
            )
            self._finish(attempt, result)

    async def _with_inputs_kept(self, launch: Launch, failure: Failure) -> Failure:
        """The next attempt finds its inputs where those of a container do."""
        try:
            await write_files(self._blobs, launch)
        except BlobStoreFailedError as error:
            return error.failure()
        return failure

    async def _outcome(self, launch: Launch, outputs: bytes | None) -> Outcome:
        """Judge the files of an attempt; outputs that were handed over, too large for a row, become one of them."""
        if outputs is not None:
            uri = f"{launch.output_dir}/outputs.pb"
            try:
                await riding_out(lambda: self._blobs.put(uri, outputs), f"writing {uri}")
            except BlobStoreFailedError as error:
                return error.failure()
        return await collect(self._blobs, launch)

    def _failed(self, attempt: _Attempt, failure: Failure) -> None:
        if self._under_way.get(attempt.launch.name) is attempt:
            launch, now = attempt.launch, self._clock()
            self._finish(attempt, TaskFailed(now, launch.ref, now, failure, _details(launch, ())))

    def _finish(self, attempt: _Attempt, event: Event) -> None:
        self._under_way.pop(attempt.launch.name, None)
        self._free([attempt.launch.name])
        attempt.live.names.discard(attempt.launch.name)
        self._work.set()
        self._send(attempt, event)

    def _send(self, attempt: _Attempt, event: Event) -> None:
        self._apply(attempt.live, event)


def _is_small(outputs: bytes | None, launch: Launch) -> bool:
    """Whether an attempt has handed over outputs that need no blob."""
    return outputs is not None and len(outputs) <= inline_bytes_max(launch)


def _details(launch: Launch, logs: Sequence[LogLink], reason: str = "") -> bytes | None:
    """Serialized TaskExecutionClosure with what rows have no columns for; None when there is nothing to say."""
    if not logs and not reason and not launch.interruptible:
        return None
    closure = task_execution_pb2.TaskExecutionClosure(reason=reason, event_version=1)
    closure.logs.extend(
        execution_pb2.TaskLog(name=log.name, uri=log.uri, message_format=execution_pb2.TaskLog.UNKNOWN) for log in logs
    )
    closure.metadata.generated_name = launch.generated_name
    if launch.interruptible:
        closure.metadata.instance_class = event_pb2.TaskExecutionMetadata.INTERRUPTIBLE
    return closure.SerializeToString()
