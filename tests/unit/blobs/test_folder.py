"""The folder store: the common contract, and what only a folder can get wrong."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.conformance.blob_pages import BlobPagesContract
from tests.conformance.blobs import BlobsContract

from wingbeat_propeller.blobs.folder import PARTIAL_FOLDER, FolderBlobs
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    """An empty store."""
    return FolderBlobs(tmp_path / "store")


class TestFolderBlobs(BlobsContract, BlobPagesContract):
    """A folder satisfies the contract of blob stores."""


async def test_empty_folders_go(blobs: FolderBlobs, tmp_path: Path) -> None:
    """With the last object of an execution or attempt its folder goes; folders that are shared stay."""
    uris = [
        f"{blobs.base}/{key}"
        for key in ("data/ab/e-n0-0/x/file", "metadata/propeller/p-d-e/n0/data/0/x", "metadata/admin/p/d/e/inputs")
    ]
    for uri in uris:
        await blobs.put(uri, b"x")
    await blobs.delete_all(uris)
    left = [str(folder.relative_to(tmp_path / "store")) for folder in sorted((tmp_path / "store").rglob("*"))]
    assert left == [
        PARTIAL_FOLDER,
        *("data", "data/ab", "metadata", "metadata/admin", "metadata/admin/p", "metadata/admin/p/d"),
        "metadata/propeller",
    ]


async def test_plain_files(blobs: FolderBlobs, tmp_path: Path) -> None:
    """Objects are plain files where the URI says, so that tasks can read and write them with no client of ours."""
    assert blobs.base == f"{tmp_path}/store"
    await blobs.put(f"{blobs.base}/a/x", b"ours")
    assert (tmp_path / "store/a/x").read_bytes() == b"ours"
    (tmp_path / "store/a/y").write_bytes(b"theirs")
    assert await blobs.get(f"{blobs.base}/a/y") == b"theirs"


async def test_symlinks(blobs: FolderBlobs, tmp_path: Path) -> None:
    """A symlink may lead elsewhere in the store, but not out of it, neither as file nor as folder."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    store = tmp_path / "store"
    await blobs.put(f"{blobs.base}/real/x", b"x")
    (store / "inside").symlink_to(store / "real")
    (store / "file").symlink_to(tmp_path / "outside/secret")
    (store / "folder").symlink_to(tmp_path / "outside")
    (store / "dangling").symlink_to(tmp_path / "outside/new")
    assert await blobs.get(f"{blobs.base}/inside/x") == b"x"
    for name in ("file", "folder/secret", "folder/new", "dangling"):
        with pytest.raises(BlobAccessError):
            await blobs.get(f"{blobs.base}/{name}")
        with pytest.raises(BlobAccessError):
            await blobs.put(f"{blobs.base}/{name}", b"")
    assert sorted(os.listdir(tmp_path / "outside")) == ["secret"]


async def test_unfinished_writes(blobs: FolderBlobs, tmp_path: Path) -> None:
    """What a killed writer left is in no listing and reach of no URI, and goes once it is old."""
    left = tmp_path / "store" / PARTIAL_FOLDER / "0123"
    left.write_bytes(b"half")
    await blobs.put(f"{blobs.base}/x", b"")
    assert await blobs.list(blobs.base) == [f"{blobs.base}/x"]
    with pytest.raises(BlobAccessError):
        await blobs.get(f"{blobs.base}/{PARTIAL_FOLDER}/0123")
    with pytest.raises(BlobAccessError):
        await blobs.list(f"{blobs.base}/{PARTIAL_FOLDER}")
    assert blobs.remove_partials() == 0
    os.utime(left, (0, 0))
    assert blobs.remove_partials() == 1
    assert not left.exists()


async def test_cancelled_write(blobs: FolderBlobs, tmp_path: Path) -> None:
    """Cancelling a writer that waits for its stream leaves nothing."""
    waiting = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x" * 5_000_000
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(blobs.put_stream(f"{blobs.base}/x", stuck()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await blobs.list(blobs.base) == []
    assert os.listdir(tmp_path / "store" / PARTIAL_FOLDER) == []


async def test_name_collisions(blobs: FolderBlobs) -> None:
    """An object cannot stand where a folder is, nor a folder where an object is."""
    await blobs.put(f"{blobs.base}/a/x", b"")
    for uri in (f"{blobs.base}/a", f"{blobs.base}/a/x/below", f"{blobs.base}/a/{'n' * 300}"):
        with pytest.raises(BlobAccessError):
            await blobs.put(uri, b"")


async def test_pipes_do_not_block(blobs: FolderBlobs, tmp_path: Path) -> None:
    """A pipe left by a task is no object, and looking at it does not stop the loop."""
    os.mkfifo(tmp_path / "store/pipe")
    assert await blobs.stat(f"{blobs.base}/pipe") is None
    with pytest.raises(BlobNotFoundError):
        await blobs.get(f"{blobs.base}/pipe")


async def test_concurrent_writers(blobs: FolderBlobs) -> None:
    """Readers beside writers of one name see one of the versions, never a mix."""
    uri = f"{blobs.base}/x"
    versions = [bytes([number]) * 400_000 for number in range(6)]
    await blobs.put(uri, versions[0])
    async with asyncio.TaskGroup() as group:
        for version in versions:
            group.create_task(blobs.put(uri, version))
        reads = [group.create_task(blobs.get(uri)) for _ in range(20)]
    assert all(read.result() in versions for read in reads)
