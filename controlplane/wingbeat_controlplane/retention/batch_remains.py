"""What batches keep of executions that are erased: their rows of an uploaded manifest, and their lines of the results.

A manifest keeps its length and the places of its other rows: what an erased row said becomes zeros, and the batch's
digest follows. Lines of results go, from parts that count and from those that a killed driver left. A batch without
any execution left goes whole. Each batch is gone through once, however many of its executions go, under the lock of
its row, which drivers take too; every step may be done twice.
"""

import hashlib
from collections.abc import AsyncIterator, Collection, Sequence

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from wingbeat_controlplane.retention.places import BatchPlaces
from wingbeat_propeller.blobs.store import StoredBlobs
from wingbeat_propeller.ports.blobs import BlobNotFoundError
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.retention", "batch_remains.sql")

_PAGE = 500


class BatchRemains:
    """Removes them; what is to go stands in `retired_executions`."""

    def __init__(self, pool: asyncpg.Pool, blobs: StoredBlobs) -> None:
        self._pool = pool
        self._blobs = blobs

    async def remove(self) -> None:
        """Go through all batches that executions on their way out were of. Raises asyncpg's errors, OSError."""
        while batch := await self._pool.fetchval(_SQL["next"]):
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(_SQL["lock"], batch)
                gone = await connection.fetch(_SQL["gone"], batch)
                if row is not None:
                    await self._remove(connection, row, gone)
                # Others may have noted more of its executions meanwhile.
                await connection.execute(_SQL["done"], [found["execution_id"] for found in gone])

    async def remove_left_behind(self, project: str, domain: str) -> None:
        """Take out the ended batches of a project (empty domain: of all its domains) whose executions have all gone
        before, pruned or erased one by one. Raises asyncpg's errors, OSError."""
        after = 0
        while rows := await self._pool.fetch(_SQL["of_project"], project, domain, after, _PAGE):
            for found in rows:
                async with self._pool.acquire() as connection, connection.transaction():
                    batch = await connection.fetchrow(_SQL["lock"], found["id"])
                    if batch is not None and await connection.fetchval(_SQL["is_left_behind"], found["id"]):
                        await self._remove_whole(connection, batch)
            after = rows[-1]["id"]

    async def _remove_whole(self, connection: "PoolConnectionProxy[asyncpg.Record]", batch: asyncpg.Record) -> None:
        places = BatchPlaces(self._blobs.base, batch["project"], batch["domain"], batch["name"])
        async for page in self._blobs.pages(places.folder):
            await self._blobs.delete_all([blob.uri for blob in page])
        await connection.execute(_SQL["delete"], batch["id"])

    async def _remove(
        self,
        connection: "PoolConnectionProxy[asyncpg.Record]",
        batch: asyncpg.Record,
        gone: Sequence[asyncpg.Record],
    ) -> None:
        places = BatchPlaces(self._blobs.base, batch["project"], batch["domain"], batch["name"])
        if await connection.fetchval(_SQL["is_empty"], batch["id"]):
            await self._remove_whole(connection, batch)
            return
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
