"""Reservations of calls that are to be made once: waiting for them, keeping them alive, letting them go.

A claim that waits costs an entry here: it hears of the release, by whatever process, and looks at the cache before it
asks again, so that all who waited for one call share what came of it. When the holder says nothing more its reservation
lapses, and the first to ask has it. A slow look covers what was not heard. Whoever gets a reservation looks at the
cache once more before the call is made: it may have been made between the first look and the reservation.

A cache that fails keeps nobody for long: after `GIVE_UP_S` the call is made without a reservation. Nothing here
survives a crash: what waits asks again, what runs is extended again, by the same owner.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog
from prometheus_client import Counter, Gauge

from wingbeat_propeller.core.caching import CacheStatus, ReservationStatus
from wingbeat_propeller.core.effects import NodeRef, Reserve, Unreserve
from wingbeat_propeller.core.events import Event, ReservationHeld, Reserved
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.engine.cache_values import UnreadableError, ask_of, looked_up
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.engine.timer_wheel import TimerWheel
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.ports.cache import (
    Cache,
    CacheAnswer,
    CacheClaim,
    CacheFailure,
    CacheHit,
    CacheReservation,
)

_log = structlog.get_logger(__name__)
_HELD = Gauge("wingbeat_reservations_held", "Reservations of calls that this process makes")
_WAITING = Gauge("wingbeat_reservations_waited_for", "Calls that wait for others to make them")
_GIVEN_UP = Counter("wingbeat_reservations_given_up", "Calls made without a reservation, since the cache failed")

HEARTBEAT_S = 10.0
"""How often a reservation is extended; it lapses after three times as much."""
POLL_S = 10.0
"""How often those who wait look without having heard anything."""
GIVE_UP_S = 10.0
"""How long a call waits while the cache fails."""
PAGE = 500
"""Claims looked at in one go."""
CALL_S = 15.0
RELEASE_TRIES = 3
_RETRY_S = 0.5


class _Key(NamedTuple):
    execution: ExecutionKey
    frame: int
    node: int
    element: int


@dataclass(slots=True, eq=False)
class _Claim:
    live: LiveExecution
    command: Reserve
    catalog: bytes
    is_held: bool
    looks_first: bool
    """Whether the call may have been made since anybody looked."""
    wake_key: str = ""
    failing_since: float | None = None

    @property
    def claim(self) -> CacheClaim:
        """As the cache wants it."""
        return CacheClaim(self.catalog, self.command.owner)


class ReservationKeeper:
    """See the module. `is_live` tells whether an execution is still driven here."""

    def __init__(
        self,
        cache: Cache,
        blobs: Blobs,
        *,
        apply: Callable[[LiveExecution, Event], None],
        is_live: Callable[[LiveExecution], bool],
        clock: Callable[[], float],
        heartbeat_s: float = HEARTBEAT_S,
        poll_s: float = POLL_S,
    ) -> None:
        self._cache = cache
        self._blobs = blobs
        self._apply = apply
        self._is_live = is_live
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._poll_s = poll_s
        self._claims: dict[_Key, _Claim] = {}
        self._of_execution: defaultdict[ExecutionKey, set[_Key]] = defaultdict(set)
        self._by_wake_key: defaultdict[str, set[_Key]] = defaultdict(set)
        self._heard: set[str] = set()
        """Releases heard of while questions are on their way, whose answers may be older."""
        self._due: dict[_Key, None] = {}
        self._releases: list[CacheClaim] = []
        self._timers: TimerWheel[_Key] = TimerWheel(self._look, _elapsed)
        self._work = asyncio.Event()
        _HELD.set_function(lambda: sum(claim.is_held for claim in self._claims.values()))
        _WAITING.set_function(lambda: sum(not claim.is_held for claim in self._claims.values()))

    @property
    def count(self) -> int:
        """Claims that are held or waited for."""
        return len(self._claims)

    def reserve(self, live: LiveExecution, command: Reserve) -> None:
        """Get a reservation, or keep alive the one of a call that runs."""
        key = _key(live, command.call.ref)
        self._forget(key)
        self._claims[key] = _Claim(live, command, command.catalog, is_held=command.runs, looks_first=False)
        self._of_execution[key.execution].add(key)
        self._look([key])

    def let_go(self, live: LiveExecution, command: Unreserve) -> None:
        """The call has ended, or is not to be made."""
        claim = self._forget(_key(live, command.ref))
        catalog = command.catalog or (claim.catalog if claim is not None else b"")
        if catalog:
            self._releases.append(CacheClaim(catalog, command.owner))
            self._work.set()

    def drop(self, live: LiveExecution) -> None:
        """The execution has ended, or belongs to another process from now on, which extends what is reserved."""
        for key in list(self._of_execution.get(live.state.key, ())):
            self._forget(key)

    def wake(self, key: str) -> None:
        """The reservation that the cache calls `key` was released; empty: any may have been."""
        if key:
            self._heard.add(key)
            woken = self._by_wake_key.get(key, ())
        else:
            woken = [one for one, claim in self._claims.items() if not claim.is_held]
        self._look(woken)

    async def run(self) -> None:
        """Live until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._timers.run(), name="reservation timers")
            tasks.create_task(self._cache.listen(self.wake), name="listen for releases")
            while True:
                await self._work.wait()
                self._work.clear()
                while self._due or self._releases:
                    await self._release()
                    page = [key for key, _ in zip(list(self._due), range(PAGE), strict=False)]
                    for key in page:
                        del self._due[key]
                    self._heard.clear()
                    await self._pass([(key, self._claims[key]) for key in page if key in self._claims])

    # ---- one pass over some claims ----

    async def _pass(self, page: Sequence[tuple[_Key, _Claim]]) -> None:
        try:
            await self._learn_catalogs([(key, claim) for key, claim in page if not claim.catalog])
            page = await self._without_hits([one for one in page if one[1].looks_first], page, are_ours=False)
            page = [(key, claim) for key, claim in page if self._claims.get(key) is claim and claim.catalog]
            if not page:
                return
            async with asyncio.timeout(CALL_S):
                found = await self._cache.reserve([claim.claim for _, claim in page], self._heartbeat_s)
            got: list[tuple[_Key, _Claim]] = []
            for (key, claim), reservation in zip(page, found, strict=True):
                if self._settle(key, claim, reservation):
                    got.append((key, claim))
            for key, claim in await self._without_hits(got, got, are_ours=True):
                if self._claims.get(key) is claim:
                    claim.is_held = True
                    self._timers.set(key, _elapsed() + self._heartbeat_s)
                    self._tell(claim, Reserved(self._clock(), claim.command.call.ref, ReservationStatus.ACQUIRED))
        except OSError as error:  # TimeoutError is one
            _log.warning("reservations not looked at", error=str(error) or type(error).__name__)
            self._failed(page)
        except Exception:  # noqa: BLE001 - an error of the cache's own must not keep nodes from running
            _log.exception("the cache has failed with reservations")
            self._failed(page)

    def _settle(self, key: _Key, claim: _Claim, found: CacheReservation | CacheFailure) -> bool:
        """Take in what the cache says of a claim; returns whether it was waiting and has the reservation now."""
        if isinstance(found, CacheFailure):
            self._failed([(key, claim)])
            return False
        claim.failing_since = None
        is_ours = found.owner == claim.command.owner
        if self._claims.get(key) is not claim:
            if is_ours and key not in self._claims:  # let go while it was asked for
                self._releases.append(claim.claim)
            return False
        if is_ours and not claim.is_held:
            return True
        if is_ours:
            self._timers.set(key, _elapsed() + self._heartbeat_s)
        elif claim.is_held:
            _log.warning("a reservation was lost, its call goes on", owner=claim.command.owner, to=found.owner)
            self._forget(key)
        else:
            self._wait(key, claim, found)
        return False

    def _wait(self, key: _Key, claim: _Claim, found: CacheReservation) -> None:
        now = self._clock()
        claim.looks_first = True
        claim.wake_key = found.key
        self._by_wake_key[found.key].add(key)
        self._timers.set(key, _elapsed() + min(max(found.left_s, _RETRY_S), self._poll_s))
        self._tell(claim, ReservationHeld(now, claim.command.call.ref, found.owner, now + found.left_s))
        if found.key in self._heard:
            self._look([key])

    async def _without_hits(
        self, asked: Sequence[tuple[_Key, _Claim]], page: Sequence[tuple[_Key, _Claim]], *, are_ours: bool
    ) -> list[tuple[_Key, _Claim]]:
        """Look those that are `asked` up; returns the others of the `page`. A hit ends the claim, and lets go of the
        reservation if it has one."""
        answers = await self._answers([claim for _, claim in asked])
        ended: set[_Key] = set()
        for (key, claim), answer in zip(asked, answers, strict=True):
            if isinstance(answer, CacheHit) and self._claims.get(key) is claim:
                event = await looked_up(self._blobs, claim.command.call, answer, self._clock())
                if event.status == CacheStatus.HIT:
                    ended.add(key)
                    self._forget(key)
                    if are_ours:
                        self._releases.append(claim.claim)
                    self._tell(claim, event)
        return [(key, claim) for key, claim in page if key not in ended]

    async def _learn_catalogs(self, page: Sequence[tuple[_Key, _Claim]]) -> None:
        """What was reserved before a restart is known by its inputs alone."""
        answers = await self._answers([claim for _, claim in page])
        for (key, claim), answer in zip(page, answers, strict=True):
            claim.catalog = answer.catalog
            if not claim.catalog:
                self._failed([(key, claim)])

    async def _answers(self, claims: Sequence[_Claim]) -> Sequence[CacheAnswer]:
        """Raises OSError."""
        if not claims:
            return ()
        try:
            asks = [await ask_of(self._blobs, claim.command.call) for claim in claims]
        except UnreadableError as error:
            raise OSError(str(error)) from error
        async with asyncio.timeout(CALL_S):
            return await self._cache.look_up(asks)

    def _failed(self, page: Iterable[tuple[_Key, _Claim]]) -> None:
        now = _elapsed()
        for key, claim in page:
            if self._claims.get(key) is not claim:
                continue
            if claim.failing_since is None:
                claim.failing_since = now
            if claim.is_held or now - claim.failing_since < GIVE_UP_S:
                self._timers.set(key, now + _RETRY_S)
                continue
            _GIVEN_UP.inc()
            self._forget(key)
            self._tell(claim, Reserved(self._clock(), claim.command.call.ref, ReservationStatus.FAILURE))

    async def _release(self) -> None:
        releases, self._releases = self._releases, []
        for attempt in range(RELEASE_TRIES if releases else 0):
            try:
                async with asyncio.timeout(CALL_S):
                    await self._cache.release(releases)
            except OSError as error:
                _log.warning("reservations not released", error=str(error) or type(error).__name__)
            except Exception:  # noqa: BLE001 - they lapse by themselves
                _log.exception("the cache has failed to release reservations")
                return
            else:
                return
            if attempt + 1 < RELEASE_TRIES:
                await asyncio.sleep(_RETRY_S)

    # ---- small parts ----

    def _look(self, keys: Iterable[_Key]) -> None:
        self._due.update(dict.fromkeys(keys))
        if self._due:
            self._work.set()

    def _forget(self, key: _Key) -> _Claim | None:
        claim = self._claims.pop(key, None)
        if claim is None:
            return None
        self._due.pop(key, None)
        self._timers.cancel(key)
        keys = self._of_execution[key.execution]
        keys.discard(key)
        if not keys:
            del self._of_execution[key.execution]
        waiting = self._by_wake_key.get(claim.wake_key)
        if waiting is not None:
            waiting.discard(key)
            if not waiting:
                del self._by_wake_key[claim.wake_key]
        return claim

    def _tell(self, claim: _Claim, event: Event) -> None:
        if self._is_live(claim.live):
            self._apply(claim.live, event)


def _elapsed() -> float:
    """Seconds on a clock that nobody sets: a reservation lapses by the database's clock, whatever the engine's says."""
    return asyncio.get_running_loop().time()


def _key(live: LiveExecution, ref: NodeRef) -> _Key:
    return _Key(live.state.key, ref.frame, ref.node, ref.element)
