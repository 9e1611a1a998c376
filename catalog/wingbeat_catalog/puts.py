"""Entries that are to be kept: one statement a batch, in which the first writer of a key wins.

Outputs are compared with the interface of the task before they are kept. Those too large for a row go to the blob store
first: a process that dies before the statement leaves an object that no entry names; nothing else is ever half done. If
the database refuses a batch for one of its entries, halves of it are tried until that one is found.
"""

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import asyncpg
from flyteidl.core import literals_pb2
from flyteidl.datacatalog import datacatalog_pb2
from google.protobuf.message import DecodeError
from prometheus_client import Counter

from wingbeat_catalog.bounds import bounded
from wingbeat_catalog.catalog_metadata import TASK_VERSION, with_tag
from wingbeat_catalog.hashing.key_parts import serialized_parts
from wingbeat_catalog.large_outputs import outputs_uri, remove_objects
from wingbeat_catalog.options import CatalogOptions
from wingbeat_catalog.outputs import content_digest, mismatch, references
from wingbeat_catalog.references import CONCURRENT_MAX
from wingbeat_catalog.task_keys import Call, TaskKeys, miss
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.ports.cache import CacheFailure, CachePut, CachePutDone, CachePutOutcome
from wingbeat_propeller.postgres.outages import is_outage
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "puts.sql")
_PUTS = Counter("wingbeat_cache_puts", "Puts by what came of them", ["outcome"])
_FAILED, _DONE = _PUTS.labels("failure"), _PUTS.labels("done")
_REMOVED = CacheFailure(b"", "the entry was removed at the same time")


class _Prepared(NamedTuple):
    """An entry that is to be put."""

    place: int
    call: Call
    entry: CachePut
    artifact_id: str
    uri: str | None
    """Where its outputs lie if they do not fit into the row."""
    has_references: bool
    inputs: bytes


