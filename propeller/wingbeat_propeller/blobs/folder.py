"""Blob store in a folder of a local file system. URIs are plain absolute paths, `/<folder>/...`.

They name files that tasks and clients open by themselves, and flytekit takes `file:///a` in a literal for the relative
name of a file that does not exist, while it reads `/a` in place.

Writers put bytes into a file of their own under `<folder>/.partial/` and rename it onto its name, so a reader sees all
of an object or none, whoever dies when. Tasks write into the same folder by themselves, with or without such care. What
killed writers leave lies in `.partial`, which no URI reaches and no listing shows; files untouched there for a day are
removed when a store is opened. The store survives the death of any process, not a loss of power: nothing is fsynced.

Small reads and writes are done on the event loop, since a hop to a thread costs more than the system calls; larger ones
and listings go to threads.
"""

import asyncio
import os
import secrets
import stat as stat_bits
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from wingbeat_propeller.blobs.keys import object_key, prefix_key, shown
from wingbeat_propeller.blobs.tally import Tally
from wingbeat_propeller.ports.blob_pages import PAGE_MAX, ListedBlob
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, BlobStat, BlobTooLargeError

INLINE_BYTES_MAX = 256 * 1024
"""Up to this size reads and writes happen on the event loop."""

WRITE_BYTES = 1 << 20
"""Streams are gathered into writes of this size."""

PARTIAL_FOLDER = ".partial"
PARTIAL_AGE_MAX_S = 24 * 3600.0

_T = TypeVar("_T")


