"""BlobService: what lies in the blob store.

A page token is the last URI of the page before, so pages stay right while objects come and go.
"""

from bisect import bisect_right

from wingbeat_controlplane.errors import invalid_argument, missing
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeat_propeller.ports.blobs import BlobAccessError, Blobs
from wingbeatidl.blobs.v1 import blobs_pb2

_PAGE = 1_000
_PAGE_MAX = 10_000


class BlobServicer:
    """ListBlobs."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def ListBlobs(self, request: blobs_pb2.ListBlobsRequest, context: CallContext) -> blobs_pb2.ListBlobsResponse:
        """One page of the objects below a prefix."""
        if not request.prefix:
            raise missing("prefix")
        folder = request.prefix.rstrip("/")
        if request.page_token and not request.page_token.startswith(f"{folder}/"):
            raise invalid_argument("page_token belongs to another prefix")
        try:
            uris = await self._blobs.list(folder)
        except BlobAccessError as error:
            raise invalid_argument(f"invalid value for prefix: {error}") from error
        begin = bisect_right(uris, request.page_token) if request.page_token else 0
        size = min(request.page_size, _PAGE_MAX) if request.page_size > 0 else _PAGE
        page = uris[begin : begin + size]
        more = begin + size < len(uris)
        return blobs_pb2.ListBlobsResponse(
            blobs=[blobs_pb2.Blob(uri=uri) for uri in page], next_page_token=page[-1] if more else ""
        )
