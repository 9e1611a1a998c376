"""What in the blob store is needed: marks every owner that is kept or referred to.

Marks are hashes in a table, so memory is bounded by a page whatever there is; two words with one hash keep a blob too
many, never one too few. Marked are the folders of executions that are kept, the names of their attempts, and every
folder that a value refers to: inputs and outputs of those executions, in rows and in blobs, constants and arguments of
what is registered, signals, cache entries, artifacts and
manifests of batches. Values are searched for the address of the store, so a
reference is found in whatever form it stands.
"""

from collections.abc import Iterable

import asyncpg

from wingbeat_controlplane.retention.owners import REFERENCE_BYTES_MAX, OwnerKind, owner_of, references
from wingbeat_propeller.blobs.store import StoredBlobs
from wingbeat_propeller.core.ids import generated_name
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError
from wingbeat_propeller.postgres.queries import load_queries

SQL = load_queries("wingbeat_controlplane.retention", "garbage.sql")

_EXECUTIONS = 2_000
_ROWS = 200
_BY_ID = ("tasks", "workflows", "launch_plans", "signals", "cache_artifacts", "artifacts", "batches")
_OFFLOADED = "_offloaded_metadata.pb"
"""How flytekit calls a value that it puts beside the outputs."""


class Marks:
    """Over one connection, which nobody else uses meanwhile."""

    def __init__(self, connection: asyncpg.Connection, blobs: StoredBlobs) -> None:
        self._connection = connection
        self._blobs = blobs
        self._base = f"{blobs.base}/"
        self._base_bytes = self._base.encode()

    async def make(self) -> None:
        """Mark everything, anew. Raises asyncpg's errors, OSError."""
        await self._connection.execute(SQL["forget_marks"])
        after = 0
        while (last := await self._connection.fetchval(SQL["range_end"], after, _EXECUTIONS)) is not None:
            await self._mark_executions(after, last)
            after = last
        for name in _BY_ID:
            place = 0
            while rows := await self._connection.fetch(SQL[name], place, _ROWS):
                await self._mark_values(rows)
                place = rows[-1]["place"]
        key = ""
        while rows := await self._connection.fetch(SQL["cache_outputs"], key, _ROWS):
            await self._mark_values(rows)
            key = rows[-1]["key"]

    async def add(self, words: Iterable[str]) -> None:
        """Mark words."""
        found = list(words)
        if found:
            await self._connection.execute(SQL["mark"], found)

    async def which(self, words: list[str]) -> set[str]:
        """Those of them that are marked."""
        rows = await self._connection.fetch(SQL["is_marked"], words)
        return {words[row["place"]] for row in rows}

    async def _mark_executions(self, after: int, last: int) -> None:
        await self._connection.execute(SQL["mark_executions"], after, last)
        await self._connection.execute(SQL["mark_attempts"], after, last)
        arrays = await self._connection.fetch(SQL["arrays"], after, last)
        await self.add(
            f"name:{generated_name(row['name'], row['node_id'], attempt)}"
            for row in arrays
            for attempt in range(row["attempt"] + 1)
        )
        async with self._connection.transaction():
            found: set[str] = set()
            async for row in self._connection.cursor(
                SQL["values_of_executions"], after, last, self._base_bytes, prefetch=_ROWS
            ):
                found.update(references(row["data"], self._base_bytes))
                if len(found) > _EXECUTIONS:
                    await self.add(found)
                    found.clear()
            await self.add(found)
        borrowed = await self._connection.fetch(
            SQL["borrowed_of_executions"], after, last, f"{self._base}{OwnerKind.METADATA.value}/"
        )
        await self.add(folder for row in borrowed if (folder := self._folder(row["uri"])) is not None)
        rows = await self._connection.fetch(SQL["large_values_of_executions"], after, last)
        for row in rows:
            await self._mark_blob(row["uri"])

    async def _mark_values(self, rows: list[asyncpg.Record]) -> None:
        await self.add({word for row in rows if row["data"] for word in references(row["data"], self._base_bytes)})
        for row in rows:
            if row["uri"] is not None:
                await self._mark_blob(row["uri"])

    async def _mark_blob(self, uri: str) -> None:
        """Mark an object, and what its content refers to; values that stand apart again are looked into as well."""
        todo, seen = [uri], {uri}
        while todo:
            current = todo.pop()
            folder = self._folder(current)
            found, apart = await self._scan(current)
            await self.add(found if folder is None else {*found, folder})
            todo += apart - seen
            seen |= apart

    def _folder(self, uri: str) -> str | None:
        owner = owner_of(uri.removeprefix(self._base)) if uri.startswith(self._base) else None
        return None if owner is None else owner.folder

    async def _scan(self, uri: str) -> tuple[set[str], set[str]]:
        found: set[str] = set()
        apart: set[str] = set()
        tail = b""
        try:
            async for chunk in self._blobs.open(uri):
                data = tail + chunk
                found.update(references(data, self._base_bytes))
                apart.update(self._apart(data))
                tail = data[-REFERENCE_BYTES_MAX - len(self._base_bytes) :]
        except (BlobNotFoundError, BlobAccessError):
            pass
        return found, apart

    def _apart(self, data: bytes) -> Iterable[str]:
        """Objects with values that flytekit has put apart."""
        end = _OFFLOADED.encode()
        place = data.find(end)
        while place >= 0:
            start = data.rfind(self._base_bytes, 0, place)
            if start >= 0 and place - start < REFERENCE_BYTES_MAX:
                yield data[start : place + len(end)].decode(errors="replace")
            place = data.find(end, place + 1)
