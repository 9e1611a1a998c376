"""The simulated cache: entries and reservations in the world's database, and a view of them for each process, whose
calls take time, fail, lose their answers or take effect late like every statement."""

from collections.abc import Callable, Sequence

from tests.memory_cache import MemoryCache, tag_of
from tests.simulation.server import Client, SimulatedServer
from wingbeat_propeller.ports.cache import (
    CacheAnswer,
    CacheAsk,
    CacheClaim,
    CacheFailure,
    CachePut,
    CachePutOutcome,
    CacheReservation,
)
from wingbeat_propeller.postgres.listening import listen
from wingbeat_propeller.postgres.outages import outages_as_oserror

CHANNEL = "wingbeat_cache_reservations"


class Entries(MemoryCache):
    """What all processes share. `lapsed` has the (tag, owner) of reservations that others took over."""

    def __init__(self, clock: Callable[[], float], notify: Callable[[str, str], None]) -> None:
        super().__init__(clock)
        self.lapsed: set[tuple[str, str]] = set()
        self.hits = 0
        self._notify = notify

    def take(self, claims: Sequence[CacheClaim], heartbeat_s: float) -> list[CacheReservation | CacheFailure]:
        """One statement: reservations that are free, lapsed or the owner's."""
        for claim in claims:
            tag = tag_of(claim.catalog)
            owner, until = self.reservations.get(tag, (claim.owner, 0.0))
            if owner != claim.owner and until <= self.clock():
                self.lapsed.add((tag, owner))
        return self.reserved(claims, heartbeat_s)

    def let_go(self, claims: Sequence[CacheClaim]) -> None:
        """One statement."""
        for tag in self.released(claims):
            self._notify(CHANNEL, tag)


class SimulatedCache:
    """Satisfies ports.Cache for one process."""

    def __init__(self, entries: Entries, server: SimulatedServer, client: Client) -> None:
        self._entries = entries
        self._server = server
        self._client = client

    async def look_up(self, asks: Sequence[CacheAsk]) -> Sequence[CacheAnswer]:
        """See ports."""
        with outages_as_oserror():
            return await self._server.perform(self._client, lambda: self._entries.answers(asks))

    async def put(self, entries: Sequence[CachePut]) -> Sequence[CachePutOutcome]:
        """See ports."""
        with outages_as_oserror():
            return await self._server.perform(self._client, lambda: self._entries.kept(entries))

    async def reserve(
        self, claims: Sequence[CacheClaim], heartbeat_s: float
    ) -> Sequence[CacheReservation | CacheFailure]:
        """See ports."""
        with outages_as_oserror():
            return await self._server.perform(self._client, lambda: self._entries.take(claims, heartbeat_s))

    async def release(self, claims: Sequence[CacheClaim]) -> None:
        """See ports."""
        with outages_as_oserror():
            await self._server.perform(self._client, lambda: self._entries.let_go(claims))

    async def listen(self, wake: Callable[[str], None]) -> None:
        """See ports."""
        await listen("", [CHANNEL], lambda _channel, payload: wake(payload), application_name="cache")
