"""What batches keep of executions that are erased: their rows of an uploaded manifest, and their lines of the results.

A manifest keeps its length and the places of its other rows: what an erased row said becomes zeros, and the batch's
digest follows. Lines of results go, from parts that count and from those that a killed driver left. A batch without
any execution left goes whole. Each batch is gone through once, however many of its executions go, under the lock of
its row, which drivers take too; every step may be done twice.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from wingbeat_controlplane.retention.places import BatchPlaces
from wingbeat_propeller.blobs.store import StoredBlobs
from wingbeat_propeller.ports.blobs import BlobNotFoundError
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.retention", "batch_remains.sql")

_PAGE = 500


@dataclass(frozen=True, slots=True)
class WholeBatch:
    """A batch that goes, or would go, with everything of it; `rows` by table, but for those of executions."""

    project: str
    domain: str
    name: str
    rows: Mapping[str, int]
    blob_count: int
    blob_bytes: int


class BatchRemains:
    """Removes them; what is to go stands in `retired_executions`."""

    def __init__(self, pool: asyncpg.Pool, blobs: StoredBlobs) -> None:
        self._pool = pool
        self._blobs = blobs

    async def remove(self) -> Sequence[WholeBatch]:
        """Go through all batches that executions on their way out were of; returns those that went whole. Raises
        asyncpg's errors, OSError."""
        whole: list[WholeBatch] = []
        while batch := await self._pool.fetchval(_SQL["next"]):
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(_SQL["lock"], batch)
                gone = await connection.fetch(_SQL["gone"], batch)
                if row is not None and await connection.fetchval(_SQL["is_empty"], batch):
                    whole.append(await self._whole(connection, row, removes=True))
                elif row is not None:
                    await self._remove(connection, row, gone)
                # Others may have noted more of its executions meanwhile.
                await connection.execute(_SQL["done"], [found["execution_id"] for found in gone])
        return whole

    async def going(self, executions: Sequence[int]) -> AsyncGenerator[WholeBatch]:
        """Batches that would go whole with these executions. Raises asyncpg's errors, OSError."""
        for batch in await self._pool.fetch(_SQL["going"], executions):
            async with self._pool.acquire() as connection:
                whole = await self._whole(connection, batch, removes=False)
            yield whole

    async def left_behind(self, project: str, domain: str, *, removes: bool) -> AsyncGenerator[WholeBatch]:
        """The ended batches of a project (empty domain: of all its domains) whose executions have all gone before,
        pruned or erased one by one; they are taken out if that is wanted. Raises asyncpg's errors, OSError."""
        after = 0
        while rows := await self._pool.fetch(_SQL["of_project"], project, domain, after, _PAGE):
            for found in rows:
                async with self._pool.acquire() as connection, connection.transaction():
                    batch = await connection.fetchrow(_SQL["lock"], found["id"]) if removes else found
                    if batch is None or not await connection.fetchval(_SQL["is_left_behind"], found["id"]):
                        continue
                    whole = await self._whole(connection, batch, removes=removes)
                yield whole
            after = rows[-1]["id"]

    async def _whole(
        self, connection: "PoolConnectionProxy[asyncpg.Record]", batch: asyncpg.Record, *, removes: bool
    ) -> WholeBatch:
        places = BatchPlaces(self._blobs.base, batch["project"], batch["domain"], batch["name"])
        counts = await connection.fetchrow(_SQL["counts"], batch["id"])
        assert counts is not None, "counting answers one row"
        blob_count = blob_bytes = 0
        async for page in self._blobs.pages(places.folder):
            blob_count += len(page)
            blob_bytes += sum(blob.size for blob in page)
            if removes:
                await self._blobs.delete_all([blob.uri for blob in page])
        if removes:
            await connection.execute(_SQL["delete"], batch["id"])
        rows = {table: count for table, count in counts.items() if count}
        return WholeBatch(batch["project"], batch["domain"], batch["name"], rows, blob_count, blob_bytes)

    async def _remove(
        self,
        connection: "PoolConnectionProxy[asyncpg.Record]",
        batch: asyncpg.Record,
        gone: Sequence[asyncpg.Record],
    ) -> None:
        places = BatchPlaces(self._blobs.base, batch["project"], batch["domain"], batch["name"])
        if places.is_uploaded(batch["uri"]):
            await self._blank(connection, batch, {row["batch_row"] for row in gone})
        names = {row["name"] for row in gone}
        async for page in self._blobs.pages(places.results):
            for blob in page:
                if blob.uri.endswith(".jsonl"):
                    await self._without(connection, batch["id"], blob.uri, names)
        await self._reindex(connection, batch["id"], places.index)

    async def _blank(
        self, connection: "PoolConnectionProxy[asyncpg.Record]", batch: asyncpg.Record, rows: Collection[int]
    ) -> None:
        digest, size = hashlib.sha256(), 0

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in blanked(self._blobs.open(batch["uri"]), rows):
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        try:
            await self._blobs.put_stream(batch["uri"], chunks())
        except BlobNotFoundError:
            return
        await connection.execute(_SQL["digest"], batch["id"], size, digest.hexdigest())

    async def _without(
        self, connection: "PoolConnectionProxy[asyncpg.Record]", batch: int, uri: str, names: Collection[str]
    ) -> None:
        try:
            lines = (await self._blobs.get(uri)).splitlines(keepends=True)
        except BlobNotFoundError:
            return
        kept = [line for line in lines if execution_of(line) not in names]
        if len(kept) < len(lines):
            await self._blobs.put(uri, b"".join(kept))
        await connection.execute(_SQL["results"], batch, uri, len(kept))

    async def _reindex(self, connection: "PoolConnectionProxy[asyncpg.Record]", batch: int, uri: str) -> None:
        try:
            index = orjson.loads(await self._blobs.get(uri))
        except BlobNotFoundError:
            return
        parts = await connection.fetch(_SQL["parts"], batch)
        index["parts"] = [{"uri": part["uri"], "results": part["results"]} for part in parts]
        await self._blobs.put(uri, orjson.dumps(index))


def execution_of(line: bytes) -> str | None:
    """Name of the execution that a line of results is about; None if it was refused."""
    execution = orjson.loads(line)["execution"]
    return None if execution is None else execution["name"]


async def blanked(chunks: AsyncIterator[bytes], rows: Collection[int]) -> AsyncIterator[bytes]:
    """A manifest of serialized items, each after its length as a varint, with zeros for those with these numbers."""
    number, left, size, shift = 0, 0, 0, 0
    async for chunk in chunks:
        data = bytearray(chunk)
        place = 0
        while place < len(data):
            if left:
                taken = min(left, len(data) - place)
                if number in rows:
                    data[place : place + taken] = bytes(taken)
                place += taken
                left -= taken
                number += left == 0
                continue
            size |= (data[place] & 0x7F) << shift
            shift += 7
            if data[place] < 0x80:
                left, size, shift = size, 0, 0
                number += left == 0
            place += 1
        yield bytes(data)
