"""Asking for slots, and the order of rows and slots, over a store whose answers a test gives."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import pytest

from wingbeat_propeller.core.effects import Abort, Effects, NodeRef
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.rows import ExecutionRow
from wingbeat_propeller.engine.live import Tenant
from wingbeat_propeller.engine.slot_keeper import SlotKeeper
from wingbeat_propeller.ports.slots import ShareBook, SlotAsk, TenantShare

TENANT = ("p", "d")
KEY = ExecutionKey(1)


class Store:
    """Slots that are given when the test says so; satisfies ports.Slots."""

    def __init__(self) -> None:
        self.book = ShareBook(1, (TenantShare("p", "d", running_max=2),))
        self.calls: asyncio.Queue[tuple[list[SlotAsk], asyncio.Future[frozenset[str]]]] = asyncio.Queue()
        self.held: frozenset[str] = frozenset()

    async def open(self, term: int) -> None:
        """Not asked here."""

    async def shares(self) -> ShareBook:
        """As the test has set them."""
        return self.book

    async def admit(self, asks: Sequence[SlotAsk], *, seen: int) -> frozenset[str]:
        """A call without attempts is answered at once, any other when the test answers it."""
        if not asks:
            return frozenset()
        answer: asyncio.Future[frozenset[str]] = asyncio.get_running_loop().create_future()
        self.calls.put_nowait((list(asks), answer))
        return await answer

    async def of_executions(self, executions: Sequence[int]) -> frozenset[str]:
        """As the test has set them."""
        return self.held


class Log:
    """What the dispatcher hears, and what the journal gets; satisfies Answers and ports.Journal as far as needed."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.submitted: list[tuple[Effects, Callable[[Effects], None]]] = []
        self.runs: list[tuple[Tenant, SlotAsk]] = []

    def admitted(self, names: Sequence[str]) -> None:
        """Noted."""
        self.heard += [f"admitted {name}" for name in names]

    def refused(self, names: Sequence[str]) -> None:
        """Noted."""
        self.heard += [f"refused {name}" for name in names]

    def resume(self, project: str | None) -> None:
        """Not of interest."""

    def reweigh(self) -> None:
        """Not of interest."""

    def running(self) -> Iterable[tuple[Tenant, SlotAsk]]:
        """As the test has set them."""
        return self.runs

    def submit(self, effects: Effects, committed: Callable[[Effects], None]) -> None:
        """Noted, committed when the test says so."""
        self.submitted.append((effects, committed))


def _ask(name: str, key: ExecutionKey = KEY) -> SlotAsk:
    return SlotAsk("p", "d", key, name, "n0", 0)


def _end(*names: str, aborted: Sequence[str] = (), over: bool = False) -> Effects:
    effects = Effects(KEY)
    effects.ended += names
    effects.commands += [Abort(NodeRef(0, 2, 0), name) for name in aborted]
    effects.execution_row = ExecutionRow(KEY, 6, 1.0, ended_at=1.0 if over else None)
    return effects


@pytest.fixture
async def kept() -> AsyncIterator[tuple[SlotKeeper, Store, Log]]:
    """A keeper that knows the shares."""
    store, log = Store(), Log()
    keeper = SlotKeeper(store)
    keeper.subscribe(log)
    running = asyncio.create_task(keeper.run())
    while not keeper.is_ready:
        await asyncio.sleep(0)
    yield keeper, store, log
    running.cancel()
    await asyncio.wait([running])


Kept = tuple[SlotKeeper, Store, Log]


async def _give(kept: Kept, *names: str) -> None:
    """Ask for attempts and answer that all have slots."""
    keeper, store, log = kept
    for name in names:
        assert not keeper.may_start(TENANT, _ask(name))
    _, answer = await store.calls.get()
    answer.set_result(frozenset(names))
    while len([one for one in log.heard if one.startswith("admitted")]) < len(names):
        await asyncio.sleep(0)


async def test_who_has_no_limit_does_not_ask(kept: Kept) -> None:
    """Attempts of a tenant without a limit may start at once."""
    keeper, store, _ = kept
    other = ("q", "d")
    assert not keeper.concern(other, "a")
    assert keeper.may_start(other, SlotAsk("q", "d", KEY, "a", "n0", 0))
    assert not keeper.at_limit(other)
    assert store.calls.empty()


async def test_answers_are_passed_on(kept: Kept) -> None:
    """Each attempt hears whether it has a slot; a tenant that was refused is at its limit until slots are freed."""
    keeper, store, log = kept
    keeper.may_start(TENANT, _ask("a"))
    keeper.may_start(TENANT, _ask("b"))
    assert keeper.at_limit(TENANT), "as many as the limit are being asked for"
    _, answer = await store.calls.get()
    answer.set_result(frozenset({"a"}))
    while len(log.heard) < 2:
        await asyncio.sleep(0)
    assert log.heard == ["admitted a", "refused b"]
    assert keeper.at_limit(TENANT)
    keeper.wake("slots")
    while keeper.at_limit(TENANT):
        await asyncio.sleep(0)


