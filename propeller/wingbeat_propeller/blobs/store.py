"""Opens the blob store that an installation is configured with, and the signer of URLs that goes with it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.blobs.signing import ServedUrlSigner, UrlSigner
from wingbeat_propeller.ports.blob_pages import BlobPages
from wingbeat_propeller.ports.blobs import Blobs

if TYPE_CHECKING:
    from wingbeat_propeller.blobs.s3 import S3Options


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """A folder store. Processes that sign or check URLs need `signing_key`, and where their server is reached."""

    root: Path
    signing_key: bytes | None = None
    http_base_url: str = ""


StoreOptions: TypeAlias = "FolderOptions | S3Options"


class StoredBlobs(Blobs, BlobPages, Protocol):
    """What every store can do."""


@dataclass(frozen=True, slots=True)
class Store:
    """An open store.

    `signer` makes the URLs that clients get: S3's own, else ours; None for a folder without a signing key.
    `served_signer` makes and checks URLs that our own server serves from any store; None without a signing key.
    """

    blobs: StoredBlobs
    signer: UrlSigner | None
    served_signer: ServedUrlSigner | None


@asynccontextmanager
async def open_store(options: StoreOptions) -> AsyncGenerator[Store]:
    """The store while the context lasts. Raises OSError for a folder that cannot be made."""
    if isinstance(options, FolderOptions):
        blobs = FolderBlobs(options.root)
        blobs.remove_partials()
        served = _served_signer(blobs, options)
        yield Store(blobs, served, served)
        return
    from wingbeat_propeller.blobs.s3 import open_s3  # aiobotocore is an extra

    async with open_s3(options) as (s3, s3_signer):
        yield Store(s3, s3_signer, _served_signer(s3, options))


def _served_signer(blobs: Blobs, options: StoreOptions) -> ServedUrlSigner | None:
    if options.signing_key is None:
        return None
    return ServedUrlSigner(base=blobs.base, http_base_url=options.http_base_url, key=options.signing_key)
