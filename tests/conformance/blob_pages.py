"""What every blob store must do in bulk; subclass with a fixture `blobs` that yields an empty store."""

import time

import pytest

from wingbeat_propeller.blobs.store import StoredBlobs
from wingbeat_propeller.ports.blob_pages import PAGE_MAX, ListedBlob
from wingbeat_propeller.ports.blobs import BlobAccessError


async def listed(blobs: StoredBlobs, prefix: str) -> list[ListedBlob]:
    """All pages as one, by URI."""
    found: list[ListedBlob] = []
    async for page in blobs.pages(prefix):
        assert len(page) <= PAGE_MAX
        found += page
    return sorted(found, key=lambda blob: blob.uri)


class BlobPagesContract:
    """The contract of `ports.BlobPages`."""

    async def test_pages(self, blobs: StoredBlobs) -> None:
        """Every object below the folder is shown once, with its size and age; none beside it."""
        for number in range(1_050):
            await blobs.put(f"{blobs.base}/data/{number % 7}/{number}", b"x" * (number % 3))
        await blobs.put(f"{blobs.base}/data-beside/x", b"x")
        found = await listed(blobs, f"{blobs.base}/data")
        assert [blob.uri for blob in found] == list(await blobs.list(f"{blobs.base}/data"))
        assert sum(blob.size for blob in found) == 1_050
        assert all(abs(blob.modified_at - time.time()) < 3600 for blob in found)
        assert len(await listed(blobs, blobs.base)) == 1_051
        assert await listed(blobs, f"{blobs.base}/absent") == []

    async def test_delete_all(self, blobs: StoredBlobs) -> None:
        """Those that are named go, others stay; what is absent is no error, and nothing outside is touched."""
        uris = [f"{blobs.base}/a/b/c/d {number}%" for number in range(20)]
        for uri in uris:
            await blobs.put(uri, b"x")
        await blobs.delete_all([*uris[:19], f"{blobs.base}/absent/x"])
        await blobs.delete_all(uris[:2])
        await blobs.delete_all([])
        assert [blob.uri for blob in await listed(blobs, blobs.base)] == uris[19:]
        with pytest.raises(BlobAccessError):
            await blobs.delete_all(["/etc/passwd"])

    async def test_outside(self, blobs: StoredBlobs) -> None:
        """A folder outside of the store cannot be listed."""
        with pytest.raises(BlobAccessError):
            await listed(blobs, "/etc")