class FolderBlobs:
    """Objects as files below `root`, which is made when missing. Satisfies `ports.Blobs` and `ports.BlobPages`."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = os.path.realpath(root)
        self._partial = os.path.join(self._root, PARTIAL_FOLDER)
        os.makedirs(self._partial, mode=0o700, exist_ok=True)

    @property
    def base(self) -> str:
        """The absolute path of the folder."""
        return self._root

    async def stat(self, uri: str) -> BlobStat | None:
        """Size of the object, None when absent; a folder keeps no digests."""
        try:
            found = os.stat(self._path(uri))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return BlobStat(found.st_size) if stat_bits.S_ISREG(found.st_mode) else None

    async def get(self, uri: str, size_max: int | None = None) -> bytes:
        """The whole object. Raises BlobNotFoundError, BlobTooLargeError, BlobAccessError, OSError."""
        with self._open(uri) as file:
            size = os.fstat(file.fileno()).st_size
            if size_max is None or size <= size_max:
                data = await _inline_or_thread(size, file.read)
                size = len(data)  # a task may have written on
                if size_max is None or size <= size_max:
                    return data
        raise BlobTooLargeError(f"{uri} has {size} bytes, more than the {size_max} allowed")

    async def put(self, uri: str, data: bytes) -> None:
        """Write or replace an object."""
        path = self._path(uri)
        await _inline_or_thread(len(data), lambda: self._write_whole(path, data))

    async def open(self, uri: str, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        """Stream an object in chunks of `chunk_bytes`. Raises BlobNotFoundError at the first one."""
        with self._open(uri) as file:
            size = os.fstat(file.fileno()).st_size
            while chunk := await _inline_or_thread(min(size, chunk_bytes), lambda: file.read(chunk_bytes)):
                yield chunk

    async def put_stream(self, uri: str, chunks: AsyncIterator[bytes], *, size_max: int | None = None) -> BlobStat:
        """Write an object from a stream. An exception of the stream passes through and leaves nothing behind.

        Raises BlobTooLargeError as soon as more than `size_max` bytes have come.
        """
        path = self._path(uri)
        partial = self._partial_path()
        tally = Tally(uri, size_max)
        gathered = bytearray()
        try:
            with open(partial, "xb", buffering=0) as file:  # noqa: ASYNC230 creating an empty file does not wait
                async for chunk in chunks:
                    tally.add(chunk)
                    gathered += chunk
                    if len(gathered) >= WRITE_BYTES:
                        data, gathered = gathered, bytearray()
                        await _inline_or_thread(len(data), lambda data=data: _write_all(file, data))
                await _inline_or_thread(len(gathered), lambda: _write_all(file, gathered))
            _move(partial, path, uri)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(partial)
            raise
        return tally.stat()

    async def list(self, prefix_uri: str) -> Sequence[str]:
        """URIs of all objects below a folder, sorted; none when the folder is absent."""
        key = prefix_key(prefix_uri, self.base).rstrip("/")
        top = self._inside(key, prefix_uri) if key else self._root
        return await asyncio.to_thread(_walk, self._root, top)

    async def delete(self, uri: str) -> None:
        """Remove an object; one that is absent is no error. Folders that become empty stay."""
        path = self._path(uri)
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            os.unlink(path)

    def remove_partials(self, *, age_min_s: float = PARTIAL_AGE_MAX_S) -> int:
        """Delete what killed writers left `age_min_s` seconds ago or earlier; returns how many files went."""
        removed = 0
        oldest = time.time() - age_min_s
        with os.scandir(self._partial) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # its writer is done, or another process sweeps as well
                    if entry.stat(follow_symlinks=False).st_mtime <= oldest:
                        os.unlink(entry.path)
                        removed += 1
        return removed

    def _path(self, uri: str) -> str:
        return self._inside(object_key(uri, self.base), uri)

    def _inside(self, key: str, uri: str) -> str:
        """Path of a key with symlinks resolved. Raises BlobAccessError when they lead out of the root."""
        try:
            path = os.path.realpath(os.path.join(self._root, *(part for part in key.split("/") if part)))
        except OSError as error:
            raise BlobAccessError(f"{shown(uri)} is no path: {error}") from error
        if not path.startswith(f"{self._root}/"):
            raise BlobAccessError(f"{shown(uri)} leads out of the store")
        if path == self._partial or path.startswith(f"{self._partial}/"):
            raise BlobAccessError(f"{shown(uri)} lies in the folder of unfinished writes")
        if any(len(part.encode()) > 255 for part in path.split("/")):
            raise BlobAccessError(f"{shown(uri)} has a segment of more than 255 bytes")
        return path

    async def pages(self, prefix_uri: str) -> AsyncGenerator[Sequence[ListedBlob]]:
        """See `ports.BlobPages`. Memory is that of a page, and of an open folder for each level."""
        key = prefix_key(prefix_uri.rstrip("/"), self._root)
        walk = _entries(self._root, os.path.join(self._root, key) if key else self._root)
        while page := await asyncio.to_thread(lambda: list(islice(walk, PAGE_MAX))):
            yield page

    async def delete_all(self, uris: Sequence[str]) -> None:
        """See `ports.BlobPages`. Folders of executions and attempts go with the last object in them."""
        paths = [self._path(uri) for uri in uris]
        await asyncio.to_thread(self._delete_paths, paths)

    def _delete_paths(self, paths: Sequence[str]) -> None:
        for path in paths:
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                os.unlink(path)
        for folder in sorted({os.path.dirname(path) for path in paths}, key=len, reverse=True):
            below = os.path.relpath(folder, self._root).split(os.sep)
            # Folders above those are shared, and somebody may be about to make another one there.
            shared = 4 if below[:2] == ["metadata", "admin"] else 2
            for depth in range(len(below), shared, -1):
                try:
                    os.rmdir(os.path.join(self._root, *below[:depth]))
                except OSError:
                    break

    def _partial_path(self) -> str:
        return os.path.join(self._partial, secrets.token_hex(16))

    def _open(self, uri: str) -> BinaryIO:
        path = self._path(uri)
        try:
            # O_NONBLOCK: a pipe that a task left here must not stop the event loop.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BlobNotFoundError(uri) from error
        if not stat_bits.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BlobNotFoundError(uri)
        return open(descriptor, "rb", buffering=0)

    def _write_whole(self, path: str, data: bytes) -> None:
        partial = self._partial_path()
        try:
            with open(partial, "xb", buffering=0) as file:
                _write_all(file, data)
            _move(partial, path, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(partial)
            raise


def _entries(root: str, top: str) -> Iterator[ListedBlob]:
    """Files below `top`, one open folder for each level."""
    try:
        folder = os.scandir(top)
    except (FileNotFoundError, NotADirectoryError):
        return
    with folder:
        for entry in folder:
            if entry.is_dir(follow_symlinks=False):
                if top != root or entry.name != PARTIAL_FOLDER:
                    yield from _entries(root, entry.path)
            elif entry.is_file(follow_symlinks=False):
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield ListedBlob(entry.path, found.st_size, found.st_mtime)


def _walk(root: str, top: str) -> list[str]:
    found: list[str] = []
    for folder, folders, files in os.walk(top):
        if folder == root and PARTIAL_FOLDER in folders:
            folders.remove(PARTIAL_FOLDER)
        found.extend(f"{folder}/{name}" for name in files)
    return sorted(found)


def _write_all(file: BinaryIO, data: bytes | bytearray) -> None:
    """An unbuffered file may take less than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _move(partial: str, path: str, uri: str) -> None:
    try:
        try:
            os.replace(partial, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.replace(partial, path)
    except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise BlobAccessError(f"{shown(uri)} collides with an object or folder of that name") from error


async def _inline_or_thread(size: int, work: Callable[[], _T]) -> _T:
    """Run `work`, which moves about `size` bytes, where it is cheapest.

    A thread cannot be stopped: on cancellation its end is awaited, since the caller then closes the file it works on.
    """
    if size <= INLINE_BYTES_MAX:
        return work()
    job = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        if not job.cancelled():
            job.exception()  # marks it as seen; the cancellation matters more
        raise