class Puts:
    """Puts of `ports.Cache`."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs, keys: TaskKeys, options: CatalogOptions) -> None:
        self._pool = pool
        self._blobs = blobs
        self._options = options
        self._keys = keys
        self._turn = asyncio.Semaphore(CONCURRENT_MAX)

    async def put(self, entries: Sequence[CachePut]) -> list[CachePutOutcome]:
        """See `ports.Cache.put`."""
        outcomes: list[CachePutOutcome] = []
        for batch in self._batches(entries):
            async with bounded():
                outcomes += await self._put_batch(batch)
        return outcomes

    def _batches(self, entries: Sequence[CachePut]) -> Iterator[Sequence[CachePut]]:
        """Cuts that no statement grows beyond its bounds."""
        start = size = 0
        for place, entry in enumerate(entries):
            entry_size = len(entry.ask.inputs) + len(entry.outputs)
            full = place - start >= self._options.batch_max or size + entry_size > self._options.batch_bytes_max
            if place > start and full:
                yield entries[start:place]
                start, size = place, 0
            size += entry_size
        if start < len(entries):
            yield entries[start:]

    async def _put_batch(self, entries: Sequence[CachePut]) -> list[CachePutOutcome]:
        outcomes: list[CachePutOutcome] = []
        prepared: list[_Prepared] = []
        for place, entry in enumerate(entries):
            call = self._keys.call(entry.ask)
            if isinstance(call, CacheFailure):
                outcomes.append(call)
                continue
            outcomes.append(_REMOVED)  # unless the statement tells otherwise
            found = self._prepare(place, call, entry)
            if isinstance(found, CacheFailure):
                outcomes[place] = found
            else:
                prepared.append(found)
        await self._insert(await self._store_large(prepared, outcomes), outcomes)
        for one in prepared:
            if outcomes[one.place] is _REMOVED:
                outcomes[one.place] = _REMOVED._replace(catalog=miss(one.call).catalog)
        for outcome in outcomes:
            (_FAILED if isinstance(outcome, CacheFailure) else _DONE).inc()
        return outcomes

    def _prepare(self, place: int, call: Call, entry: CachePut) -> _Prepared | CacheFailure:
        try:
            outputs = literals_pb2.LiteralMap.FromString(entry.outputs)
            differs = mismatch(outputs, call.task.outputs)
        except DecodeError:
            outputs, differs = literals_pb2.LiteralMap(), "they cannot be read"
        if differs is not None:
            return CacheFailure(miss(call).catalog, f"the outputs do not fit the task: {differs}")
        artifact_id = str(uuid.uuid4())
        is_large = len(entry.outputs) > self._options.inline_bytes_max
        return _Prepared(
            place,
            call,
            entry,
            artifact_id,
            outputs_uri(self._blobs, artifact_id) if is_large else None,
            next(references(outputs), None) is not None,
            serialized_parts(call.inputs, call.task.ignored, self._options.parts_bytes_max),
        )

    async def _store_large(self, prepared: Sequence[_Prepared], outcomes: list[CachePutOutcome]) -> Sequence[_Prepared]:
        """Store what does not fit into rows; returns the entries without those for which that failed."""
        large = [one for one in prepared if one.uri is not None]
        if not large:
            return prepared

        async def store(one: _Prepared) -> str | None:
            try:
                async with self._turn:
                    await self._blobs.put(one.uri or "", one.entry.outputs)
            except OSError as error:
                return f"the blob store does not take the outputs: {error}"
            return None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store(one)) for one in large]
        failed = {
            one.place: text for one, task in zip(large, tasks, strict=True) if (text := task.result()) is not None
        }
        for one in large:
            if one.place in failed:
                outcomes[one.place] = CacheFailure(miss(one.call).catalog, failed[one.place])
        return [one for one in prepared if one.place not in failed]

    async def _insert(self, prepared: Sequence[_Prepared], outcomes: list[CachePutOutcome]) -> None:
        if not prepared:
            return
        datasets = {one.call.task.digest: _dataset(one.call, one.entry) for one in reversed(prepared)}
        try:
            rows = await self._pool.fetch(_SQL["put"], list(datasets.values()), [_entry(one) for one in prepared])
        except asyncpg.PostgresError as error:
            if is_outage(error):
                raise
            if len(prepared) == 1:
                blamed = prepared[0]
                outcomes[blamed.place] = CacheFailure(
                    miss(blamed.call).catalog, f"the database refuses the entry: {type(error).__name__}: {error}"
                )
                return
            middle = len(prepared) // 2  # one of them is to blame; the others are kept
            await self._insert(prepared[:middle], outcomes)
            await self._insert(prepared[middle:], outcomes)
            return
        kept: set[str] = set()
        for row in rows:
            position: int = row["place"] - 1
            one = prepared[position]
            kept.add(row["artifact_id"])
            outcomes[one.place] = CachePutDone(with_tag(one.call.task.catalog, row["tag"], row["artifact_id"]))
        # Large outputs of an entry that another writer has made. Those that overwrite one are in use.
        unused = [one.uri for one in prepared if one.uri and one.artifact_id not in kept and not one.entry.overwrite]
        if unused:
            await remove_objects(self._blobs, unused)


def _dataset(call: Call, entry: CachePut) -> tuple[object, ...]:
    """The dataset as `cache_dataset` of migration 0011."""
    name = call.task.dataset
    metadata = datacatalog_pb2.Metadata(key_map={TASK_VERSION: entry.source.task_version})
    return (
        call.task.digest,
        name.project,
        name.domain,
        name.name,
        name.version,
        entry.ask.task.cache_version.strip(" "),
        call.task.interface,
        metadata.SerializeToString(),
    )


def _entry(one: _Prepared) -> tuple[object, ...]:
    """The entry as `cache_entry` of migration 0011."""
    call, source = one.call, one.entry.source
    return (
        call.task.digest,
        call.exact,
        call.key.exact,
        call.canonical,
        call.key.canonical,
        one.entry.overwrite,
        one.artifact_id,
        one.entry.outputs if one.uri is None else None,
        one.uri,
        content_digest(call.task.digest, one.entry.outputs),
        one.has_references,
        call.task.interface_digest,
        one.inputs,
        sorted(call.task.ignored),
        source.task_version,
        source.project,
        source.domain,
        source.execution,
        source.node_id,
        source.attempt,
        source.element,
    )
