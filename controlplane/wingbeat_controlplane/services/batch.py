"""BatchService: manifests of launches."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from wingbeat_controlplane.batches.batches import Batches
from wingbeat_controlplane.batches.uploads import Uploads
from wingbeat_controlplane.errors import bad_field
from wingbeat_controlplane.executions.launch import Caller
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeatidl.batch.v1 import batch_pb2

PAGE_SIZE = 100
PAGE_SIZE_MAX = 1_000


class BatchServicer:
    """The rpcs about batches; `wake` tells the keeper that there is something to drive."""

    def __init__(
        self,
        batches: Batches,
        uploads: Uploads,
        wake: Callable[[], None],
        principal: Callable[[CallContext], str],
    ) -> None:
        self._batches = batches
        self._uploads = uploads
        self._wake = wake
        self._principal = principal

    async def CreateBatch(
        self, request: batch_pb2.CreateBatchRequest, context: CallContext
    ) -> batch_pb2.CreateBatchResponse:
        """From a manifest in the blob store."""
        batch = await self._batches.create(request.id, request.spec, request.manifest, self._caller(context))
        self._wake()
        return batch_pb2.CreateBatchResponse(batch=batch)

    async def UploadBatch(
        self, requests: AsyncIterator[batch_pb2.UploadBatchRequest], context: CallContext
    ) -> batch_pb2.UploadBatchResponse:
        """From rows that are sent here."""
        batch = await self._uploads.receive(requests, self._caller(context))
        self._wake()
        return batch_pb2.UploadBatchResponse(batch=batch)

    async def GetBatch(self, request: batch_pb2.GetBatchRequest, context: CallContext) -> batch_pb2.GetBatchResponse:
        """How a batch stands."""
        return batch_pb2.GetBatchResponse(batch=await self._batches.get(request.id))

    async def ListBatches(
        self, request: batch_pb2.ListBatchesRequest, context: CallContext
    ) -> batch_pb2.ListBatchesResponse:
        """One page of batches."""
        return await self._batches.list_page(request, _page_size(request.page_size))

    async def PauseBatch(
        self, request: batch_pb2.PauseBatchRequest, context: CallContext
    ) -> batch_pb2.PauseBatchResponse:
        """Launch no more for now."""
        return batch_pb2.PauseBatchResponse(batch=await self._batches.pause(request.id, paused=True))

    async def ResumeBatch(
        self, request: batch_pb2.ResumeBatchRequest, context: CallContext
    ) -> batch_pb2.ResumeBatchResponse:
        """Launch on."""
        return batch_pb2.ResumeBatchResponse(batch=await self._batches.pause(request.id, paused=False))

    async def AbortBatch(
        self, request: batch_pb2.AbortBatchRequest, context: CallContext
    ) -> batch_pb2.AbortBatchResponse:
        """Launch no more and abort what is alive."""
        return batch_pb2.AbortBatchResponse(batch=await self._batches.abort(request.id, request.cause))

    async def RetryBatch(
        self, request: batch_pb2.RetryBatchRequest, context: CallContext
    ) -> batch_pb2.RetryBatchResponse:
        """Launch failed rows again."""
        batch, rows = await self._batches.retry(request.id, request.phases)
        self._wake()
        return batch_pb2.RetryBatchResponse(batch=batch, rows=rows)

    async def ListBatchRows(
        self, request: batch_pb2.ListBatchRowsRequest, context: CallContext
    ) -> batch_pb2.ListBatchRowsResponse:
        """One page of rows."""
        return await self._batches.rows(request, _page_size(request.page_size))

    async def GetBatchResults(
        self, request: batch_pb2.GetBatchResultsRequest, context: CallContext
    ) -> AsyncGenerator[batch_pb2.GetBatchResultsResponse, None]:
        """Results written so far."""
        if request.skip < 0:
            raise bad_field("skip", "skip: a number of at least 0 is expected")
        async for answer in self._batches.results(request.id, request.skip):
            yield answer

    def _caller(self, context: CallContext) -> Caller:
        return Caller(self._principal(context), context.peer())


def _page_size(asked: int) -> int:
    if asked < 0:
        raise bad_field("page_size", f"page_size is {asked}: it is at least 0")
    return min(asked or PAGE_SIZE, PAGE_SIZE_MAX)
