"""A local copy of a manifest, for reading from anywhere in it. It has no name, so whoever is killed leaves none."""

import asyncio
import hashlib
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from wingbeat_propeller.ports.blobs import Blobs, BlobTooLargeError


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """The file, with size and SHA-256 (hexadecimal) of what was copied. Closed by who asked for it."""

    file: BinaryIO
    size: int
    sha256: str


async def copy_locally(blobs: Blobs, uri: str, keep: Callable[[], Awaitable[None]], *, size_max: int) -> LocalCopy:
    """Copy an object; `keep` is called now and then, and may end it by what it raises.

    Raises BlobNotFoundError, BlobAccessError, BlobTooLargeError, OSError.
    """
    file = tempfile.TemporaryFile(prefix="wingbeat-batch-")  # noqa: SIM115 (the caller closes it)
    digest = hashlib.sha256()
    size = 0
    try:
        async for chunk in blobs.open(uri):
            size += len(chunk)
            _check_size(uri, size, size_max)
            await asyncio.to_thread(_append, file, digest, chunk)
            await keep()
    except BaseException:
        file.close()
        raise
    return LocalCopy(file, size, digest.hexdigest())


def _check_size(uri: str, size: int, size_max: int) -> None:
    if size > size_max:
        raise BlobTooLargeError(f"{uri} has more than the {size_max} bytes that a manifest may have")


class _Digest(Protocol):
    def update(self, data: bytes, /) -> object: ...


def _append(file: BinaryIO, digest: _Digest, chunk: bytes) -> None:
    file.write(chunk)
    digest.update(chunk)
