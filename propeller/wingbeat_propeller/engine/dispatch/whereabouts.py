"""Where attempts are, and who has the room that they wait for: what explanations ask.

Answers are of one moment; nothing is kept and nothing is changed.
"""

from collections.abc import Iterable, Mapping, Sequence

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.engine.dispatch.eager_line import EAGER_MAX
from wingbeat_propeller.engine.dispatch.engine_tasks import EngineTasks
from wingbeat_propeller.engine.dispatch.lane_lines import OWN
from wingbeat_propeller.engine.dispatch.room import Room
from wingbeat_propeller.engine.dispatch.starter import Starter
from wingbeat_propeller.engine.live import LiveExecution, Tenant
from wingbeat_propeller.engine.shares import Scope
from wingbeat_propeller.engine.slot_keeper import SlotKeeper
from wingbeat_propeller.ports.runtime import Lanes, Places, Runtime


class Whereabouts:
    """See the module."""

    def __init__(
        self,
        *,
        room: Room,
        starter: Starter,
        engine_tasks: EngineTasks,
        runtime: Runtime,
        slots: SlotKeeper,
        places: Places | None,
        lanes: Lanes | None,
    ) -> None:
        self._room = room
        self._starter = starter
        self._engine_tasks = engine_tasks
        self._runtime = runtime
        self._slots = slots
        self._places = places
        self._lanes = lanes

    def is_eager(self, name: str) -> bool:
        """Whether an attempt waits in the line of eager tasks, which has room of its own."""
        return name in self._room.eager

    def lane(self, name: str) -> str:
        """The lane of workers that a waiting attempt waits for; empty for the machine's own room."""
        return self._room.queue.lane_of_key(name)

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
        room = self._room
        return name in room.queue or name in room.eager or name in room.asked

    def limits(self, tenant: Tenant) -> Sequence[tuple[Scope, int]]:
        """The limits of a tenant that may have no further attempt under way now."""
        is_at_limit = tenant in self._room.queue.aside() or self._slots.at_limit(tenant)
        return self._slots.limits(tenant) if is_at_limit else ()

    def is_started(self, name: str) -> bool:
        """Whether an attempt has left the queue."""
        room = self._room
        return (name in room.under_way and name not in room.asked) or name in self._engine_tasks

    def is_handed_over(self, name: str) -> bool:
        """Whether the runtime has an attempt."""
        if name in self._engine_tasks:
            return True
        return name in self._room.under_way and not self._starter.is_starting(name)

    def place(self, name: str) -> int:
        """How many attempts leave the queue before this one, which waits there; 0 when it does not."""
        return self._room.queue.place(name) or self._room.eager.place(name)

    def place_in_line(self, name: str) -> int:
        """The same for attempts of its own tenant alone."""
        return self._room.queue.place_in_line(name)

    def waiting(self, *, eager: bool, lane: str = OWN) -> Mapping[Tenant, int]:
        """How many attempts of each tenant wait."""
        return self._room.eager.waiting() if eager else self._room.queue.waiting(lane)

    def occupants(self, *, eager: bool, lane: str = OWN) -> Iterable[tuple[LiveExecution, Launch]]:
        """The attempts that take up room; workers have room for several lanes, so all that run there are told."""
        in_lane = lane != OWN
        room = self._room
        under_way = (
            attempt
            for name, attempt in room.under_way.items()
            if room.eager.takes(attempt.launch) is eager and (eager or (name in room.in_lanes) is in_lane)
        )
        return ((attempt.live, attempt.launch) for attempt in under_way)
