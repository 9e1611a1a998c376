"""Ready work of many tenants, given out in fair turns: a plain data structure, no clock, no tasks.

Each tenant has a line of its own, ordered by priority and then by arrival, and a virtual time that grows by
1 / weight with each item given out; the tenant with the lowest goes next. A tenant that was idle or at its limit goes
on at the virtual time of the queue, so it neither saves up turns nor waits behind what others queued before: one item
of a new tenant is next but a few, however long the other lines are.

Which tenants are at a limit is asked of the caller at each turn; the queue counts nothing that could leak. A line found
at its limit is set aside until `resume`, so that passing it over costs once and not at each turn. Virtual times are
integers, so `place` is exact.
"""

import heapq
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

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


class Turn(NamedTuple, Generic[T, K, V]):
    """An item that was given out, with what it takes to give it back."""

    tenant: T
    key: K
    item: V
    rank: tuple[int, int]
    cost: int
    """Virtual time that its tenant paid."""


@dataclass(slots=True, eq=False)
class _Line(Generic[T, K]):
    tenant: T
    order: int
    """Breaks ties between lines of equal virtual time."""
    turn: int
    virtual: int
    heap: list[tuple[int, int, K]] = field(default_factory=list[tuple[int, int, K]])
    """(-priority, serial, key); entries whose serial is not the key's any more are dead."""
    waiting: int = 0
    entered: int = 0
    """Serial of its entry among the turns; entries with another one are dead. 0: it has none."""


@dataclass(slots=True)
class _Entry(Generic[T, K, V]):
    line: _Line[T, K]
    rank: tuple[int, int]
    item: V


