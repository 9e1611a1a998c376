"""Opens the blob store that an installation is configured with, and the signer of URLs that goes with it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.blobs.signing import FolderSigner, UrlSigner
from wingbeat_propeller.ports import Blobs

if TYPE_CHECKING:
    from wingbeat_propeller.blobs.s3 import S3Options


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """A folder store. `signing_key` and `http_base_url` are needed by processes that sign or check URLs."""

    root: Path
    signing_key: bytes | None = None
    http_base_url: str = ""


StoreOptions: TypeAlias = "FolderOptions | S3Options"


@dataclass(frozen=True, slots=True)
class Store:
    """An open store. `signer` is None for a folder opened without a signing key.

    `folder_signer` is the same signer when this installation's own server has to check the URLs.
    """

    blobs: Blobs
    signer: UrlSigner | None
    folder_signer: FolderSigner | None = None


@asynccontextmanager
async def open_store(options: StoreOptions) -> AsyncGenerator[Store]:
    """The store while the context lasts. Raises OSError for a folder that cannot be made."""
    if isinstance(options, FolderOptions):
        blobs = FolderBlobs(options.root)
        blobs.remove_partials()
        signer = None
        if options.signing_key is not None:
            signer = FolderSigner(base=blobs.base, http_base_url=options.http_base_url, key=options.signing_key)
        yield Store(blobs, signer, signer)
        return
    from wingbeat_propeller.blobs.s3 import open_s3  # aiobotocore is an extra

    async with open_s3(options) as (s3, s3_signer):
        yield Store(s3, s3_signer)
