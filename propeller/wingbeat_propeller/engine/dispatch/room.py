"""Who waits, who is under way, and who may start next.

Attempts wait in the fair queue until the runtime has room. One whose tenant has a limit then asks for a slot
(`slot_keeper`): it keeps its room until the answer, and without a slot goes back to its place in line. Eager tasks have
a line of their own (`eager_line`) and need no slot. Attempts that workers run wait in lines of their own
(`lane_lines`) and take room there. Called on one event loop; nothing is awaited here.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Set

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.engine.dispatch.attempt import Attempt
from wingbeat_propeller.engine.dispatch.eager_line import EagerLine
from wingbeat_propeller.engine.dispatch.fair_queue import Turn
from wingbeat_propeller.engine.dispatch.lane_lines import OWN, LaneLines
from wingbeat_propeller.engine.live import LiveExecution, Tenant
from wingbeat_propeller.engine.slot_keeper import SlotKeeper
from wingbeat_propeller.ports.runtime import Lanes, Places, Runtime
from wingbeat_propeller.ports.slots import SlotAsk

PLACE_POLL_S = 0.05
"""How soon to look again whether another engine of the machine has left room."""
FIRST = 1_000
"""A priority above those of executions."""


class Room:
    """Owner of the lines, and of the room that attempts under way take up.

    `work` is set whenever somebody may start who could not before. `places` knows the room that engines of one machine
    share, `lanes` that of workers; without them there is none to keep to.
    """

    def __init__(
        self, *, runtime: Runtime, slots: SlotKeeper, places: Places | None, lanes: Lanes | None, work: asyncio.Event
    ) -> None:
        self._runtime = runtime
        self._slots = slots
        self._places = places
        self._lanes = lanes
        self._work = work
        self.queue: LaneLines[Attempt] = LaneLines(weight=slots.weight, lanes=lanes, lane_of=self._lane_of)
        self.under_way: dict[str, Attempt] = {}
        """Those that are starting or running, and those that ask for a slot."""
        self.asked: dict[str, Turn[Tenant, str, Attempt]] = {}
        """Those under way that ask for a slot, or have got it and start next."""
        self.in_lanes: set[str] = set()
        """Of those under way, the ones that have room with workers; some have ended."""
        self.eager: EagerLine[Attempt] = EagerLine(self.under_way)
        self._admitted: deque[str] = deque()
        self._adopting: set[str] = set()
        """Those under way of which it is not known yet whether they are."""
        slots.subscribe(self)
        if lanes is not None:
            lanes.subscribe(changed=self._lanes_changed, returned=self._on_returned)

    @property
    def queued(self) -> int:
        """Attempts waiting for room."""
        return len(self.queue) + len(self.eager)

    # ---- coming and going ----

    def push(self, attempt: Attempt, *, goes_first: bool = False) -> None:
        """Have it wait for its turn: by the priority of its execution, or before all of its tenant."""
        live, launch = attempt.live, attempt.launch
        if self.eager.takes(launch):
            self.eager.push(live, launch.name, attempt)
        else:
            self.queue.push(live.tenant, launch.name, attempt, FIRST if goes_first else live.priority)
        self._work.set()

    def cancel(self, name: str) -> bool:
        """Take an attempt out of the line it waits in, if it waits."""
        return self.queue.cancel(name) or self.eager.cancel(name)

    def leave(self, name: str) -> None:
        """An attempt under way has ended or was aborted: its room is free."""
        self.under_way.pop(name, None)
        self.asked.pop(name, None)
        self._free([name])
        self._work.set()

    def drop(self, names: Set[str]) -> None:
        """The execution of these is not driven here any more."""
        for name in names:
            if not self.cancel(name):
                self.under_way.pop(name, None)
                self.asked.pop(name, None)
        if self._places is not None:
            self._places.leave(list(names))
        self.in_lanes -= names
        self._work.set()

    def is_there(self, attempt: Attempt) -> bool:
        """Whether it is still this very attempt that is under way."""
        return self.under_way.get(attempt.launch.name) is attempt

    def may_be_handed_over(self, attempt: Attempt) -> bool:
        """Whether an attempt that is about to be handed over is still to be, and has its room; without its room it goes
        back to its line."""
        name = attempt.launch.name
        if self.under_way.get(name) is not attempt:
            return False
        if self._lanes is None or name not in self.in_lanes or self._lanes.holds(name):
            return True
        self.line_up_again(attempt)
        return False

    def line_up_again(self, attempt: Attempt, *, had_turn: bool = False) -> None:
        """An attempt that may not have been started goes back to its line, if it is still under way."""
        name = attempt.launch.name
        if self.under_way.get(name) is not attempt:
            return
        del self.under_way[name]
        self._free([name])
        # One that has a slot keeps others from theirs, so it goes first, too.
        self.push(attempt._replace(is_repeat=True), goes_first=had_turn or self._slots.waits(name))

    # ---- after a restart ----

    def expect(self, attempts: Iterable[tuple[LiveExecution, Launch]]) -> None:
        """From now on these count as under way, so that an abort meets them."""
        for live, launch in attempts:
            self.under_way[launch.name] = Attempt(live, launch)
            self._adopting.add(launch.name)
            if self.eager.takes(launch):
                self.eager.adopted(live, launch.name)

    def found(self, attempts: Sequence[tuple[LiveExecution, Launch]], known: Set[str]) -> None:
        """The runtime has those that are `known`; the others go back to their lines."""
        if self._lanes is not None:
            self.in_lanes.update(name for name in known if self._lanes.holds(name) and name in self.under_way)
        self._keep_places([(live, launch) for live, launch in attempts if launch.name in known])
        for live, launch in attempts:
            self._adopting.discard(launch.name)
            attempt = self.under_way.get(launch.name)
            if attempt is None or attempt.live is not live or live.state.ended:
                continue  # it has ended or moved meanwhile, or is about to end
            if launch.name not in known:
                self.line_up_again(attempt)
            elif not self.eager.takes(launch):
                self._slots.runs(live.tenant, attempt.ask)
        self._work.set()

    def arrived(self, name: str) -> None:
        """A launch that was on its way when its engine ended has reached the runtime after all."""
        if self._lanes is not None and self._lanes.holds(name):
            self.in_lanes.add(name)

    def _keep_places(self, attempts: Sequence[tuple[LiveExecution, Launch]]) -> None:
        if self._places is not None:
            adopted = [Attempt(live, launch) for live, launch in attempts if not self.eager.takes(launch)]
            self._places.keep({one.launch.name: one.origin for one in adopted if one.launch.name in self.under_way})

    # ---- whose turn it is ----

    def ready(self) -> Iterator[Attempt]:
        """Attempts that may start now; each is under way when it is given out. Those that need a slot are asked for on
        the way."""
        while self._admitted:
            turn = self.asked.pop(self._admitted.popleft(), None)
            if turn is not None:
                yield turn.item
        slots = self._slots
        if not slots.is_ready:
            return
        while (attempt := self.eager.take()) is not None:
            self.under_way[attempt.launch.name] = attempt
            yield attempt
        yield from self._ready_for_workers()
        in_lanes = len(self.in_lanes)
        for _ in range(self._runtime.capacity - (len(self.under_way) - self.eager.under_way - in_lanes)):
            turn = self.queue.line(OWN).take(slots.at_limit)
            if turn is None:  # nothing waits, or only tenants at their limits
                if self._places is not None:
                    self._places.rest()
                return
            if self._places is not None and not self._places.take(turn.key, turn.item.origin):
                self._put_back(OWN, turn)
                asyncio.get_running_loop().call_later(PLACE_POLL_S, self._work.set)
                return
            yield from self._begin_turn(turn)

    def _ready_for_workers(self) -> Iterator[Attempt]:
        """Of each lane as many as its workers have room for; they say when they have more."""
        if self._lanes is None:
            return
        for lane in list(self.queue.busy_lanes()):
            while (turn := self.queue.line(lane).take(self._slots.at_limit)) is not None:
                if not self._lanes.take(lane, turn.key):
                    self._put_back(lane, turn)
                    break
                self.in_lanes.add(turn.key)
                yield from self._begin_turn(turn)

    def _put_back(self, lane: str, turn: Turn[Tenant, str, Attempt]) -> None:
        """There is no room after all."""
        line = self.queue.line(lane)
        line.give_back(turn)
        line.resume([turn.tenant])

    def _begin_turn(self, turn: Turn[Tenant, str, Attempt]) -> Iterator[Attempt]:
        """An attempt that has room: it may start, unless its tenant has a limit that must be asked first."""
        attempt = turn.item
        self.under_way[turn.key] = attempt
        if attempt.live.state.ended:
            return  # the rows that say so are on their way, and take it from here
        if self._slots.concern(turn.tenant, turn.key) and not self._slots.may_start(turn.tenant, attempt.ask):
            self.asked[turn.key] = turn
        else:
            yield attempt

    def _free(self, names: Sequence[str]) -> None:
        if self._places is not None:
            self._places.free(names)
        if self.in_lanes:
            self.in_lanes.difference_update(names)

    # ---- what is said of slots ----

    def admitted(self, names: Sequence[str]) -> None:
        """These attempts have their slots: they start next."""
        self._admitted.extend(names)
        self._work.set()

    def refused(self, names: Sequence[str]) -> None:
        """These have none: they go back to their places in line."""
        for name in names:
            turn = self.asked.pop(name, None)
            if turn is not None:
                del self.under_way[name]
                self.queue.give_back(turn)
        self._free(names)
        self._work.set()  # there is room for others

    def resume(self, project: str | None) -> None:
        """Tenants of this project (None: of any) may be below their limits again."""
        self.queue.resume([tenant for tenant in self.queue.aside() if project in (None, tenant[0])])
        self._work.set()

    def reweigh(self) -> None:
        """Weights have changed."""
        self.queue.reweigh()

    def running(self) -> Iterable[tuple[Tenant, SlotAsk]]:
        """Every attempt that is starting or running and may need a slot, as far as is known."""
        for name, attempt in list(self.under_way.items()):
            is_certain = name not in self.asked and name not in self._adopting and not attempt.live.state.ended
            if is_certain and not self.eager.takes(attempt.launch):
                yield attempt.live.tenant, attempt.ask

    # ---- what is said of workers ----

    def _lane_of(self, attempt: Attempt) -> str:
        live = attempt.live
        assert self._lanes is not None, "asked only where there are lanes"
        envs = {**live.envs, **attempt.launch.env} if live.envs else attempt.launch.env
        return self._lanes.lane(attempt.launch, live.tenant, live.labels, envs)

    def _lanes_changed(self, belongs_elsewhere: bool) -> None:
        """There is more room with workers, or attempts belong to other lanes than before."""
        if belongs_elsewhere:
            self.queue.sort_again()
        self._work.set()

    def _on_returned(self, names: Sequence[str]) -> None:
        """A worker gives back what it has not begun."""
        for name in names:
            attempt = self.under_way.get(name)
            if attempt is not None and not attempt.live.state.ended:
                self.line_up_again(attempt, had_turn=True)
        self._work.set()
