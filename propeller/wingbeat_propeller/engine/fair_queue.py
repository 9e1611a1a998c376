"""Ready work of many tenants, given out in fair turns: a plain data structure, no clock, no tasks.

Each tenant has a line of its own, ordered by priority and then by arrival, and a virtual time that grows by
1 / weight with each item given out; the tenant with the lowest goes next. A tenant that was idle or at its limit goes
on at the virtual time of the queue, so it neither saves up turns nor waits behind what others queued before: one item
of a new tenant is next but a few, however long the other lines are.

How many items of a tenant are under way is told by the caller at each `pop` from what is really there; the queue counts
nothing that could leak. Virtual times are integers, so `place` is exact.
"""

import heapq
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

WEIGHT_MAX = 1_000
_TURN = 1 << 40
"""Virtual time of one item of a tenant of weight 1; large, so that dividing by a weight loses next to nothing."""
_COMPACT_MIN = 64
_IDLE_MAX = 1_000
"""Idle tenants whose virtual time is remembered before those that lag behind anyway are forgotten."""


class QueueFullError(RuntimeError):
    """The queue holds as many items as it may: take in less work."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a tenant gets: turns in proportion to `weight` (1 to WEIGHT_MAX), at most `running_max` items under way."""

    weight: int = 1
    running_max: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.weight <= WEIGHT_MAX:
            raise ValueError(f"a weight is between 1 and {WEIGHT_MAX}, not {self.weight}")


@dataclass(slots=True, eq=False)
class _Line(Generic[T, K]):
    tenant: T
    order: int
    """Breaks ties between lines of equal virtual time."""
    turn: int
    running_max: int | None
    virtual: int
    heap: list[tuple[int, int, K]] = field(default_factory=list[tuple[int, int, K]])
    """(-priority, serial, key); entries whose serial is not the key's any more are dead."""
    waiting: int = 0


@dataclass(slots=True)
class _Entry(Generic[T, K, V]):
    line: _Line[T, K]
    rank: tuple[int, int]
    item: V


class FairQueue(Generic[T, K, V]):
    """Items by unique key, in lines by tenant; see the module. `share` is asked when a tenant's line is made."""

    def __init__(self, *, share: Callable[[T], Share] | None = None, items_max: int = 1_000_000) -> None:
        self._share = share or _equal_share
        self._items_max = items_max
        self._entries: dict[K, _Entry[T, K, V]] = {}
        self._lines: dict[T, _Line[T, K]] = {}
        self._turns: list[tuple[int, int, _Line[T, K]]] = []
        """Lines with waiting items by virtual time; a line is here at most once."""
        self._virtual = 0
        self._serial = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    @property
    def full(self) -> bool:
        """Whether the next push raises."""
        return len(self._entries) >= self._items_max

    def waiting(self) -> dict[T, int]:
        """Number of waiting items of each tenant that has any."""
        return {tenant: line.waiting for tenant, line in self._lines.items() if line.waiting}

    def push(self, tenant: T, key: K, item: V, priority: int = 0) -> None:
        """Queue an item under a key that is not queued. Higher priorities of a tenant go first.

        Raises QueueFullError.
        """
        assert key not in self._entries, f"{key} is queued already"
        if self.full:
            raise QueueFullError(f"{self._items_max} items wait already")
        line = self._lines.get(tenant) or self._make_line(tenant)
        self._serial += 1
        rank = (-priority, self._serial)
        self._entries[key] = _Entry(line, rank, item)
        heapq.heappush(line.heap, (*rank, key))
        line.waiting += 1
        if line.waiting == 1:
            line.virtual = max(line.virtual, self._virtual)
            self._enter(line)

    def pop(self, running: Mapping[T, int] | None = None) -> V | None:
        """Remove and return the next item, None when nothing may go now.

        `running` says how many items of each tenant are under way; tenants at their limit are passed over.
        """
        passed: list[_Line[T, K]] = []
        while self._turns and _at_limit(self._turns[0][2], running):
            passed.append(heapq.heappop(self._turns)[2])
        item: V | None = None
        if self._turns:
            line = heapq.heappop(self._turns)[2]
            item = self._next(line)
            self._virtual = max(self._virtual, line.virtual)
            line.virtual += line.turn
            line.waiting -= 1
            if line.waiting:
                self._enter(line)
        for line in passed:
            line.virtual = max(line.virtual, self._virtual)
            self._enter(line)
        return item

    def cancel(self, key: K) -> bool:
        """Take an item out; returns whether it waited here."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        line = entry.line
        line.waiting -= 1
        if not line.waiting:
            line.heap.clear()
            self._turns = [turn for turn in self._turns if turn[2] is not line]
            heapq.heapify(self._turns)
        elif len(line.heap) > 2 * line.waiting + _COMPACT_MIN:
            line.heap = [ranked for ranked in line.heap if self._is_alive(ranked)]
            heapq.heapify(line.heap)
        return True

    def place(self, key: K) -> int | None:
        """How many items would leave before this one if nothing came or were at a limit; None when it is not here.

        Costs a look at each item of its tenant and at each tenant.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        line = entry.line
        ahead = sum(1 for ranked in line.heap if ranked[:2] < entry.rank and self._is_alive(ranked))
        mine = line.virtual + ahead * line.turn
        return ahead + sum(_given_before(other, mine, line.order) for _, _, other in self._turns if other is not line)

    def _make_line(self, tenant: T) -> _Line[T, K]:
        if len(self._lines) - len(self._turns) > _IDLE_MAX:
            kept = {t: line for t, line in self._lines.items() if line.waiting or line.virtual > self._virtual}
            self._lines = kept
        share = self._share(tenant)
        self._serial += 1
        line: _Line[T, K] = _Line(tenant, self._serial, _TURN // share.weight, share.running_max, self._virtual)
        self._lines[tenant] = line
        return line

    def _enter(self, line: _Line[T, K]) -> None:
        heapq.heappush(self._turns, (line.virtual, line.order, line))

    def _next(self, line: _Line[T, K]) -> V:
        while True:
            ranked = heapq.heappop(line.heap)
            if self._is_alive(ranked):
                return self._entries.pop(ranked[2]).item

    def _is_alive(self, ranked: tuple[int, int, K]) -> bool:
        entry = self._entries.get(ranked[2])
        return entry is not None and entry.rank == ranked[:2]


def _at_limit(line: _Line[T, K], running: Mapping[T, int] | None) -> bool:
    return line.running_max is not None and running is not None and running.get(line.tenant, 0) >= line.running_max


def _given_before(other: _Line[T, K], virtual: int, order: int) -> int:
    """Items of `other` that go before the item which a line of `order` gives out at virtual time `virtual`."""
    last = virtual - other.virtual - (0 if other.order < order else 1)
    return 0 if last < 0 else min(other.waiting, last // other.turn + 1)


def _equal_share(_tenant: object) -> Share:
    return Share()
