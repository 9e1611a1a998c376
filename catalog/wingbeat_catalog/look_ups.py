"""Entries by the calls they were made for: one statement a batch, and every entry judged before it is handed out.

A hit is handed out only if its digest matches what was put (else it is poisoned), what it refers to is still there and
its names and types fit the task that asks; anything else is a miss, said in the log, and the entry is removed so that
the next run can put a new one. Outputs put through `Puts` were compared with the interface then, and carry its digest;
so a look-up parses only what others wrote, and what refers to files.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
from flyteidl.core import literals_pb2
from google.protobuf.message import DecodeError
from prometheus_client import Counter

from wingbeat_catalog.bounds import bounded
from wingbeat_catalog.catalog_metadata import with_source
from wingbeat_catalog.options import CatalogOptions
from wingbeat_catalog.outputs import content_digest, entry_digest, mismatch, references
from wingbeat_catalog.references import ReferenceChecker
from wingbeat_catalog.removals import BadEntry, Removals
from wingbeat_catalog.task_keys import Call, TaskKeys, miss
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs
from wingbeat_propeller.ports.cache import CacheAnswer, CacheAsk, CacheFailure, CacheHit, CacheMiss, CacheSource
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "look_ups.sql")
_LOOKUPS = Counter("wingbeat_cache_lookups", "Look-ups by what came of them", ["outcome"])


class _Found(NamedTuple):
    """An entry that was found for a call at a place of the batch."""

    place: int
    call: Call
    row: asyncpg.Record


class LookUps:
    """Look-ups of `ports.Cache`."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs, keys: TaskKeys, options: CatalogOptions) -> None:
        self._pool = pool
        self._blobs = blobs
        self._options = options
        self._keys = keys
        self._checker = ReferenceChecker(blobs)
        self._removals = Removals(pool, blobs)

    async def look_up(self, asks: Sequence[CacheAsk]) -> list[CacheAnswer]:
        """See `ports.Cache.look_up`."""
        answers: list[CacheAnswer] = []
        for start in range(0, len(asks), self._options.batch_max):
            async with bounded():
                answers += await self._look_up_batch(asks[start : start + self._options.batch_max])
        return answers

    async def _look_up_batch(self, asks: Sequence[CacheAsk]) -> list[CacheAnswer]:
        answers: list[CacheAnswer] = []
        known: list[tuple[int, Call]] = []
        for place, ask in enumerate(asks):
            call = self._keys.call(ask)
            if isinstance(call, Call):
                known.append((place, call))
                answers.append(miss(call))
            else:
                answers.append(call)
        rows = await self._pool.fetch(
            _SQL["look_up"], [call.exact for _, call in known], [call.canonical for _, call in known]
        )
        bad: list[BadEntry] = []
        slow: list[_Found] = []
        for row in rows:
            position: int = row["place"] - 1
            found = _Found(*known[position], row)
            if row["data_uri"] is None and not row["has_references"]:
                _settle(found, self._judge(found.call, row, row["data"]), answers, bad)
            else:
                slow.append(found)
        if slow:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._examine(found.call, found.row)) for found in slow]
            for found, task in zip(slow, tasks, strict=True):
                _settle(found, task.result(), answers, bad)
        if bad:
            await self._removals.remove(bad)
        for answer in answers:
            _LOOKUP_COUNTS[type(answer)].inc()
        return answers

    def _judge(self, call: Call, row: asyncpg.Record, data: bytes) -> CacheHit | BadEntry:
        """Whether an entry may be used, as far as it can be told without looking at files."""
        if entry_digest(content_digest(call.task.digest, data), row["artifact_id"]) != row["data_digest"]:
            return BadEntry(row, "poisoned", "its outputs are not those that were put")
        if self._options.age_max_s is not None and row["age_s"] > self._options.age_max_s:
            return BadEntry(row, "old", f"it is older than {self._options.age_max_s:g} s")
        if row["interface_digest"] != call.task.interface_digest:
            try:
                differs = mismatch(literals_pb2.LiteralMap.FromString(data), call.task.outputs)
            except DecodeError:
                differs = "its outputs cannot be read"
            if differs is not None:
                return BadEntry(row, "mismatch", differs)
        source = _source(call, row)
        is_known = bool(source.execution and source.node_id)
        return CacheHit(_hit_catalog(call, row, source), data, source if is_known else None)

    async def _examine(self, call: Call, row: asyncpg.Record) -> CacheHit | CacheFailure | BadEntry:
        """As `_judge`, for entries that lie outside of the row or refer to files."""
        try:
            data = row["data"]
            if data is None:
                data = await self._blobs.get(row["data_uri"])
            judged = self._judge(call, row, data)
            if isinstance(judged, BadEntry) or not row["has_references"]:
                return judged
            gone = await self._checker.first_gone(references(literals_pb2.LiteralMap.FromString(data)))
        except (BlobNotFoundError, BlobAccessError):  # removed, or of a store that this installation had before
            return BadEntry(row, "gone", f"its outputs at {row['data_uri']} are gone")
        except OSError as error:
            return CacheFailure(_hit_catalog(call, row, _source(call, row)), f"the blob store does not answer: {error}")
        return judged if gone is None else BadEntry(row, "gone", f"{gone}, which it refers to, is gone")


def _settle(
    found: _Found, judged: CacheHit | CacheFailure | BadEntry, answers: list[CacheAnswer], bad: list[BadEntry]
) -> None:
    if isinstance(judged, BadEntry):
        bad.append(judged)
    else:
        answers[found.place] = judged


def _source(call: Call, row: asyncpg.Record) -> CacheSource:
    entity = call.task.entity
    return CacheSource(
        row["source_project"] or entity.project,
        row["source_domain"] or entity.domain,
        row["source_execution"],
        row["source_node"],
        row["source_attempt"],
        row["source_element"],
        row["task_version"],
    )


def _hit_catalog(call: Call, row: asyncpg.Record, source: CacheSource) -> bytes:
    return with_source(call.task.catalog, row["name"], row["artifact_id"], call.task.entity, source)


_LOOKUP_COUNTS = {
    CacheHit: _LOOKUPS.labels("hit"),
    CacheMiss: _LOOKUPS.labels("miss"),
    CacheFailure: _LOOKUPS.labels("failure"),
}
