"""Blobs and logs of an execution: finds them page by page, and removes them.

Which folders there are, the rows of its attempts tell, so those rows go last.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from wingbeat_controlplane.retention.places import Attempt, Places, raw_prefix
from wingbeat_propeller.blobs.store import StoredBlobs
from wingbeat_propeller.ports.blobs import BlobAccessError
from wingbeat_propeller.postgres.queries import load_queries
from wingbeat_propeller.runtimes.local.paths import BadAttemptNameError, task_folder
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import CLAIMS_FOLDER

_SQL = load_queries("wingbeat_controlplane.retention", "erasure.sql")

_PAGE = 500
_AT_ONCE = 16
"""Folders looked into at once."""


@dataclass(slots=True)
class Tally:
    """What was found."""

    blob_count: int = 0
    blob_bytes: int = 0
    log_count: int = 0
    log_bytes: int = 0
    left_alone: list[str] = field(default_factory=list)


class Leavings:
    """Looks for them, and removes them; `state_dir` is the local runtime's."""

    def __init__(self, pool: asyncpg.Pool, blobs: StoredBlobs, state_dir: Path) -> None:
        self._pool = pool
        self._blobs = blobs
        self._state_dir = state_dir

    async def visit(self, places: Places, *, removes: bool) -> Tally:
        """Count them, and remove them when that is wanted; what is gone already is not counted.

        Raises OSError when store or folder fail, after which the call may be repeated.
        """
        tally = Tally()
        keeps_raw_data = True
        if places.has_raw_data_outside:
            tally.left_alone.append(places.raw_prefix)
        elif await self._has_shared_raw_data(places):
            tally.left_alone.append(f"{places.raw_prefix}/*/{places.name}-*")
        else:
            keeps_raw_data = False
        async for attempts in self._attempts(places):
            for start in range(0, len(attempts), _AT_ONCE):
                some = attempts[start : start + _AT_ONCE]
                if not keeps_raw_data:
                    await asyncio.gather(*(self._folder(found.raw_folder, tally, removes=removes) for found in some))
                for found in some:
                    await asyncio.to_thread(self._log, found.log_name, tally, removes=removes)
        await self._folder(places.metadata_folder, tally, removes=removes)
        names = (places.project, places.domain, places.name)
        cached = [row["data_uri"] for row in await self._pool.fetch(_SQL["cached_blobs"], *names)]
        for uri in (*places.launch_files, *cached):
            await self._object(uri, tally, removes=removes)
        return tally

    async def _has_shared_raw_data(self, places: Places) -> bool:
        """Whether another execution's attempts put theirs into the same folders, so that nobody can tell whose it is:
        its name is the same, and so is the prefix."""
        named = await self._pool.fetch(_SQL["namesakes"], places.project, places.domain, places.name)
        return any(raw_prefix(places.base, row["config"]) == places.raw_prefix for row in named)

    async def _attempts(self, places: Places) -> AsyncGenerator[Sequence[Attempt]]:
        after: tuple[object, ...] = ("", -1)
        while rows := await self._pool.fetch(_SQL["attempts"], places.key, *after, _PAGE):
            yield [places.attempt(row["name"]) for row in rows]
            after = (rows[-1]["node_id"], rows[-1]["attempt"])
        after = ("", -1, -1)
        while rows := await self._pool.fetch(_SQL["elements"], places.key, *after, _PAGE):
            yield [
                attempt
                for row in rows
                for attempt in places.elements(row["node_id"], row["node_attempt"], row["element"], row["attempt"])
            ]
            after = (rows[-1]["node_id"], rows[-1]["element"], rows[-1]["attempt"])

    async def _folder(self, uri: str, tally: Tally, *, removes: bool) -> None:
        async for page in self._blobs.pages(uri):
            tally.blob_count += len(page)
            tally.blob_bytes += sum(blob.size for blob in page)
            if removes and page:
                await self._blobs.delete_all([blob.uri for blob in page])

    async def _object(self, uri: str, tally: Tally, *, removes: bool) -> None:
        try:
            found = await self._blobs.stat(uri)
        except BlobAccessError:
            tally.left_alone.append(uri)
            return
        if found is None:
            return
        tally.blob_count += 1
        tally.blob_bytes += found.size
        if removes:
            await self._blobs.delete_all([uri])

    def _log(self, name: str, tally: Tally, *, removes: bool) -> None:
        try:
            folder = task_folder(self._state_dir, name)
        except BadAttemptNameError:
            return
        if not folder.is_dir():
            return
        tally.log_count += 1
        for path, _, files in os.walk(folder):
            for file in files:
                with suppress(FileNotFoundError):
                    tally.log_bytes += os.lstat(os.path.join(path, file)).st_size
        if removes:
            shutil.rmtree(folder)
            with suppress(FileNotFoundError):
                (self._state_dir / CLAIMS_FOLDER / name).unlink()
