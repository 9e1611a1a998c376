"""Whether the files that cached outputs refer to are still there.

Asked for entries that are about to be used, many at a time but no more than `CONCURRENT_MAX`. What lies outside of the
installation's store cannot be judged and counts as present; a store that does not answer is an OSError.
"""

import asyncio
from collections.abc import Iterable

from wingbeat_catalog.outputs import Reference, ReferenceKind
from wingbeat_propeller.ports.blobs import BlobAccessError, Blobs

CONCURRENT_MAX = 32
"""Requests to the store at once, for all look-ups of a process."""


class ReferenceChecker:
    """Looks files up in a store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._turn = asyncio.Semaphore(CONCURRENT_MAX)

    async def first_gone(self, references: Iterable[Reference]) -> str | None:
        """URI of a file or folder that is not there any more, None when all are. Raises OSError."""
        for reference in dict.fromkeys(references):
            async with self._turn:
                if not await self._exists(reference):
                    return reference.uri
        return None

    async def _exists(self, reference: Reference) -> bool:
        try:
            if reference.kind is not ReferenceKind.FOLDER and await self._blobs.stat(reference.uri) is not None:
                return True
            return reference.kind is not ReferenceKind.OBJECT and bool(
                await self._blobs.list(reference.uri.rstrip("/") + "/")
            )
        except BlobAccessError:
            return True
