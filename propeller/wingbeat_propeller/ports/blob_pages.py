"""Objects of a blob store in bulk: what erasing and the collection of garbage need beyond `ports.Blobs`."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

PAGE_MAX: Final = 1_000
"""Most objects of a page, and of one deletion."""


@dataclass(frozen=True, slots=True)
class ListedBlob:
    """An object as a listing shows it: its URI, bytes, and when it was written (seconds since the epoch)."""

    uri: str
    size: int
    modified_at: float


class BlobPages(Protocol):
    """Listings of any length in bounded memory. Both methods raise BlobAccessError for a URI outside the store, OSError
    for a failing store."""

    def pages(self, prefix_uri: str) -> AsyncGenerator[Sequence[ListedBlob]]:
        """The objects below a folder in no particular order, at most PAGE_MAX at a time. What is deleted meanwhile may
        or may not be shown; everything else is, once."""
        ...

    async def delete_all(self, uris: Sequence[str]) -> None:
        """Remove at most PAGE_MAX objects; those that are absent are no error."""
        ...
