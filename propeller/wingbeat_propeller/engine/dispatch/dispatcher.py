"""From durable launches to attempts under way, and from the runtime's events back to the core.

Launches wait until there is room for them (`room`), are started (`starter`), and what the runtime tells of them becomes
events of the core (`event_judge`). An abort meets its attempt wherever it is: in a line, while it asks or starts, or in
the runtime. Tasks that the engine carries out itself go past all that (`engine_tasks`). Called on one event loop;
nothing here survives a crash, the rows do.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from prometheus_client import Gauge

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.events import Event
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.engine.dispatch.attempt import Attempt
from wingbeat_propeller.engine.dispatch.engine_tasks import EngineTasks
from wingbeat_propeller.engine.dispatch.event_judge import EventJudge
from wingbeat_propeller.engine.dispatch.room import Room
from wingbeat_propeller.engine.dispatch.starter import Starter
from wingbeat_propeller.engine.dispatch.whereabouts import Whereabouts
from wingbeat_propeller.engine.dynamics import DynamicPlan
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.engine.slot_keeper import SlotKeeper
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.ports.runtime import Lanes, Places, Runtime
from wingbeat_propeller.tasks.registry import TaskPlugins

_QUEUED = Gauge("wingbeat_queued_attempts", "Attempts waiting for the runtime to have room")
_UNDER_WAY = Gauge("wingbeat_attempts_under_way", "Attempts starting or running")
_AT_LIMIT = Gauge("wingbeat_attempts_at_limit", "Attempts waiting for their tenant to be below its limit")


class Dispatcher:
    """Owner of every attempt that is durable and has not ended."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        plugins: TaskPlugins,
        blobs: Blobs,
        compile_dynamic: Callable[[LiveExecution, Launch], Awaitable[DynamicPlan | Failure]],
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
        self._apply = apply
        self._slots = slots = slots or SlotKeeper()
        self._work = asyncio.Event()
        self._to_abort: list[str] = []
        self._to_forget: list[str] = []
        self._engine_tasks = EngineTasks(
            plugins=plugins, blobs=blobs, raw_output_prefix=raw_output_prefix, apply=apply, clock=clock
        )
        self._room = Room(runtime=runtime, slots=slots, places=places, lanes=lanes, work=self._work)
        self._starter = Starter(
            room=self._room,
            runtime=runtime,
            plugins=plugins,
            blobs=blobs,
            raw_output_prefix=raw_output_prefix,
            left_by_element=left_by_element,
            trusted=trusted,
            finish=self._finish,
            abort=self._abort_in_runtime,
            clock=clock,
            work=self._work,
        )
        self._judge = EventJudge(
            room=self._room,
            runtime=runtime,
            blobs=blobs,
            compile_dynamic=compile_dynamic,
            apply=apply,
            finish=self._finish,
            clock=clock,
        )
        self.whereabouts = Whereabouts(
            room=self._room,
            starter=self._starter,
            engine_tasks=self._engine_tasks,
            runtime=runtime,
            slots=slots,
            places=places,
            lanes=lanes,
        )

    @property
    def queued(self) -> int:
        """Attempts waiting for room."""
        return self._room.queued

    def launch(self, live: LiveExecution, launch: Launch) -> None:
        """Queue a durable launch; a name already here is ignored."""
        if launch.name in live.names:
            return
        live.names.add(launch.name)
        if self._engine_tasks.takes(launch):
            self._engine_tasks.launch(live, launch)
        else:
            self._room.push(Attempt(live, launch, launch.is_repeat))

    def abort(self, live: LiveExecution, name: str) -> None:
        """Stop an attempt; its runtime record goes too."""
        live.names.discard(name)
        if self._room.cancel(name) or self._engine_tasks.discard(name):
            return
        self._room.leave(name)
        self._starter.aborted(name)
        self._abort_in_runtime(name)

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
        self._room.expect(attempts)
        return attempts

    async def find(self, attempts: Sequence[tuple[LiveExecution, Launch]]) -> None:
        """Ask the runtime for attempts that are expected there, and line up those that it has lost."""
        await self._slots.look_up(list({live.state.key for live, _ in attempts}))
        known = set(await self._runtime.adopt([launch.name for _, launch in attempts]))
        self._room.found(attempts, known)

    def drop(self, live: LiveExecution) -> None:
        """The execution has ended or moved to another process: forget it here, leave the runtime alone."""
        for name in live.names:
            self._engine_tasks.discard(name)
        self._room.drop(live.names)
        live.names.clear()
        self._slots.forget(live.state.key)

    async def settled(self, dropped: Sequence[LiveExecution]) -> None:
        """Wait until nothing is done any more for the attempts of executions that were dropped."""
        await self._starter.settled(dropped)

    async def run(self) -> None:
        """Dispatch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._judge.run(), name="runtime events")
            tasks.create_task(self._engine_tasks.run(), name="engine tasks")
            while True:
                await self._work.wait()
                self._work.clear()
                await self._pass_on_ends()
                await self._starter.start_ready(tasks)
                _QUEUED.set(len(self._room.queue))
                _AT_LIMIT.set(self._room.queue.waiting_aside)
                _UNDER_WAY.set(len(self._room.under_way))

    async def _pass_on_ends(self) -> None:
        aborts, self._to_abort = self._to_abort, []
        ended, self._to_forget = self._to_forget, []
        if aborts:
            await self._runtime.abort(aborts)
            await self._runtime.forget(aborts)
        if ended:
            await self._runtime.forget(ended)

    def _abort_in_runtime(self, name: str) -> None:
        self._to_abort.append(name)
        self._work.set()

    def _finish(self, attempt: Attempt, event: Event) -> None:
        self._room.leave(attempt.launch.name)
        attempt.live.names.discard(attempt.launch.name)
        self._apply(attempt.live, event)