async def test_a_slot_goes_with_the_rows_of_the_end(kept: Kept) -> None:
    """Rows that end an attempt name its slot; it counts until they are durable."""
    keeper, _, log = kept
    await _give(kept, "a", "b")
    effects = _end("a")
    keeper.submit(log, effects, lambda _: None)  # type: ignore[arg-type]
    assert effects.freed == ["a"]
    assert keeper.at_limit(TENANT)
    log.submitted[0][1](effects)
    assert not keeper.at_limit(TENANT)


async def test_all_slots_go_with_the_end_of_the_execution(kept: Kept) -> None:
    """Whatever attempts the rows name, the end of their execution frees all of its slots."""
    keeper, _, log = kept
    await _give(kept, "a", "b")
    effects = _end(over=True)
    keeper.submit(log, effects, lambda _: None)  # type: ignore[arg-type]
    assert sorted(effects.freed) == ["a", "b"]


async def test_rows_wait_for_the_answer_about_their_attempts(kept: Kept) -> None:
    """What ends an attempt that is being asked for, and all rows of its execution after it, go to the journal after the
    answer, in their order; the attempt is not told of its slot, which goes with them."""
    keeper, store, log = kept
    keeper.may_start(TENANT, _ask("a"))
    keeper.may_start(TENANT, _ask("other", ExecutionKey(2)))
    _, answer = await store.calls.get()
    first, second = _end(aborted=["a"]), _end("z")
    keeper.submit(log, first, lambda _: None)  # type: ignore[arg-type]
    keeper.submit(log, second, lambda _: None)  # type: ignore[arg-type]
    assert log.submitted == []
    answer.set_result(frozenset({"a", "other"}))
    await keeper.settled()
    assert [effects for effects, _ in log.submitted] == [first, second]
    assert first.freed == ["a"]
    assert log.heard == ["admitted other"]


async def test_an_attempt_that_is_about_to_be_aborted_is_not_asked_for(kept: Kept) -> None:
    """From the moment that the rows of its abort are submitted; afterwards it is forgotten."""
    keeper, store, log = kept
    effects = _end(aborted=["a"])
    keeper.submit(log, effects, lambda _: None)  # type: ignore[arg-type]
    assert not keeper.may_start(TENANT, _ask("a"))
    await asyncio.sleep(0)
    assert store.calls.empty()
    log.submitted[0][1](effects)
    assert not keeper.may_start(TENANT, _ask("a"))
    assert [ask.name for ask in (await store.calls.get())[0]] == ["a"]


async def test_slots_of_what_was_taken_over_are_found(kept: Kept) -> None:
    """An attempt that has a slot starts without asking, and counts from then on; one that has none asks."""
    keeper, store, _ = kept
    store.held = frozenset({"a"})
    keeper.taken_over(TENANT, KEY, ["a", "b"])
    await keeper.look_up([KEY])
    assert keeper.waits("a")
    assert not keeper.waits("b")
    assert keeper.may_start(TENANT, _ask("a"))
    assert not keeper.may_start(TENANT, _ask("b"))
    assert [ask.name for ask in (await store.calls.get())[0]] == ["b"]
    assert keeper.at_limit(TENANT)


async def test_slots_go_with_attempts_that_another_engine_asked_for(kept: Kept) -> None:
    """An element that ends as soon as its array is taken over was never under way here, but may have a slot."""
    keeper, _, log = kept
    keeper.inherited(TENANT, KEY, ["aborted", "ended"])
    keeper.submit(log, effects := _end("ended", "never asked for", aborted=["aborted"]), lambda _: None)
    assert effects.freed == ["ended", "aborted"]
    keeper.submit(log, later := _end(aborted=["of this engine"]), lambda _: None)
    assert not later.freed


async def test_what_runs_here_is_not_inherited(kept: Kept) -> None:
    """A slot that is held stays held, whoever began the execution."""
    keeper, _, _ = kept
    await _give(kept, "a")
    keeper.inherited(TENANT, KEY, ["a"])
    assert keeper.waits("a")


async def test_a_new_limit_counts_what_runs(kept: Kept) -> None:
    """When a tenant comes to have a limit, its attempts under way are reported as running."""
    keeper, store, log = kept
    log.runs = [(("q", "d"), SlotAsk("q", "d", KEY, "r", "n0", 0))]
    store.book = ShareBook(2, (*store.book.shares, TenantShare("q", "", running_max=1)))
    keeper.wake("shares")
    asks, answer = await store.calls.get()
    assert [(ask.name, ask.running) for ask in asks] == [("r", True)]
    answer.set_result(frozenset({"r"}))
    await keeper.settled()
    assert keeper.at_limit(("q", "d"))
