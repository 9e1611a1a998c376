"""Outputs of tasks by what made them, and reservations of what is being made.

The engine asks before it runs a cacheable task and puts what came of it; keys are computed behind this port. All calls
are batched, one round trip a batch, and answer in the order of what was asked. An outage raises OSError; waits for
locks and statements are bounded behind the port, so a locked table gives failures, never a wait.

Losing an answer does no harm: a look-up may be asked again, a put may be repeated, and a reservation that is taken
again by its owner is extended.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.caching import CacheSource


class CacheAsk(NamedTuple):
    """One call of a task; `inputs` is a serialized LiteralMap of everything that it is given."""

    task: CachedTask
    inputs: bytes


class CacheHit(NamedTuple):
    """The call was made before. What the entry holds was compared with the task's interface: names and types fit."""

    catalog: bytes
    """Serialized flyteidl.core.CatalogMetadata, with the task execution that made the outputs."""
    outputs: bytes
    """Serialized LiteralMap."""
    source: CacheSource | None = None
    """Who made them, if that is known."""


class CacheMiss(NamedTuple):
    """There is no entry, or none that may be used."""

    catalog: bytes
    """Serialized flyteidl.core.CatalogMetadata with the dataset and the name of the tag."""


class CacheFailure(NamedTuple):
    """This one could not be looked up or put, although the store answered; asking again would not help at once."""

    catalog: bytes
    """As of a miss as far as it is known, else empty."""
    reason: str


CacheAnswer: TypeAlias = CacheHit | CacheMiss | CacheFailure


class CachePut(NamedTuple):
    """Outputs to be kept. The first to be put stay, unless `overwrite`."""

    ask: CacheAsk
    outputs: bytes
    """Serialized LiteralMap."""
    source: CacheSource
    overwrite: bool = False


class CachePutDone(NamedTuple):
    """There is an entry now, be it this one or one that was there first."""

    catalog: bytes
    """Serialized flyteidl.core.CatalogMetadata."""


CachePutOutcome: TypeAlias = CachePutDone | CacheFailure


class CacheClaim(NamedTuple):
    """Somebody wants to be the one who makes an entry."""

    catalog: bytes
    """Of the miss: serialized flyteidl.core.CatalogMetadata with the dataset and the name of the tag."""
    owner: str


class CacheReservation(NamedTuple):
    """Who may make an entry now."""

    owner: str
    """The one who asked, or who was first."""
    left_s: float
    """Seconds until it lapses unless its owner extends it."""
    key: str
    """What `Cache.listen` calls it when it is released."""


class Cache(Protocol):
    """See the module. Every method raises OSError for an outage."""

    async def look_up(self, asks: Sequence[CacheAsk]) -> Sequence[CacheAnswer]:
        """What is known of these calls."""
        ...

    async def put(self, entries: Sequence[CachePut]) -> Sequence[CachePutOutcome]:
        """Keep what has been made."""
        ...

    async def reserve(
        self, claims: Sequence[CacheClaim], heartbeat_s: float
    ) -> Sequence[CacheReservation | CacheFailure]:
        """Take reservations that are free, have lapsed or are the owner's already, and extend the latter; each then
        lapses after three times `heartbeat_s` (which may be cut to what the installation allows). One statement, so of
        two that ask at once one gets it."""
        ...

    async def release(self, claims: Sequence[CacheClaim]) -> None:
        """Give up reservations, and wake those who listen; one that is not the owner's is left alone."""
        ...

    async def listen(self, wake: Callable[[str], None]) -> None:
        """Live until cancelled: call `wake(key)` when a reservation was released by whatever process. After each
        (re)connect `wake` comes once with the empty key, since notifications may have been lost meanwhile."""
        ...
