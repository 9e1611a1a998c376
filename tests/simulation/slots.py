"""Shares and slots of the simulated Postgres: what migration 0005 and slots.sql do, written once more.

`admit` follows the function of that name line by line; tests/integration/tenants holds the real one to the same rules.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wingbeat_propeller.ports.slots import SlotAsk

Scope = tuple[str, str]
WAIT_S = 2.0


@dataclass(slots=True)
class Share:
    """A row of tenant_shares."""

    weight: int | None
    running_max: int | None
    limited_at: int


@dataclass(slots=True)
class _Wait:
    since: float
    asked_at: float


@dataclass(slots=True)
class SimulatedSlots:
    """The tables. `admitted` hears of every scope with its limit and the slots taken in it, after a call that took some
    by the rules and not because their attempts ran already."""

    shares: dict[Scope, Share] = field(default_factory=dict[Scope, Share])
    revision: int = 0
    seen: dict[int, int] = field(default_factory=dict[int, int])
    """Revision by term."""
    taken: dict[tuple[int, str], Scope] = field(default_factory=dict[tuple[int, str], Scope])
    """Tenant by execution and attempt."""
    waits: dict[tuple[Scope, int], _Wait] = field(default_factory=dict[tuple[Scope, int], _Wait])
    admitted: Callable[[Scope, int, int], None] = lambda _scope, _running_max, _taken: None

    def set(self, scope: Scope, weight: int | None, running_max: int | None) -> None:
        """What SetShare does."""
        self.revision += 1
        former = self.shares.get(scope)
        was_limited = former is not None and former.running_max is not None
        limited_at = former.limited_at if former is not None and was_limited else self.revision
        self.shares[scope] = Share(weight, running_max, limited_at)

    def delete(self, scope: Scope) -> None:
        """What DeleteShare does."""
        self.revision += 1
        self.shares.pop(scope, None)
        self.waits = {key: wait for key, wait in self.waits.items() if key[0] != scope}

    def end_term(self, term: int) -> None:
        """A member is deleted."""
        self.seen.pop(term, None)
        self.waits = {key: wait for key, wait in self.waits.items() if key[1] != term}

    def free(self, slots: Sequence[tuple[int, str]], ended: Sequence[int]) -> int:
        """Delete slots, and all of executions that have ended; returns how many there were."""
        gone = [slot for slot in self.taken if slot in slots or slot[0] in ended]
        for slot in gone:
            del self.taken[slot]
        return len(gone)

    def admit(self, term: int, seen: int, asks: Sequence[SlotAsk], now: float) -> list[int]:
        """Places, from 1, of the asks that have a slot now."""
        self.seen[term] = max(self.seen.get(term, 0), seen)
        scopes = {
            scope: share
            for scope, share in sorted(self.shares.items())
            if share.running_max is not None and any(_is_in(ask, scope) for ask in asks)
        }
        held = {place for place, ask in enumerate(asks, start=1) if (ask.execution, ask.name) in self.taken}
        running = {place for place, ask in enumerate(asks, start=1) if ask.running}
        for place in running - held:
            ask = asks[place - 1]
            self.taken[ask.execution, ask.name] = (ask.project, ask.domain)
        room = {scope: self._room(term, scope, share, now) for scope, share in scopes.items()}
        got: dict[Scope, int] = {}
        missed: dict[Scope, int] = {}
        admitted: set[int] = set()
        for place, ask in enumerate(asks, start=1):
            if place in held or place in running:
                continue
            limited = [scope for scope in ((ask.project, ask.domain), (ask.project, "")) if scope in room]
            full = next((scope for scope in limited if room[scope] <= 0), None)
            for scope in limited:
                got.setdefault(scope, 0)
                missed.setdefault(scope, 0)
                missed[scope] += scope == full
                got[scope] += full is None
                room[scope] -= full is None
            if full is None:
                self.taken[ask.execution, ask.name] = (ask.project, ask.domain)
                admitted.add(place)
        for scope, count in got.items():
            self._wait(term, scope, got=count, missed=missed[scope], now=now)
            if count:
                running_max = scopes[scope].running_max
                assert running_max is not None
                self.admitted(scope, running_max, self._count(scope))
        return sorted(held | running | admitted)

    def _room(self, term: int, scope: Scope, share: Share, now: float) -> int:
        if any(seen < share.limited_at for seen in self.seen.values()):
            return 0
        own = self.waits.get((scope, term))
        since = float("inf") if own is None else own.since
        before = sum(
            1
            for (where, other), wait in self.waits.items()
            if where == scope and other != term and wait.asked_at > now - WAIT_S and wait.since < since
        )
        assert share.running_max is not None
        return share.running_max - self._count(scope) - before

    def _count(self, scope: Scope) -> int:
        return sum(1 for tenant in self.taken.values() if scope in (tenant, (tenant[0], "")))

    def _wait(self, term: int, scope: Scope, *, got: int, missed: int, now: float) -> None:
        key = (scope, term)
        if not missed:
            self.waits.pop(key, None)
            return
        former = self.waits.get(key)
        since = now if former is None or got else former.since
        self.waits[key] = _Wait(since, now)


def _is_in(ask: SlotAsk, scope: Scope) -> bool:
    return scope in ((ask.project, ask.domain), (ask.project, ""))
