# ruff: noqa: N802 - methods carry the names of rpcs
"""Streaming rpcs over a real gRPC server, answered by a servicer of the test's own."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import grpc
import pytest

from wingbeat_controlplane.errors import invalid_argument
from wingbeat_controlplane.services.rpcs import CallContext, rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeatidl.batch.v1 import batch_pb2, batch_pb2_grpc
from wingbeatidl.launch.v1 import launch_pb2, launch_pb2_grpc


class _Launch:
    """Acknowledges items by number, refuses the project `bad`, breaks at the project `broken`."""

    def __init__(self) -> None:
        self.read = 0
        self.ended = asyncio.Event()

    async def LaunchStream(
        self, requests: AsyncIterator[launch_pb2.LaunchStreamRequest], context: CallContext
    ) -> AsyncGenerator[launch_pb2.LaunchStreamResponse, None]:
        """Echo."""
        try:
            async for request in requests:
                self.read += 1
                if request.project == "bad":
                    raise invalid_argument("bad is no project")
                if request.project == "broken":
                    raise KeyError("x")
                yield launch_pb2.LaunchStreamResponse(first_item=self.read)
        finally:
            self.ended.set()


class _Batch:
    """Counts rows, and sends as many lines as it is asked to leave out."""

    async def UploadBatch(
        self, requests: AsyncIterator[batch_pb2.UploadBatchRequest], context: CallContext
    ) -> batch_pb2.UploadBatchResponse:
        """Count."""
        total = 0
        async for request in requests:
            total += len(request.rows)
        return batch_pb2.UploadBatchResponse(batch=batch_pb2.Batch(results_written=total))

    async def GetBatchResults(
        self, request: batch_pb2.GetBatchResultsRequest, context: CallContext
    ) -> AsyncGenerator[batch_pb2.GetBatchResultsResponse, None]:
        """Count down."""
        for number in range(request.skip):
            yield batch_pb2.GetBatchResultsResponse(lines=[str(number)])


@pytest.fixture
def launch() -> _Launch:
    """The servicer of LaunchService."""
    return _Launch()


@pytest.fixture
async def channel(launch: _Launch) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a running server."""
    services = [
        (launch_pb2.DESCRIPTOR.services_by_name["LaunchService"], launch),
        (batch_pb2.DESCRIPTOR.services_by_name["BatchService"], _Batch()),
    ]
    rpcs = {name: rpc for service, servicer in services for name, rpc in rpcs_of(service, servicer).items()}
    server = GrpcServer(rpcs, GrpcOptions())
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(0)


async def test_both_ways(channel: grpc.aio.Channel) -> None:
    """Each message is answered while the stream is open."""
    call = launch_pb2_grpc.LaunchServiceStub(channel).LaunchStream()
    for number in (1, 2):
        await call.write(launch_pb2.LaunchStreamRequest())
        assert (await call.read()).first_item == number
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("project", "code"), [("bad", grpc.StatusCode.INVALID_ARGUMENT), ("broken", grpc.StatusCode.INTERNAL)]
)
async def test_an_error_ends_the_stream(channel: grpc.aio.Channel, project: str, code: grpc.StatusCode) -> None:
    """What came before it arrives; the status is that of the error, and never UNKNOWN."""
    call = launch_pb2_grpc.LaunchServiceStub(channel).LaunchStream()
    await call.write(launch_pb2.LaunchStreamRequest())
    assert (await call.read()).first_item == 1
    await call.write(launch_pb2.LaunchStreamRequest(project=project))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is code


async def test_malformed_message(channel: grpc.aio.Channel) -> None:
    """Bytes that are no message of the type end the stream with INVALID_ARGUMENT."""
    call = channel.stream_stream("/wingbeatidl.launch.v1.LaunchService/LaunchStream")()
    await call.write(b"\xff\xff")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_cancelled_call_ends_its_handler(channel: grpc.aio.Channel, launch: _Launch) -> None:
    """A client that goes away leaves no handler behind."""
    call = launch_pb2_grpc.LaunchServiceStub(channel).LaunchStream()
    await call.write(launch_pb2.LaunchStreamRequest())
    await call.read()
    call.cancel()
    async with asyncio.timeout(60):
        await launch.ended.wait()


async def test_one_way_each(channel: grpc.aio.Channel) -> None:
    """A stream of requests with one answer, and one request with a stream of answers."""
    stub = batch_pb2_grpc.BatchServiceStub(channel)

    async def rows() -> AsyncIterator[batch_pb2.UploadBatchRequest]:
        for _ in range(3):
            yield batch_pb2.UploadBatchRequest(rows=[{}, {}])

    assert (await stub.UploadBatch(rows())).batch.results_written == 6
    answers = [answer.lines[0] async for answer in stub.GetBatchResults(batch_pb2.GetBatchResultsRequest(skip=3))]
    assert answers == ["0", "1", "2"]


def test_a_method_of_the_wrong_form() -> None:
    """A coroutine where a stream is to be answered is found when rpcs are bound, not when somebody calls."""
    with pytest.raises(TypeError, match="no asynchronous generator"):
        rpcs_of(launch_pb2.DESCRIPTOR.services_by_name["LaunchService"], _Wrong())


class _Wrong:
    async def LaunchStream(self, requests: object, context: CallContext) -> None:
        """A coroutine where a generator belongs."""
