"""Bytes between stores and files of this machine, streamed a chunk at a time.

URIs of the installation's store go through it; other buckets of the same S3 service through a client like it; `http`
and `https` are read; a plain absolute path (or `file://`) names a file of this machine, which the task may open anyway.
Calls that fail for the store's sake are repeated for about half a minute.
"""

import asyncio
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.blobs.store import FolderOptions, StoreOptions, open_store
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs

CHUNK_BYTES = 1 << 20
FILES_AT_ONCE = 8
ATTEMPTS_MAX = 7
BACKOFF_S = 0.5
HTTP_TIMEOUT_S = 60.0
EXECUTABLE = 0o755
"""Copied files may be programs."""

_T = TypeVar("_T")


class UnreachableError(Exception):
    """A URI that this process cannot read or write for what it says; the message tells why."""


class StoreFailedError(Exception):
    """A store that should work kept failing."""


def describe_store(options: StoreOptions) -> dict[str, object]:
    """Options as JSON, for `open_transfer` in another process. They may hold secrets."""
    if isinstance(options, FolderOptions):
        return {"folder": str(options.root)}
    names = (
        "bucket", "prefix", "endpoint_url", "region", "access_key_id", "secret_access_key", "session_token",
        "path_style",
    )  # fmt: skip
    return {name: getattr(options, name) for name in names}


@asynccontextmanager
async def open_transfer(store: Mapping[str, object]) -> AsyncGenerator["Transfer"]:
    """What can move bytes, while the context lasts. Raises OSError for a folder that cannot be made."""
    async with AsyncExitStack() as stack:
        if "folder" in store:
            options: StoreOptions = FolderOptions(Path(str(store["folder"])))
        else:
            from wingbeat_propeller.blobs.s3 import S3Options  # aiobotocore is an extra

            options = S3Options(**cast("dict[str, str]", dict(store)))  # pyright: ignore[reportArgumentType]
        opened = await stack.enter_async_context(open_store(options))
        yield Transfer(opened.blobs, options, stack)


async def each(items: Iterable[_T], work: Callable[[_T], Awaitable[None]]) -> None:
    """Do `work` for every item, a few at a time. Raises the first error, when nothing is under way any more."""
    left = iter(items)

    async def take() -> None:
        for item in left:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(FILES_AT_ONCE):
                group.create_task(take())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class Transfer:
    """Moves objects. Methods raise UnreachableError, BlobNotFoundError, StoreFailedError and, for local files, OSError.

    Made by `open_transfer`.
    """

    def __init__(self, blobs: Blobs, options: StoreOptions, stack: AsyncExitStack) -> None:
        self._blobs = blobs
        self._options = options
        self._stack = stack
        self._buckets: dict[str, Blobs] = {}
        self._opening = asyncio.Lock()
        self._at_once = asyncio.Semaphore(FILES_AT_ONCE)

    async def read(self, uri: str) -> bytes:
        """A whole object, which has to fit memory."""
        path = self._local_path(uri)
        if path is not None:
            return await asyncio.to_thread(_read_local, path)
        blobs = await self._store_of(uri)
        return await _riding_out(lambda: blobs.get(uri), f"reading {uri}")

    async def write(self, uri: str, data: bytes) -> None:
        """Write or replace an object of the installation's store."""
        await _riding_out(lambda: self._blobs.put(uri, data), f"writing {uri}")

    async def fetch_file(self, uri: str, path: str) -> None:
        """Copy an object to a new file."""
        async with self._at_once:
            local = self._local_path(uri)
            if local is not None:
                await asyncio.to_thread(_copy_local, local, path)
            elif uri.startswith(("http://", "https://")):
                await _riding_out(lambda: asyncio.to_thread(_fetch_http, uri, path), f"fetching {uri}")
            else:
                blobs = await self._store_of(uri)
                await _riding_out(lambda: _save(blobs.open(uri, CHUNK_BYTES), path), f"reading {uri}")
            os.chmod(path, EXECUTABLE)

    async def fetch_folder(self, uri: str, folder: str) -> None:
        """Copy all objects below a prefix to files, their paths kept. Nothing there: an empty folder."""
        base = uri.rstrip("/")
        os.makedirs(folder, exist_ok=True)
        await each(await self._list(base), lambda found: self._fetch_below(found, base, folder))

    async def send_file(self, path: str, uri: str) -> None:
        """Copy a file to an object."""
        async with self._at_once:
            local = self._local_path(uri)
            if local is not None:
                await asyncio.to_thread(_copy_local, path, local)
                return
            blobs = await self._store_of(uri)
            await _riding_out(lambda: blobs.put_stream(uri, _chunks(path)), f"writing {uri}")

    async def send_folder(self, folder: str, uri: str) -> None:
        """Copy every file below a folder, its path kept."""
        base = uri.rstrip("/")
        if base.startswith("/"):
            os.makedirs(base, exist_ok=True)  # an empty folder is one there, too
        await each(_files_below(folder), lambda path: self.send_file(path, f"{base}/{os.path.relpath(path, folder)}"))

    async def _fetch_below(self, uri: str, base: str, folder: str) -> None:
        relative = uri[len(base) + 1 :]
        if ".." in relative.split("/"):
            raise UnreachableError(f"{uri} leads out of its folder")
        path = os.path.join(folder, relative)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        await self.fetch_file(uri, path)

    async def _list(self, uri: str) -> Sequence[str]:
        local = self._local_path(uri)
        if local is not None:
            if not os.path.isdir(local):
                raise BlobNotFoundError(uri)
            return [f"{uri}/{os.path.relpath(path, local)}" for path in _files_below(local)]
        if uri.startswith(("http://", "https://")):
            raise UnreachableError(f"{uri} is to be copied as a folder, which cannot be listed over HTTP")
        blobs = await self._store_of(uri)
        if isinstance(blobs, FolderBlobs) and not os.path.isdir(uri):
            raise BlobNotFoundError(uri)
        return await _riding_out(lambda: blobs.list(uri), f"listing {uri}")

    def _local_path(self, uri: str) -> str | None:
        """Path of a file of this machine outside of the store, None for every other URI."""
        if uri == self._blobs.base or uri.startswith(f"{self._blobs.base}/"):
            return None
        path = uri.removeprefix("file://")
        return path if path.startswith("/") else None

    async def _store_of(self, uri: str) -> Blobs:
        base = self._blobs.base
        if uri == base or uri.startswith(f"{base}/"):
            return self._blobs
        scheme, separator, rest = uri.partition("://")
        if scheme != "s3" or isinstance(self._options, FolderOptions):
            what = f"the scheme {scheme!r} is not known" if separator else "it is no absolute path"
            raise UnreachableError(f"{uri or 'an empty URI'} lies outside of the store {base}, and {what}")
        bucket = rest.partition("/")[0]
        async with self._opening:
            if bucket not in self._buckets:
                options = replace(self._options, bucket=bucket, prefix="")
                self._buckets[bucket] = (await self._stack.enter_async_context(open_store(options))).blobs
        return self._buckets[bucket]


