"""Outputs of CacheService, under keys that are its clients' own. Refused when they are not what was put."""

import hashlib
import uuid

import asyncpg
import structlog
from flyteidl.cacheservice import cacheservice_pb2
from google.protobuf.message import DecodeError

from wingbeat_catalog.bounds import bounded
from wingbeat_catalog.errors import CatalogExistsError, CatalogNotFoundError, CatalogRequestError
from wingbeat_catalog.large_outputs import outputs_uri, remove_objects
from wingbeat_catalog.options import CatalogOptions
from wingbeat_catalog.outputs import Reference, ReferenceKind, references
from wingbeat_catalog.references import ReferenceChecker
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "outputs.sql")
_log = structlog.get_logger(__name__)


def reservation_key(key: str) -> bytes:
    """What a reservation of CacheService is stored under, 32 bytes; no tag has such a key."""
    return hashlib.sha256(b"cacheservice:" + key.encode()).digest()


class CachedOutputs:
    """Rows of `cache_outputs`. All methods raise OSError for an outage, and CatalogRequestError."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs, options: CatalogOptions) -> None:
        self._pool = pool
        self._blobs = blobs
        self._options = options
        self._checker = ReferenceChecker(blobs)

    async def get(self, key: str) -> cacheservice_pb2.CachedOutput:
        """One output with its times. Raises CatalogNotFoundError; one that may not be used is removed first."""
        _check(key)
        async with bounded():
            row = await self._pool.fetchrow(_SQL["get"], key)
        if row is None:
            raise _not_found(key)
        try:
            data = row["output"] if row["output"] is not None else await self._blobs.get(row["output_uri"])
            output = cacheservice_pb2.CachedOutput.FromString(data)
            fault = "it is not what was put" if _digest(key, data) != row["output_digest"] else await self._gone(output)
        except (BlobNotFoundError, BlobAccessError):
            fault, output = "it is gone", cacheservice_pb2.CachedOutput()
        except DecodeError:
            fault, output = "it cannot be read", cacheservice_pb2.CachedOutput()
        if fault is not None:
            _log.warning("cached output removed", key=key, text=fault)
            await self._delete(key, row["output_digest"])
            raise _not_found(key)
        output.metadata.created_at.FromDatetime(row["created_at"])
        output.metadata.last_updated_at.FromDatetime(row["updated_at"])
        return output

    async def put(self, key: str, output: cacheservice_pb2.CachedOutput, *, overwrite: bool) -> None:
        """Keep an output. Raises CatalogExistsError when there is one and it is not to be overwritten."""
        _check(key)
        if output.WhichOneof("output") is None or (output.HasField("output_uri") and not output.output_uri):
            raise CatalogRequestError("missing output")
        data = output.SerializeToString(deterministic=True)
        uri = None
        if len(data) > self._options.inline_bytes_max:
            uri = outputs_uri(self._blobs, str(uuid.uuid4()))
            await self._blobs.put(uri, data)
        columns = (key, None if uri else data, uri, _digest(key, data))
        made = True
        async with bounded():
            if overwrite:
                unused = await self._pool.fetchval(_SQL["overwrite"], *columns)
            else:
                made = await self._pool.fetchval(_SQL["put_new"], *columns) is not None
                unused = None if made else uri
        if unused is not None:
            await remove_objects(self._blobs, [unused])
        if not made:
            raise CatalogExistsError(f"cached output {key} already exists")

    async def delete(self, key: str) -> None:
        """Remove one. Raises CatalogNotFoundError."""
        _check(key)
        if not await self._delete(key, None):
            raise _not_found(key)

    async def _delete(self, key: str, digest: bytes | None) -> bool:
        async with bounded():
            rows = await self._pool.fetch(_SQL["delete"], key, digest)
        await remove_objects(self._blobs, [row["output_uri"] for row in rows if row["output_uri"] is not None])
        return bool(rows)

    async def _gone(self, output: cacheservice_pb2.CachedOutput) -> str | None:
        found = (
            [Reference(output.output_uri, ReferenceKind.EITHER)]
            if output.WhichOneof("output") == "output_uri"
            else references(output.output_literals)
        )
        gone = await self._checker.first_gone(found)
        return None if gone is None else f"{gone}, which it refers to, is gone"


def _check(key: str) -> None:
    if not key:
        raise CatalogRequestError("missing key")


def _not_found(key: str) -> CatalogNotFoundError:
    return CatalogNotFoundError(f"missing entity of type cached output with identifier {key}")


def _digest(key: str, data: bytes) -> bytes:
    name = key.encode()
    return hashlib.sha256(b"%d:%s%s" % (len(name), name, data)).digest()
