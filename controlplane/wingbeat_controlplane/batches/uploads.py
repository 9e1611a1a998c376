"""Rows that come as a stream become a manifest in the blob store, and then a batch like any other.

An upload that breaks leaves nothing: the store keeps only streams that came to their end.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator

import grpc

from wingbeat_controlplane.batches.batches import Batches
from wingbeat_controlplane.batches.manifest_rows import delimited
from wingbeat_controlplane.errors import ApiError, bad_field
from wingbeat_controlplane.executions.launch import Caller
from wingbeat_controlplane.executions.names import generated_name
from wingbeat_controlplane.launching.limits import check_count
from wingbeat_propeller.ports.blobs import Blobs, BlobTooLargeError
from wingbeatidl.batch.v1 import batch_pb2, manifest_pb2


class Uploads:
    """Receives rows."""

    def __init__(self, blobs: Blobs, batches: Batches, *, size_max: int) -> None:
        self._blobs = blobs
        self._batches = batches
        self._size_max = size_max

    async def receive(self, requests: AsyncIterator[batch_pb2.UploadBatchRequest], caller: Caller) -> batch_pb2.Batch:
        """Store all rows and make the batch. Raises ApiError as `Batches.create`, RESOURCE_EXHAUSTED for too many
        bytes."""
        first = await anext(requests, None)
        if first is None or not first.id.project:
            raise bad_field("id.project", "missing id.project in the first message")
        identifier = first.id
        await self._batches.check(identifier, first.spec)
        if not identifier.name:
            identifier.name = generated_name()
        uri = (
            f"{self._blobs.base}/metadata/batches/{identifier.project}/{identifier.domain}/{identifier.name}"
            f"/manifest/{secrets.token_hex(8)}.items"
        )
        digest = hashlib.sha256()

        async def chunks() -> AsyncIterator[bytes]:
            request = first
            while request is not None:
                check_count(len(request.rows))
                data = b"".join(delimited(row) for row in request.rows)
                digest.update(data)
                yield data
                request = await anext(requests, None)
                if request is not None and (request.HasField("id") or request.HasField("spec")):
                    raise bad_field("id", "id and spec belong into the first message")

        try:
            await self._blobs.put_stream(uri, chunks(), size_max=self._size_max)
        except BlobTooLargeError as error:
            raise ApiError(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"the rows have more than the {self._size_max} bytes allowed"
            ) from error
        manifest = manifest_pb2.Manifest(uri=uri, format=manifest_pb2.MANIFEST_FORMAT_ITEMS)
        try:
            batch = await self._batches.create(identifier, first.spec, manifest, caller, digest.digest())
        except ApiError:
            await self._blobs.delete(uri)
            raise
        if batch.manifest.uri != uri:
            await self._blobs.delete(uri)  # the batch of an earlier call, which has the same rows
        return batch