async def _riding_out(call: Callable[[], Awaitable[_T]], what: str) -> _T:
    """Repeat `call` while it raises OSError. Raises StoreFailedError after the last attempt."""
    for attempt in range(ATTEMPTS_MAX):
        try:
            return await call()
        except BlobAccessError as error:
            raise UnreachableError(str(error)) from error
        except OSError as error:
            if attempt + 1 == ATTEMPTS_MAX:
                raise StoreFailedError(f"{what}: {error}") from error
            sys.stderr.write(f"wingbeat: {what} failed, trying again: {error}\n")
            await asyncio.sleep(BACKOFF_S * 2**attempt)
    raise AssertionError("the loop returns or raises")


async def _save(chunks: AsyncIterator[bytes], path: str) -> None:
    with open(path, "wb", buffering=0) as file:
        async for chunk in chunks:
            file.write(chunk)


async def _chunks(path: str) -> AsyncIterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _read_local(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BlobNotFoundError(path) from error


def _copy_local(source: str, target: str) -> None:
    if not os.path.isfile(source):
        raise BlobNotFoundError(source)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(source, target)


def _fetch_http(uri: str, path: str) -> None:
    try:
        with urllib.request.urlopen(uri, timeout=HTTP_TIMEOUT_S) as answer, open(path, "wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file, CHUNK_BYTES)
    except urllib.error.HTTPError as error:
        if error.code in {404, 410}:
            raise BlobNotFoundError(uri) from error
        if error.code < 500:
            raise UnreachableError(f"{uri} answers {error.code} {error.reason}") from error
        raise


def _files_below(folder: str) -> list[str]:
    """Paths of all files, sorted. Raises UnreachableError for what is neither a file nor a folder."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        paths = [os.path.join(parent, name) for name in names]
        linked = (path for path in (os.path.join(parent, name) for name in folders) if os.path.islink(path))
        for path in (*linked, *paths):
            if not os.path.isfile(path):
                raise UnreachableError(f"{path} is neither a file nor a folder of its own, so it cannot be copied")
        found += paths
    return sorted(found)
