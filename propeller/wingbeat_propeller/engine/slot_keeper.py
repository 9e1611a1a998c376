"""Which attempts may go to the runtime: those of tenants without a limit at once, the others once they have a slot.

The dispatcher takes an attempt out of the fair queue and asks `may_start`. When its tenant has a limit, the attempt is
asked for in the database (`ports.Slots`), many in one call and one call at a time, and the answer comes by `Answers`.
A tenant that was refused something is at its limit here until slots are freed anywhere (a notification), shares change,
or a moment has passed, so that a lost notification costs no more than that moment.

Exactness rests on the order of two writes: a slot is written before its attempt may run, and goes with the rows that
record the attempt's end. `submit` stands between the engine and the journal to keep that order. It names the slots that
go with rows, holds rows back that end an attempt which is being asked for just now (the call could write the slot after
the rows are in, and nobody would free it), and remembers whose end is on its way to the journal: such an attempt is not
asked for. Whoever takes an execution over reads which slots it has.

Nothing here is durable. A slot may be known here and not be there (a call without an answer); never the other way.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

import structlog
from prometheus_client import Counter as CounterMetric
from prometheus_client import Gauge, Histogram

from wingbeat_propeller.core.effects import Abort, Effects
from wingbeat_propeller.engine.live import Tenant
from wingbeat_propeller.engine.shares import Scope, Shares, scopes_of
from wingbeat_propeller.ports.journal import Journal
from wingbeat_propeller.ports.slots import SlotAsk, Slots

_log = structlog.get_logger(__name__)
_SLOTS = Gauge("wingbeat_tenant_slots", "Attempts of this engine that count against a tenant's limit")
_HELD_BACK = Gauge("wingbeat_admission_held_effects", "Effects that wait for the answer to an admission")
_ANSWERS = CounterMetric("wingbeat_admissions", "Attempts asked a slot for", ["outcome"])
_ADMITTED = _ANSWERS.labels("admitted")
_REFUSED = _ANSWERS.labels("refused")
_CALL_SECONDS = Histogram(
    "wingbeat_admission_seconds",
    "Time of one call for slots, repetitions included",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
_REVISION = Gauge("wingbeat_shares_revision", "Revision of tenants' shares that this engine goes by")

ASKS_MAX = 1_000
"""Attempts asked for in one call, beside those that run already."""
REFUSED_S = 0.5
"""How long a tenant that was refused is left alone when no notification comes."""
_RETRY_S = 0.2

Committed = Callable[[Effects], None]


class Answers(Protocol):
    """The dispatcher, as far as admission knows it."""

    def admitted(self, names: Sequence[str]) -> None:
        """These attempts have their slots."""
        ...

    def refused(self, names: Sequence[str]) -> None:
        """These have none; they go back to their lines."""
        ...

    def resume(self, project: str | None) -> None:
        """Tenants of this project (None: of any) may be below their limits again."""
        ...

    def reweigh(self) -> None:
        """Weights have changed."""
        ...

    def running(self) -> Iterable[tuple[Tenant, SlotAsk]]:
        """Every attempt that is starting or running here and may need a slot."""
        ...


class _State(Enum):
    UNKNOWN = 0
    """Not looked up yet after a take-over."""
    ASKED = 1
    HELD = 2


@dataclass(slots=True)
class _Slot:
    tenant: Tenant
    execution: int
    state: _State
    counts: bool = False
    """Its attempt is not waiting in the queue."""


class _HeldBack(NamedTuple):
    effects: Effects
    ended: Sequence[str]
    """Attempts that end with these rows and may have slots by the time that they are submitted."""
    committed: Committed


class SlotKeeper:
    """See the module. Life: `run` beside the dispatcher, over `slots`; without them no tenant has a limit."""

    def __init__(self, slots: Slots | None = None, *, poll_s: float = 2.0) -> None:
        self._store = slots
        self._poll_s = poll_s
        self._answers: Answers | None = None
        self._shares = Shares()
        self._revision = -1
        self._slots: dict[str, _Slot] = {}
        self._by_execution: defaultdict[int, set[str]] = defaultdict(set)
        self._counts: Counter[Scope] = Counter()
        self._to_ask: dict[str, SlotAsk] = {}
        self._asking: Mapping[str, SlotAsk] = {}
        self._asked: Counter[Tenant] = Counter()
        self._asked_max: dict[Tenant, int] = {}
        """How many attempts of a tenant that was refused some are worth asking for at once."""
        self._refused: set[Tenant] = set()
        self._held_back: dict[int, list[_HeldBack]] = {}
        self._aborting: dict[int, set[str]] = {}
        """Attempts by execution that are aborted as soon as the rows about it are durable."""
        self._journal: Journal | None = None
        self._settled = asyncio.Event()
        self._settled.set()
        self._work = asyncio.Event()
        self._stale = True
        self._freed = False
        self._refused_until = float("inf")

    # ---- what the dispatcher asks ----

    def subscribe(self, answers: Answers) -> None:
        """Set the receiver of answers."""
        self._answers = answers

    @property
    def is_ready(self) -> bool:
        """Whether the shares are known; nothing may start before."""
        return self._store is None or self._revision >= 0

    def weight(self, tenant: Tenant) -> int:
        """Of a tenant in the fair queue."""
        return self._shares.weight(tenant)

    def limits(self, tenant: Tenant) -> tuple[tuple[Scope, int], ...]:
        """The limits that hold for a tenant."""
        return self._shares.limits(tenant)

    def at_limit(self, tenant: Tenant) -> bool:
        """Whether it would be in vain, or too early, to ask for a further slot of this tenant."""
        limits = self._shares.limits(tenant)
        if not limits:
            return False
        return (
            tenant in self._refused
            or any(self._counts[scope] >= running_max for scope, running_max in limits)
            or self._asked[tenant] >= self._asked_max.get(tenant, ASKS_MAX)
        )

    def may_start(self, tenant: Tenant, ask: SlotAsk) -> bool:
        """Whether an attempt may go to the runtime at once. False: it is asked for, and the answer comes later, unless
        its abort does."""
        slot = self._slots.get(ask.name)
        if slot is not None and slot.state is _State.HELD:
            self._count(slot)
            return True
        if not self._shares.limits(tenant):
            return True
        if not self._is_aborting(ask):
            self._ask(tenant, ask)
        return False

    def concern(self, tenant: Tenant, name: str) -> bool:
        """Whether `may_start` is to be asked at all; no for most."""
        return name in self._slots or bool(self._shares.limits(tenant))

    def runs(self, tenant: Tenant, ask: SlotAsk) -> None:
        """An attempt that was taken over runs: it counts, whether it has a slot or not."""
        slot = self._slots.get(ask.name)
        if slot is not None and slot.state is _State.HELD:
            self._count(slot)
        elif self._shares.limits(tenant) and not self._is_aborting(ask):
            self._ask(tenant, ask._replace(running=True))

    def waits(self, name: str) -> bool:
        """An attempt goes back to its line; returns whether it has a slot, which it keeps."""
        slot = self._slots.get(name)
        if slot is None or slot.state is not _State.HELD:
            return False
        self._uncount(slot)
        self._tell.resume(slot.tenant[0])
        return True

    async def look_up(self, executions: Sequence[int]) -> None:
        """Learn which attempts of executions that were taken over have slots. Rides outages out."""
        if self._store is None:
            return
        while True:
            try:
                found = await self._store.of_executions(executions)
                break
            except OSError as error:
                _log.warning("slots not read, trying again", error=str(error))
            await asyncio.sleep(_RETRY_S)
        for execution in executions:
            for name in list(self._by_execution.get(execution, ())):
                slot = self._slots[name]
                if slot.state is not _State.UNKNOWN:
                    continue
                if name in found:
                    slot.state = _State.HELD
                else:
                    self._remove(name)

    def forget(self, execution: int) -> None:
        """The execution has ended, or belongs to another engine from now on; its slots are not this one's business."""
        removed = [self._remove(name) for name in list(self._by_execution.get(execution, ()))]
        self._aborting.pop(execution, None)
        for project in {slot.tenant[0] for slot in removed if slot is not None}:
            self._tell.resume(project)

    # ---- what stands between engine and journal ----

    def taken_over(self, tenant: Tenant, execution: int, names: Iterable[str]) -> None:
        """These attempts were under way in another engine: they may have slots."""
        if self._store is not None:
            for name in names:
                self._add(name, _Slot(tenant, execution, _State.UNKNOWN))

    def inherited(self, tenant: Tenant, execution: int, names: Iterable[str]) -> None:
        """These attempts are about to end without ever having been under way here: elements of an array that fails
        when it is taken over, say. The engine before may have got slots for them, which go with the rows of the end."""
        if self._store is not None:
            for name in names:
                if name not in self._slots:
                    self._add(name, _Slot(tenant, execution, _State.UNKNOWN))

    def submit(self, journal: Journal, effects: Effects, committed: Committed) -> None:
        """Hand rows to the journal, with the slots that they free."""
        if self._store is not None and effects.commands:
            committed = self._remember_aborts(effects, committed)
        if self._slots or self._held_back:
            self._journal = journal
            ended = self._ended(effects)
            for name in ended:
                if name in self._to_ask:
                    self._remove(name)  # nobody has heard of it
            if effects.execution in self._held_back or any(name in self._asking for name in ended):
                self._held_back.setdefault(effects.execution, []).append(_HeldBack(effects, ended, committed))
                _HELD_BACK.inc()
                return
            if ended:
                self._free(journal, effects, ended, committed)
                return
        journal.submit(effects, committed)

    def _remember_aborts(self, effects: Effects, committed: Committed) -> Committed:
        aborted = [command.name for command in effects.commands if isinstance(command, Abort)]
        if not aborted:
            return committed
        self._aborting.setdefault(effects.execution, set()).update(aborted)

        def forget(done: Effects) -> None:
            names = self._aborting.get(done.execution, set())
            names.difference_update(aborted)
            if not names:
                self._aborting.pop(done.execution, None)
            committed(done)

        return forget

    def _is_aborting(self, ask: SlotAsk) -> bool:
        return ask.name in self._aborting.get(ask.execution, ())

    async def settled(self) -> None:
        """Wait until nothing is being asked for and no rows are held back."""
        await self._settled.wait()

    def _ended(self, effects: Effects) -> list[str]:
        """Attempts that end with these rows and may have slots."""
        names = [*effects.ended, *(command.name for command in effects.commands if isinstance(command, Abort))]
        row = effects.execution_row
        if row is not None and row.ended_at is not None:
            names += self._by_execution.get(effects.execution, ())
        return [name for name in dict.fromkeys(names) if name in self._slots]

    def _free(self, journal: Journal, effects: Effects, ended: Sequence[str], committed: Committed) -> None:
        effects.freed = list(ended)

        def freed(done: Effects) -> None:
            projects = {slot.tenant[0] for name in done.freed if (slot := self._remove(name)) is not None}
            committed(done)
            for project in projects:
                self._tell.resume(project)

        journal.submit(effects, freed)

    # ---- the calls ----

    def wake(self, reason: str) -> None:
        """Something of kind `reason` ("shares", "slots") may have happened."""
        if reason == "shares":
            self._stale = True
        else:
            self._freed = True
        self._work.set()

    async def run(self) -> None:
        """Read shares and ask for slots until cancelled. Raises LeaseLostError."""
        store = self._store
        if store is None:
            return
        read_again = 0.0
        while True:
            now = _now()
            if self._stale or now >= read_again:
                if await self._read_shares(store):
                    read_again = _now() + self._poll_s
                else:
                    await asyncio.sleep(_RETRY_S)
                    continue
            if self._refused and (self._freed or now >= self._refused_until):
                self._resume_refused()
            self._freed = False
            if self._to_ask:
                await self._call(store)
            elif not self._work.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(min(read_again, self._refused_until)):
                        await self._work.wait()
            self._work.clear()

    async def _read_shares(self, store: Slots) -> bool:
        """Go by the shares as they are now; returns whether they could be read."""
        self._stale = False
        try:
            book = await store.shares()
        except OSError as error:
            _log.warning("shares of tenants not read, trying again", error=str(error))
            self._stale = True
            return False
        if book.revision == self._revision:
            return True
        self._shares = Shares(book.shares)
        self._revision = book.revision
        _REVISION.set(book.revision)
        _log.info("shares of tenants", revision=book.revision, shares=len(book.shares))
        for tenant, ask in self._tell.running():
            self.runs(tenant, ask)
        self._asked_max.clear()
        self._tell.reweigh()
        self._resume_refused()
        await self._call(store)
        return True

    def _resume_refused(self) -> None:
        self._refused.clear()
        self._refused_until = float("inf")
        self._tell.resume(None)

    async def _call(self, store: Slots) -> None:
        """Ask for what is to be asked for, however often it takes to get an answer."""
        asks = [ask for ask in self._to_ask.values() if ask.running]
        asks += [ask for ask in self._to_ask.values() if not ask.running][:ASKS_MAX]
        self._asking = {ask.name: ask for ask in asks}
        for name in self._asking:
            del self._to_ask[name]
        self._settled.clear()
        revision = self._revision
        with _CALL_SECONDS.time():
            while True:
                try:
                    admitted = await store.admit(asks, seen=revision)
                    break
                except OSError as error:
                    _log.warning("no slots to be had, trying again", error=str(error))
                await asyncio.sleep(_RETRY_S)
        self._answered(admitted)

    def _answered(self, admitted: frozenset[str]) -> None:
        asked, self._asking = self._asking, {}
        given: list[str] = []
        refused: list[str] = []
        outcome: defaultdict[Tenant, list[int]] = defaultdict(lambda: [0, 0])
        for name, ask in asked.items():
            slot = self._slots.get(name)
            if not ask.running:
                tenant = (ask.project, ask.domain)
                self._asked[tenant] -= 1
                outcome[tenant][name in admitted] += 1
            if slot is None:
                continue  # it has moved to another engine meanwhile, its slot with it
            if name in admitted:
                slot.state = _State.HELD
                if not ask.running:
                    given.append(name)
            else:
                self._remove(name)
                refused.append(name)
        for tenant, (missed, got) in outcome.items():
            _ADMITTED.inc(got)
            _REFUSED.inc(missed)
            self._learn(tenant, got=got, missed=missed)
        ended = self._let_go()
        self._tell.admitted([name for name in given if name not in ended])
        self._tell.refused([name for name in refused if name not in ended])
        # Lines that were set aside for what was being asked for: others of the project may have room now.
        for project in {tenant[0] for tenant in outcome}:
            self._tell.resume(project)
        self._settled.set()

    def _learn(self, tenant: Tenant, *, got: int, missed: int) -> None:
        """Ask for about as many as there are slots to be had, and leave a tenant alone that was refused some."""
        if missed:
            self._refused_until = min(self._refused_until, _now() + REFUSED_S)
            self._refused.add(tenant)
            self._asked_max[tenant] = got + 1
        elif tenant in self._asked_max:
            self._asked_max[tenant] *= 2

    def _let_go(self) -> set[str]:
        """Submit the rows that were held back, in their order; returns the attempts that end with them."""
        held, self._held_back = self._held_back, {}
        _HELD_BACK.set(0)
        ended: set[str] = set()
        for batch in held.values():
            for entry in batch:
                assert self._journal is not None, "rows are held back on their way to the journal"
                ended.update(entry.ended)
                self._free(self._journal, entry.effects, entry.ended, entry.committed)
        return ended

    # ---- small parts ----

    @property
    def _tell(self) -> Answers:
        assert self._answers is not None, "the dispatcher has subscribed"
        return self._answers

    def _ask(self, tenant: Tenant, ask: SlotAsk) -> None:
        slot = _Slot(tenant, ask.execution, _State.ASKED)
        self._add(ask.name, slot)
        self._count(slot)
        if not ask.running:
            self._asked[tenant] += 1
        self._to_ask[ask.name] = ask
        self._work.set()

    def _add(self, name: str, slot: _Slot) -> None:
        self._remove(name)
        self._slots[name] = slot
        self._by_execution[slot.execution].add(name)
        _SLOTS.set(len(self._slots))

    def _count(self, slot: _Slot) -> None:
        if not slot.counts:
            slot.counts = True
            for scope in scopes_of(slot.tenant):
                self._counts[scope] += 1

    def _uncount(self, slot: _Slot) -> None:
        if slot.counts:
            slot.counts = False
            for scope in scopes_of(slot.tenant):
                self._counts[scope] -= 1

    def _remove(self, name: str) -> _Slot | None:
        slot = self._slots.pop(name, None)
        if slot is None:
            return None
        ask = self._to_ask.pop(name, None)
        if ask is not None and not ask.running:
            self._asked[slot.tenant] -= 1
        names = self._by_execution[slot.execution]
        names.discard(name)
        if not names:
            del self._by_execution[slot.execution]
        self._uncount(slot)
        _SLOTS.set(len(self._slots))
        return slot


def _now() -> float:
    return asyncio.get_running_loop().time()
