"""Calls of cacheable tasks on their way to the cache and back, and reservations, on a clock that jumps."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.memory_cache import MemoryCache
from tests.unit.core.arrays import outputs
from tests.unit.engine.test_dispatcher import _live

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.caching import CacheStatus, ReservationStatus
from wingbeat_propeller.core.effects import Keep, LookUp, LookUpElements, NodeRef, Reserve, Unreserve
from wingbeat_propeller.core.events import ElementsLookedUp, Event, Kept, LookedUp, ReservationHeld, Reserved
from wingbeat_propeller.core.values import INLINE_BYTES_MAX, Ref, build_literal_map
from wingbeat_propeller.engine.cache_keeper import CALL_S, CacheKeeper
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.engine.reservation_keeper import GIVE_UP_S, HEARTBEAT_S, ReservationKeeper
from wingbeat_propeller.ports.cache import CacheAsk, CachePut, CacheSource

pytestmark = pytest.mark.looptime

TASK = CachedTask("p", "d", "t", "v", "1", b"", serialized=True)
SOURCE = CacheSource("p", "d", "e", "n0", 0, -1, "v")


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _inputs(number: int) -> bytes:
    return build_literal_map({"x": b"\x0a\x04\x0a\x02\x08" + bytes((number,))})


class Bench:
    """Both keepers over a cache in memory; `events` is what the core is told."""

    def __init__(self, folder: Path) -> None:
        self.blobs = FolderBlobs(folder)
        self.cache = MemoryCache(_clock)
        self.events: list[tuple[LiveExecution, Event]] = []
        self.live = _live(1)
        given: dict[str, Callable[..., object]] = {
            "apply": self._apply,
            "is_live": lambda _: True,
            "clock": _clock,
        }
        self.keeper = CacheKeeper(self.cache, self.blobs, **given)  # pyright: ignore[reportArgumentType]
        self.reservations = ReservationKeeper(self.cache, self.blobs, **given)  # pyright: ignore[reportArgumentType]

    def _apply(self, live: LiveExecution, event: Event) -> None:
        self.events.append((live, event))

    def call(self, node: int, number: int = 0, *, inputs: bytes | None = None) -> LookUp:
        """A call of node `node`."""
        base = f"{self.blobs.base}/{node}"
        given = _inputs(number) if inputs is None else inputs
        return LookUp(NodeRef(0, node, 0), TASK, given, f"{base}/inputs.pb", f"{base}/outputs.pb")

    def claim(self, node: int, owner: str, number: int = 0) -> Reserve:
        """A wish to make it."""
        return Reserve(self.call(node, number), b"", owner)

    async def until(self, count: int) -> list[Event]:
        """The first `count` events, once they are there."""
        while len(self.events) < count:
            await asyncio.sleep(0.01)
        return [event for _, event in self.events[:count]]

    async def knows(self, number: int, made: bytes) -> None:
        """Let the cache have an entry."""
        await self.cache.put([CachePut(CacheAsk(TASK, _inputs(number)), made, SOURCE)])


@asynccontextmanager
async def _running(folder: Path) -> AsyncGenerator[Bench]:
    bench = Bench(folder)
    tasks = [asyncio.create_task(bench.keeper.run()), asyncio.create_task(bench.reservations.run())]
    await asyncio.sleep(0.1)
    try:
        yield bench
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_one_turn_asks_for_is_one_question(tmp_path: Path) -> None:
    """Hits and misses, each with its own answer."""
    async with _running(tmp_path) as bench:
        await bench.knows(1, outputs(7))
        for node in range(100):
            bench.keeper.ask(bench.live, bench.call(node, node % 2))
        events = await bench.until(100)
        assert bench.cache.calls["look_up"] == 1
        assert all(isinstance(event, LookedUp) for event in events)
        found = {event.ref.node: event for event in events if isinstance(event, LookedUp)}
        assert (found[0].status, found[1].status) == (CacheStatus.MISS, CacheStatus.HIT)
        assert found[1].serialized == outputs(7)


async def test_large_values_are_read_and_stored(tmp_path: Path) -> None:
    """Inputs that stand in the store are read for the key, outputs of a hit are put where the node expects them."""
    async with _running(tmp_path) as bench:
        inputs = build_literal_map({"x": b"x" * INLINE_BYTES_MAX})
        made = build_literal_map({"o0": b"y" * (INLINE_BYTES_MAX + 1)})
        await bench.cache.put([CachePut(CacheAsk(TASK, inputs), made, SOURCE)])
        call = bench.call(1)._replace(inputs=None)
        await bench.blobs.put(call.inputs_uri, inputs)
        bench.keeper.ask(bench.live, call)
        (event,) = await bench.until(1)
        assert isinstance(event, LookedUp)
        assert (event.status, event.serialized) == (CacheStatus.HIT, None)
        assert event.values == {"o0": Ref(call.outputs_uri, "o0")}
        assert await bench.blobs.get(call.outputs_uri) == made
        missing = bench.call(2)._replace(inputs=None)
        bench.keeper.ask(bench.live, missing)
        event = (await bench.until(2))[1]
        assert isinstance(event, LookedUp)
        assert event.status == CacheStatus.LOOKUP_FAILURE


async def test_a_page_of_elements_is_answered_as_one(tmp_path: Path) -> None:
    """In its order."""
    async with _running(tmp_path) as bench:
        await bench.knows(2, outputs(2))
        calls = [bench.call(5, number)._replace(ref=NodeRef(0, 5, 0, number)) for number in range(4)]
        bench.keeper.ask(bench.live, LookUpElements(NodeRef(0, 5, 0), calls))
        (event,) = await bench.until(1)
        assert isinstance(event, ElementsLookedUp)
        assert [answer.status for answer in event.answers] == [1, 1, CacheStatus.HIT, 1]


@pytest.mark.parametrize("method", ["look_up", "put"])
async def test_a_cache_that_fails_is_told_within_bounds(tmp_path: Path, method: str) -> None:
    """After a second try, a failure."""
    async with _running(tmp_path) as bench:
        bench.cache.failing.add(method)
        began = _clock()
        call = bench.call(1)
        bench.keeper.ask(bench.live, call if method == "look_up" else Keep(call, outputs(1), "", "n0", False))
        (event,) = await bench.until(1)
        assert isinstance(event, LookedUp | Kept)
        expected = CacheStatus.LOOKUP_FAILURE if method == "look_up" else CacheStatus.PUT_FAILURE
        assert event.status == expected
        assert bench.cache.calls[method] == 2
        assert _clock() - began < 2 * CALL_S + 1


async def test_puts_say_where_they_come_from(tmp_path: Path) -> None:
    """Execution, node, attempt and the version of the task."""
    async with _running(tmp_path) as bench:
        bench.keeper.ask(bench.live, Keep(bench.call(1), outputs(1), "", "n7", False))
        (event,) = await bench.until(1)
        assert isinstance(event, Kept)
        assert event.status == CacheStatus.POPULATED
        ((made, source),) = bench.cache.entries.values()
        state = bench.live.state
        assert made == outputs(1)
        assert source == CacheSource(state.project, state.domain, state.name, "n7", 0, -1, "v")


# ---- reservations ----


async def test_of_many_one_makes_it_and_all_share(tmp_path: Path) -> None:
    """A hundred claims: one gets the reservation, the others hear of its end and hit, without polling rounds."""
    async with _running(tmp_path) as bench:
        for node in range(100):
            bench.reservations.reserve(bench.live, bench.claim(node, f"o{node}"))
        events = await bench.until(100)
        (first,) = (event for event in events if isinstance(event, Reserved))
        assert sum(isinstance(event, ReservationHeld) for event in events) == 99
        await bench.knows(0, outputs(7))
        asked, began = bench.cache.calls["reserve"], _clock()
        bench.reservations.let_go(bench.live, Unreserve(first.ref, b"", f"o{first.ref.node}"))
        hits = (await bench.until(199))[100:]
        assert {event.status for event in hits if isinstance(event, LookedUp)} == {CacheStatus.HIT}
        assert bench.cache.calls["reserve"] == asked
        assert _clock() - began < 1
        assert not bench.cache.reservations


async def test_a_reservation_is_kept_alive_while_its_call_runs(tmp_path: Path) -> None:
    """Well beyond the time after which it would lapse."""
    async with _running(tmp_path) as bench:
        bench.reservations.reserve(bench.live, bench.claim(1, "a"))
        bench.reservations.reserve(bench.live, bench.claim(2, "b"))
        await bench.until(2)
        await asyncio.sleep(10 * HEARTBEAT_S)
        assert [type(event) for _, event in bench.events].count(Reserved) == 1
        ((owner, until),) = bench.cache.reservations.values()
        assert owner == "a"
        assert until > _clock() + HEARTBEAT_S


async def test_a_dead_owner_is_replaced(tmp_path: Path) -> None:
    """When what it had has lapsed; nobody is told of anything by it."""
    async with _running(tmp_path) as bench:
        bench.reservations.reserve(bench.live, bench.claim(1, "dead"))
        await bench.until(1)
        bench.reservations.drop(bench.live)
        other = _live(99)
        began = _clock()
        bench.reservations.reserve(other, bench.claim(1, "alive"))
        while not any(isinstance(event, Reserved) and live is other for live, event in bench.events):
            await asyncio.sleep(0.1)
        assert 2 * HEARTBEAT_S < _clock() - began < 3 * HEARTBEAT_S + 2


async def test_one_that_fails_lets_the_next_one_run(tmp_path: Path) -> None:
    """At once: it lets go, and there is no entry."""
    async with _running(tmp_path) as bench:
        for node in (1, 2):
            bench.reservations.reserve(bench.live, bench.claim(node, f"o{node}"))
        await bench.until(2)
        began = _clock()
        bench.reservations.let_go(bench.live, Unreserve(NodeRef(0, 1, 0), b"", "o1"))
        event = (await bench.until(3))[2]
        assert event == Reserved(event.now, NodeRef(0, 2, 0), ReservationStatus.ACQUIRED)
        assert _clock() - began < 1


async def test_what_was_made_before_the_reservation_is_not_made_again(tmp_path: Path) -> None:
    """Whoever gets one looks once more."""
    async with _running(tmp_path) as bench:
        await bench.knows(0, outputs(3))
        bench.reservations.reserve(bench.live, bench.claim(1, "a"))
        (event,) = await bench.until(1)
        assert isinstance(event, LookedUp)
        assert event.serialized == outputs(3)
        await asyncio.sleep(0.1)
        assert not bench.cache.reservations


@pytest.mark.parametrize("method", ["look_up", "reserve"])
async def test_a_cache_that_fails_keeps_nobody_for_long(tmp_path: Path, method: str) -> None:
    """The call is made without a reservation."""
    async with _running(tmp_path) as bench:
        bench.cache.failing.add(method)
        began = _clock()
        bench.reservations.reserve(bench.live, bench.claim(1, "a"))
        (event,) = await bench.until(1)
        assert event == Reserved(event.now, NodeRef(0, 1, 0), ReservationStatus.FAILURE)
        assert GIVE_UP_S <= _clock() - began < GIVE_UP_S + 2


async def test_a_restart_goes_on_with_a_reservation(tmp_path: Path) -> None:
    """One that runs is extended by the same owner, and nothing is told."""
    async with _running(tmp_path) as bench:
        bench.reservations.reserve(bench.live, bench.claim(1, "a")._replace(runs=True))
        await asyncio.sleep(5 * HEARTBEAT_S)
        ((owner, _),) = bench.cache.reservations.values()
        assert (owner, bench.events) == ("a", [])
