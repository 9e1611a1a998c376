"""The cache as the engine knows it: `ports.Cache` over entries and reservations in Postgres.

A reservation's key is that of the tag which all equal calls share, so calls that Flyte's tags tell apart only by the
order of members wait for each other as well.
"""

from collections.abc import Callable, Sequence

import asyncpg
from flyteidl.core import catalog_pb2
from google.protobuf.message import DecodeError

from wingbeat_catalog.keys import dataset_of, tag_key
from wingbeat_catalog.look_ups import LookUps
from wingbeat_catalog.options import CatalogOptions
from wingbeat_catalog.puts import Puts
from wingbeat_catalog.reservations import CHANNEL, Claim, Reservations
from wingbeat_catalog.task_keys import TaskKeys
from wingbeat_propeller.ports.blobs import Blobs
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


class PostgresCache:
    """Satisfies `ports.Cache`. `pool` is one of `create_catalog_pool`; `dsn` is for the listening connection."""

    def __init__(self, pool: asyncpg.Pool, dsn: str, blobs: Blobs, options: CatalogOptions | None = None) -> None:
        options = options or CatalogOptions()
        self._dsn = dsn
        keys = TaskKeys()
        self._look_ups = LookUps(pool, blobs, keys, options)
        self._puts = Puts(pool, blobs, keys, options)
        self._reservations = Reservations(pool, options)

    async def look_up(self, asks: Sequence[CacheAsk]) -> Sequence[CacheAnswer]:
        """See `ports.Cache.look_up`."""
        return await self._look_ups.look_up(asks)

    async def put(self, entries: Sequence[CachePut]) -> Sequence[CachePutOutcome]:
        """See `ports.Cache.put`."""
        return await self._puts.put(entries)

    async def reserve(
        self, claims: Sequence[CacheClaim], heartbeat_s: float
    ) -> Sequence[CacheReservation | CacheFailure]:
        """See `ports.Cache.reserve`."""
        keys = [_claim_key(claim.catalog) for claim in claims]
        known = [Claim(key, claim.owner) for key, claim in zip(keys, claims, strict=True) if key is not None]
        held = iter(await self._reservations.reserve(known, heartbeat_s))
        answers: list[CacheReservation | CacheFailure] = []
        for key, claim in zip(keys, claims, strict=True):
            if key is None:
                answers.append(CacheFailure(claim.catalog, "the claim names no dataset and tag"))
            else:
                reservation = next(held)
                answers.append(CacheReservation(reservation.owner, max(0.0, reservation.left_s), key.hex()))
        return answers

    async def release(self, claims: Sequence[CacheClaim]) -> None:
        """See `ports.Cache.release`."""
        keys = [(_claim_key(claim.catalog), claim.owner) for claim in claims]
        await self._reservations.release([Claim(key, owner) for key, owner in keys if key is not None])

    async def listen(self, wake: Callable[[str], None]) -> None:
        """See `ports.Cache.listen`."""
        await listen(
            self._dsn, [CHANNEL], lambda _channel, payload: wake(payload), application_name="wingbeat cache listener"
        )


def _claim_key(catalog: bytes) -> bytes | None:
    try:
        metadata = catalog_pb2.CatalogMetadata.FromString(catalog)
    except DecodeError:
        return None
    if not metadata.HasField("dataset_id") or not metadata.artifact_tag.name:
        return None
    return tag_key(dataset_of(metadata.dataset_id).digest(), metadata.artifact_tag.name)
