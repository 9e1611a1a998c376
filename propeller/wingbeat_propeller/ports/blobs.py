"""Objects by URI: what the engine, the runtimes and the server need of a blob store."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol


class BlobNotFoundError(LookupError):
    """No object at that URI."""


class BlobTooLargeError(ValueError):
    """The object is larger than the caller allowed."""


class BlobAccessError(ValueError):
    """The URI is outside the store or malformed. Nothing was touched."""


@dataclass(frozen=True, slots=True)
class BlobStat:
    """What a store knows of an object: its size in bytes and, where known, the raw MD5 of its content (16 bytes)."""

    size: int
    md5: bytes | None = None


class Blobs(Protocol):
    """Objects by URI (`/folder/...` or `s3://bucket/key`). Writes are atomic: a reader sees all of an object or none.

    Every method raises BlobAccessError for a URI outside the store, OSError for a failing store (worth a retry).
    """

    @property
    def base(self) -> str:
        """URI prefix of the container, no slash at the end."""
        ...

    async def stat(self, uri: str) -> BlobStat | None:
        """Size and digest, None when absent."""
        ...

    async def get(self, uri: str, size_max: int | None = None) -> bytes:
        """The whole object. Raises BlobNotFoundError, or BlobTooLargeError above `size_max` bytes."""
        ...

    async def put(self, uri: str, data: bytes) -> None:
        """Write or replace an object."""
        ...

    def open(self, uri: str, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        """Stream an object. Raises BlobNotFoundError at the first chunk."""
        ...

    async def put_stream(self, uri: str, chunks: AsyncIterator[bytes], *, size_max: int | None = None) -> BlobStat:
        """Write an object from a stream, keeping at most a few chunks in memory; an aborted stream leaves nothing.

        Raises BlobTooLargeError as soon as `size_max` is passed.
        """
        ...

    async def list(self, prefix_uri: str) -> Sequence[str]:
        """URIs of all objects below a prefix, sorted."""
        ...

    async def delete(self, uri: str) -> None:
        """Remove an object; one that is absent is no error."""
        ...
