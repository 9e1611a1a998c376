"""The lines in which attempts wait for their turn: one for the machine's own room, and one for each lane of workers.

Each is a fair queue over the same tenants with the same weights. An attempt waits in one of them; which one is decided
when it comes, and again whenever workers come or go (`sort_again`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from wingbeat_propeller.engine.dispatch.fair_queue import FairQueue, Turn
from wingbeat_propeller.engine.live import Tenant
from wingbeat_propeller.ports.runtime import Lanes

V = TypeVar("V")

OWN = ""
"""The line for the machine's own room."""


class LaneLines(Generic[V]):
    """See the module. `lane_of` says where an item belongs; without `lanes` there is but one line."""

    def __init__(self, *, weight: Callable[[Tenant], int], lanes: Lanes | None, lane_of: Callable[[V], str]) -> None:
        self._weight = weight
        self._lanes = lanes
        self._lane_of = lane_of
        self._own: FairQueue[Tenant, str, V] = FairQueue(weight=weight)
        self._lines: dict[str, FairQueue[Tenant, str, V]] = {OWN: self._own}

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def __contains__(self, key: str) -> bool:
        return any(key in line for line in self._lines.values())

    def line(self, lane: str) -> FairQueue[Tenant, str, V]:
        """The line of one lane."""
        found = self._lines.get(lane)
        if found is None:
            found = self._lines[lane] = FairQueue(weight=self._weight)
        return found

    def busy_lanes(self) -> Iterator[str]:
        """Lanes of workers in which something waits; those that are empty are given up."""
        for lane in [lane for lane in self._lines if lane != OWN]:
            if len(self._lines[lane]):
                yield lane
            else:
                del self._lines[lane]

    def lane_of_key(self, key: str) -> str:
        """Where an item waits; the own line's name when it does not."""
        return next((lane for lane, line in self._lines.items() if key in line), OWN)

    def push(self, tenant: Tenant, key: str, item: V, priority: int = 0) -> None:
        """As FairQueue.push, into the line where the item belongs."""
        lane = self._lane_of(item) if self._lanes is not None else OWN
        self.line(lane).push(tenant, key, item, priority)

    def cancel(self, key: str) -> bool:
        """As FairQueue.cancel."""
        return any(line.cancel(key) for line in self._lines.values())

    def give_back(self, turn: Turn[Tenant, str, V]) -> None:
        """As FairQueue.give_back."""
        lane = self._lane_of(turn.item) if self._lanes is not None else OWN
        self.line(lane).give_back(turn)

    def resume(self, tenants: Iterable[Tenant]) -> None:
        """As FairQueue.resume."""
        named = list(tenants)
        for line in self._lines.values():
            line.resume(named)

    def reweigh(self) -> None:
        """As FairQueue.reweigh."""
        for line in self._lines.values():
            line.reweigh()

    def aside(self) -> set[Tenant]:
        """Tenants with a line that is set aside."""
        return {tenant for line in self._lines.values() for tenant in line.aside}

    @property
    def waiting_aside(self) -> int:
        """As FairQueue.waiting_aside."""
        return sum(line.waiting_aside for line in self._lines.values())

    def place(self, key: str) -> int:
        """As FairQueue.place; 0 when it does not wait."""
        return self.line(self.lane_of_key(key)).place(key) or 0

    def place_in_line(self, key: str) -> int:
        """As FairQueue.place_in_line; 0 when it does not wait."""
        return self.line(self.lane_of_key(key)).place_in_line(key) or 0

    def waiting(self, lane: str) -> Mapping[Tenant, int]:
        """As FairQueue.waiting, of one lane."""
        return self.line(lane).waiting()

    def sort_again(self) -> None:
        """Put every item where it belongs now; each keeps its place among those of its tenant."""
        if self._lanes is None or not len(self):
            return
        for lane, line in list(self._lines.items()):
            for turn in line.entries():
                belongs = self._lane_of(turn.item)
                if belongs != lane:
                    line.cancel(turn.key)
                    self.line(belongs).insert(turn)
