"""Collects garbage in the blob store: marks what is needed (see marks.py), then goes through the store page by page and
removes what is old enough, written by Wingbeat or its tasks, and not marked.

One collection at a time: a lock of its session falls with the process. A page is deleted as a whole and every page is
decided by itself, so one that is killed has done so much less, and the next one does the rest. What an execution that
begins meanwhile writes is younger than anything that is removed.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import grpc
from prometheus_client import Counter

from wingbeat_controlplane.errors import ApiError, invalid_argument
from wingbeat_controlplane.retention.locked_session import locked_session
from wingbeat_controlplane.retention.marks import Marks
from wingbeat_controlplane.retention.owners import (
    Owner,
    OwnerKind,
    array_name,
    belongs_to_project,
    execution_names,
    owner_of,
)
from wingbeat_propeller.blobs.store import StoredBlobs
from wingbeat_propeller.ports.blob_pages import ListedBlob

_REMOVED = Counter("wingbeat_garbage_removed_blobs", "Blobs removed because nothing refers to them")
_REMOVED_BYTES = Counter("wingbeat_garbage_removed_bytes", "Bytes of blobs removed because nothing refers to them")

LOCK: Final = 0x77696E71
"""Advisory lock of the one that collects."""
AGE_MIN = timedelta(hours=1)
"""Younger blobs may belong to what is about to be written down."""
AGE = timedelta(days=30)
_ROOTS = (OwnerKind.RAW, OwnerKind.CACHE, OwnerKind.ADMIN, OwnerKind.METADATA)
"""Metadata last: its folders tell which project raw data is of."""


@dataclass(frozen=True, slots=True)
class GarbagePage:
    """What of one page of the store is garbage, and how many objects were looked at in it."""

    garbage: Sequence[ListedBlob]
    scanned: int


class GarbageCollector:
    """Collects; see the module."""

    def __init__(self, dsn: str, blobs: StoredBlobs, *, age_min: timedelta = AGE_MIN) -> None:
        self._dsn = dsn
        self._blobs = blobs
        self._age_min = age_min

    async def collect(
        self, *, project: str = "", older_than: timedelta = AGE, is_dry_run: bool = False
    ) -> AsyncGenerator[GarbagePage]:
        """Go through the store; a page is answered after its garbage is gone.

        With a project: only what its folders name, and raw data of attempts whose execution has left a folder there.
        Raises ApiError INVALID_ARGUMENT, ABORTED while another collection is under way; OSError when the store fails.
        """
        if older_than < self._age_min:
            raise invalid_argument(f"blobs younger than {self._age_min} may still be needed: ask for older ones")
        before = (datetime.now(UTC) - older_than).timestamp()
        async with locked_session(self._dsn, LOCK, application_name="wingbeat garbage") as connection:
            if connection is None:
                raise ApiError(grpc.StatusCode.ABORTED, "another collection of garbage is under way")
            marks = Marks(connection, self._blobs)
            await marks.make()
            if project:
                await self._mark_leavings(marks, project, before)
            for root in _ROOTS:
                pages = self._blobs.pages(f"{self._blobs.base}/{root.value}")
                async with aclosing(pages):
                    async for page in pages:
                        garbage = await self._garbage(marks, page, project, before)
                        if garbage and not is_dry_run:
                            await self._blobs.delete_all([blob.uri for blob in garbage])
                            _REMOVED.inc(len(garbage))
                            _REMOVED_BYTES.inc(sum(blob.size for blob in garbage))
                        yield GarbagePage(garbage, len(page))

    async def _mark_leavings(self, marks: Marks, project: str, before: float) -> None:
        """Note the executions of a project that are gone and have left a folder."""
        pages = self._blobs.pages(f"{self._blobs.base}/{OwnerKind.METADATA.value}")
        async with aclosing(pages):
            async for page in pages:
                garbage = await self._garbage(marks, page, project, before)
                folders = {owner.name for blob in garbage if (owner := self._owner(blob)) is not None}
                # The domain's end is not known, so each dash may be it.
                await marks.add(
                    f"gone:{name}" for folder in folders for name in _tails(folder.removeprefix(f"{project}-"))
                )

    async def _garbage(
        self, marks: Marks, page: Sequence[ListedBlob], project: str, before: float
    ) -> Sequence[ListedBlob]:
        old = {blob: owner for blob in page if blob.modified_at < before and (owner := self._owner(blob)) is not None}
        owners = set(old.values())
        if project:
            owners = await _of_project(marks, owners, project)
        words = {owner: _words(owner) for owner in owners}
        marked = await marks.which([word for some in words.values() for word in some])
        unneeded = {owner for owner, some in words.items() if marked.isdisjoint(some)}
        return [blob for blob, owner in old.items() if owner in unneeded]

    def _owner(self, blob: ListedBlob) -> Owner | None:
        return owner_of(blob.uri.removeprefix(f"{self._blobs.base}/"))


async def _of_project(marks: Marks, owners: set[Owner], project: str) -> set[Owner]:
    raw = {owner: execution_names(owner.name) for owner in owners if owner.kind is OwnerKind.RAW}
    gone = await marks.which([f"gone:{name}" for names in raw.values() for name in names])
    found = {owner for owner in owners if belongs_to_project(owner, project)}
    return found | {owner for owner, names in raw.items() if not gone.isdisjoint(f"gone:{name}" for name in names)}


def _words(owner: Owner) -> list[str]:
    """What keeps an owner's blobs when it is marked."""
    if owner.kind is OwnerKind.RAW:
        return [owner.folder, f"name:{owner.name}", f"name:{array_name(owner.name)}"]
    return [owner.folder]


def _tails(text: str) -> list[str]:
    parts = text.split("-")
    return ["-".join(parts[count:]) for count in range(1, len(parts))]