class FairQueue(Generic[T, K, V]):
    """Items by unique key, in lines by tenant; see the module. `weight` (1 to WEIGHT_MAX) is asked when a tenant's line
    is made, and by `reweigh`."""

    def __init__(self, *, weight: Callable[[T], int] | None = None, items_max: int = 1_000_000) -> None:
        self._weight = weight or _equal_weight
        self._items_max = items_max
        self._entries: dict[K, _Entry[T, K, V]] = {}
        self._lines: dict[T, _Line[T, K]] = {}
        self._turns: list[tuple[int, int, int, _Line[T, K]]] = []
        """(virtual time, order, serial, line) of lines with waiting items that are not set aside; some are dead."""
        self._aside: dict[T, _Line[T, K]] = {}
        self._busy = 0
        """Lines with waiting items."""
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

    @property
    def aside(self) -> Iterable[T]:
        """Tenants whose lines are set aside until `resume`."""
        return self._aside.keys()

    @property
    def waiting_aside(self) -> int:
        """Number of waiting items in those lines."""
        return sum(line.waiting for line in self._aside.values())

    def push(self, tenant: T, key: K, item: V, priority: int = 0) -> None:
        """Queue an item under a key that is not queued. Higher priorities of a tenant go first.

        Raises QueueFullError.
        """
        assert key not in self._entries, f"{key} is queued already"
        if self.full:
            raise QueueFullError(f"{self._items_max} items wait already")
        line = self._lines.get(tenant) or self._make_line(tenant)
        self._serial += 1
        self._insert(line, key, item, (-priority, self._serial))

    def pop(self, at_limit: Callable[[T], bool] | None = None) -> V | None:
        """As `take`, for callers that never give back."""
        turn = self.take(at_limit)
        return None if turn is None else turn.item

    def take(self, at_limit: Callable[[T], bool] | None = None) -> Turn[T, K, V] | None:
        """Remove and return the next item, None when nothing may go now.

        `at_limit` says whether a tenant may have no further item under way; its line is set aside then.
        """
        while self._turns:
            _, _, serial, line = heapq.heappop(self._turns)
            if line.entered != serial:
                continue
            line.entered = 0
            if at_limit is not None and at_limit(line.tenant):
                self._aside[line.tenant] = line
                continue
            key, entry = self._next(line)
            self._virtual = max(self._virtual, line.virtual)
            line.virtual += line.turn
            self._shrink(line)
            if line.waiting:
                self._enter(line)
            return Turn(line.tenant, key, entry.item, entry.rank, line.turn)
        return None

    def give_back(self, turn: Turn[T, K, V]) -> None:
        """Put an item back where it was in its line, the turn unused; the line is set aside until `resume`."""
        line = self._lines.get(turn.tenant) or self._make_line(turn.tenant)
        line.virtual -= turn.cost
        line.entered = 0
        self._aside[turn.tenant] = line
        self._insert(line, turn.key, turn.item, turn.rank)

    def entries(self) -> list[Turn[T, K, V]]:
        """All items that wait, in no order; nothing is paid for them."""
        return [Turn(entry.line.tenant, key, entry.item, entry.rank, 0) for key, entry in self._entries.items()]

    def insert(self, turn: Turn[T, K, V]) -> None:
        """Queue an item that waited in another queue, with the rank it had there."""
        assert turn.key not in self._entries, f"{turn.key} is queued already"
        line = self._lines.get(turn.tenant) or self._make_line(turn.tenant)
        self._serial = max(self._serial, turn.rank[1])
        self._insert(line, turn.key, turn.item, turn.rank)

    def resume(self, tenants: Iterable[T] | None = None) -> None:
        """These tenants (all of them by default) may be below their limit again."""
        for tenant in list(self._aside if tenants is None else tenants):
            line = self._aside.pop(tenant, None)
            if line is not None and line.waiting:
                line.virtual = max(line.virtual, self._virtual)
                self._enter(line)

    def reweigh(self) -> None:
        """Ask for all weights again; they count from the next turns on."""
        for tenant, line in self._lines.items():
            line.turn = self._turn_of(tenant)

    def cancel(self, key: K) -> bool:
        """Take an item out; returns whether it waited here."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        line = entry.line
        self._shrink(line)
        if not line.waiting:
            line.heap.clear()
        elif len(line.heap) > 2 * line.waiting + _COMPACT_MIN:
            line.heap = [ranked for ranked in line.heap if self._is_alive(ranked)]
            heapq.heapify(line.heap)
        return True

    def place_in_line(self, key: K) -> int | None:
        """How many items of its own tenant leave before this one; None when it is not here. Costs as `place`."""
        entry = self._entries.get(key)
        return None if entry is None else self._before(entry)

    def place(self, key: K) -> int | None:
        """How many items would leave before this one if nothing came or were at a limit; None when it is not here.

        Costs a look at each item of its tenant and at each tenant.
        """
        entry = self._entries.get(key)
        if entry is None:
            return None
        line = entry.line
        ahead = self._before(entry)
        mine = line.virtual + ahead * line.turn
        others = (other for other in self._lines.values() if other.waiting and other is not line)
        return ahead + sum(_given_before(other, mine, line.order) for other in others)

    def _before(self, entry: _Entry[T, K, V]) -> int:
        return sum(1 for ranked in entry.line.heap if ranked[:2] < entry.rank and self._is_alive(ranked))

    def _insert(self, line: _Line[T, K], key: K, item: V, rank: tuple[int, int]) -> None:
        self._entries[key] = _Entry(line, rank, item)
        heapq.heappush(line.heap, (*rank, key))
        line.waiting += 1
        if line.waiting == 1:
            self._busy += 1
            if line.tenant not in self._aside:
                line.virtual = max(line.virtual, self._virtual)
                self._enter(line)

    def _shrink(self, line: _Line[T, K]) -> None:
        """One item less waits; an empty line has no turn and is not set aside."""
        line.waiting -= 1
        if not line.waiting:
            self._busy -= 1
            line.entered = 0
            self._aside.pop(line.tenant, None)

    def _make_line(self, tenant: T) -> _Line[T, K]:
        if len(self._lines) - self._busy > _IDLE_MAX:
            kept = {t: line for t, line in self._lines.items() if line.waiting or line.virtual > self._virtual}
            self._lines = kept
        self._serial += 1
        line: _Line[T, K] = _Line(tenant, self._serial, self._turn_of(tenant), self._virtual)
        self._lines[tenant] = line
        return line

    def _turn_of(self, tenant: T) -> int:
        weight = self._weight(tenant)
        assert 1 <= weight <= WEIGHT_MAX, f"a weight is between 1 and {WEIGHT_MAX}, not {weight}"
        return _TURN // weight

    def _enter(self, line: _Line[T, K]) -> None:
        if len(self._turns) > 2 * self._busy + _COMPACT_MIN:
            self._turns = [turn for turn in self._turns if turn[3].entered == turn[2]]
            heapq.heapify(self._turns)
        self._serial += 1
        line.entered = self._serial
        heapq.heappush(self._turns, (line.virtual, line.order, line.entered, line))

    def _next(self, line: _Line[T, K]) -> tuple[K, _Entry[T, K, V]]:
        while True:
            ranked = heapq.heappop(line.heap)
            if self._is_alive(ranked):
                return ranked[2], self._entries.pop(ranked[2])

    def _is_alive(self, ranked: tuple[int, int, K]) -> bool:
        entry = self._entries.get(ranked[2])
        return entry is not None and entry.rank == ranked[:2]


def _given_before(other: _Line[T, K], virtual: int, order: int) -> int:
    """Items of `other` that go before the item which a line of `order` gives out at virtual time `virtual`."""
    last = virtual - other.virtual - (0 if other.order < order else 1)
    return 0 if last < 0 else min(other.waiting, last // other.turn + 1)


def _equal_weight(_tenant: object) -> int:
    return 1
