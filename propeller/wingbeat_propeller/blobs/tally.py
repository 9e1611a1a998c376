"""Counts a stream of bytes on its way into a store."""

import hashlib

from wingbeat_propeller.ports.blobs import BlobStat, BlobTooLargeError


class Tally:
    """Size and MD5 of what has come so far, held against the most that is allowed for `uri`."""

    def __init__(self, uri: str, size_max: int | None) -> None:
        self._uri = uri
        self._size_max = size_max
        self._size = 0
        self._digest = hashlib.md5(usedforsecurity=False)

    def add(self, chunk: bytes) -> None:
        """Count a chunk. Raises BlobTooLargeError when it leads past the limit."""
        self._size += len(chunk)
        if self._size_max is not None and self._size > self._size_max:
            raise BlobTooLargeError(f"{self._uri} would exceed the {self._size_max} bytes allowed")
        self._digest.update(chunk)

    def stat(self) -> BlobStat:
        """What has been counted."""
        return BlobStat(self._size, self._digest.digest())
