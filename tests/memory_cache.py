"""A cache in memory, for tests of the engine: keys are the task and its inputs as they are serialized."""

import asyncio
import time
from collections.abc import Callable, Sequence

from flyteidl.core import catalog_pb2

from wingbeat_propeller.ports.cache import (
    CacheAnswer,
    CacheAsk,
    CacheClaim,
    CacheFailure,
    CacheHit,
    CacheMiss,
    CachePut,
    CachePutDone,
    CachePutOutcome,
    CacheReservation,
    CacheSource,
)


class MemoryCache:
    """Satisfies `ports.Cache`. `calls` counts round trips by method; `failing` holds methods that raise OSError."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.entries: dict[str, tuple[bytes, CacheSource]] = {}
        self.reservations: dict[str, tuple[str, float]] = {}
        self.calls: dict[str, int] = {}
        self.failing: set[str] = set()
        self._listeners: list[Callable[[str], None]] = []

    async def look_up(self, asks: Sequence[CacheAsk]) -> Sequence[CacheAnswer]:
        """See `ports.Cache.look_up`."""
        await self._call("look_up")
        return self.answers(asks)

    async def put(self, entries: Sequence[CachePut]) -> Sequence[CachePutOutcome]:
        """See `ports.Cache.put`."""
        await self._call("put")
        return self.kept(entries)

    async def reserve(
        self, claims: Sequence[CacheClaim], heartbeat_s: float
    ) -> Sequence[CacheReservation | CacheFailure]:
        """See `ports.Cache.reserve`."""
        await self._call("reserve")
        return self.reserved(claims, heartbeat_s)

    async def release(self, claims: Sequence[CacheClaim]) -> None:
        """See `ports.Cache.release`."""
        await self._call("release")
        for tag in self.released(claims):
            for wake in self._listeners:
                wake(tag)

    async def listen(self, wake: Callable[[str], None]) -> None:
        """See `ports.Cache.listen`."""
        self._listeners.append(wake)
        try:
            wake("")
            await asyncio.Event().wait()
        finally:
            self._listeners.remove(wake)

    # ---- the same without waiting ----

    def answers(self, asks: Sequence[CacheAsk]) -> list[CacheAnswer]:
        """What is known of calls."""
        return [self._answer(ask) for ask in asks]

    def kept(self, entries: Sequence[CachePut]) -> list[CachePutOutcome]:
        """Keep what is new, or to be overwritten."""
        for entry in entries:
            if entry.overwrite or key_of(entry.ask) not in self.entries:
                self.entries[key_of(entry.ask)] = (entry.outputs, entry.source)
        return [CachePutDone(_catalog(entry.ask)) for entry in entries]

    def reserved(self, claims: Sequence[CacheClaim], heartbeat_s: float) -> list[CacheReservation | CacheFailure]:
        """Give what is free, has lapsed or is the owner's."""
        now = self.clock()
        found: list[CacheReservation | CacheFailure] = []
        for claim in claims:
            tag = tag_of(claim.catalog)
            owner, until = self.reservations.get(tag, ("", 0.0))
            if until <= now or owner == claim.owner:
                owner, until = claim.owner, now + 3 * heartbeat_s
                self.reservations[tag] = (owner, until)
            found.append(CacheReservation(owner, until - now, tag))
        return found

    def released(self, claims: Sequence[CacheClaim]) -> list[str]:
        """Take away what is the owner's; returns the tags."""
        found: list[str] = []
        for claim in claims:
            tag = tag_of(claim.catalog)
            if self.reservations.get(tag, ("", 0.0))[0] == claim.owner:
                del self.reservations[tag]
                found.append(tag)
        return found

    async def _call(self, method: str) -> None:
        self.calls[method] = self.calls.get(method, 0) + 1
        await asyncio.sleep(0)
        if method in self.failing:
            raise OSError(f"{method} fails")

    def _answer(self, ask: CacheAsk) -> CacheAnswer:
        known = self.entries.get(key_of(ask))
        return CacheMiss(_catalog(ask)) if known is None else CacheHit(_catalog(ask), *known)


def key_of(ask: CacheAsk) -> str:
    """What a call is known by."""
    task = ask.task
    return f"{task.project}/{task.domain}/{task.name}/{task.cache_version}/{ask.inputs.hex()}"


def tag_of(catalog: bytes) -> str:
    """What a call is known by, from what the engine was told of it."""
    return catalog_pb2.CatalogMetadata.FromString(catalog).artifact_tag.name


def _catalog(ask: CacheAsk) -> bytes:
    tag = catalog_pb2.CatalogArtifactTag(name=key_of(ask))
    return catalog_pb2.CatalogMetadata(artifact_tag=tag).SerializeToString()
