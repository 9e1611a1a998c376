"""WaitExecutions: each end once and soon, whatever had ended before."""

import asyncio

import grpc
import pytest
from flyteidl.core import execution_pb2, literals_pb2
from google.rpc import error_details_pb2
from tests.integration.watch.conftest import Log, execution_id, status_of
from tests.integration.watch.serving import WatchServer

from wingbeat_controlplane.executions.watch import tail
from wingbeat_controlplane.executions.watch.waiting import NAMED_MAX
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2, watch_pb2_grpc

Stub = watch_pb2_grpc.WatchServiceStub


def _wait(*names: str, timeout_s: float | None = None, outputs: bool = False) -> watch_pb2.WaitExecutionsRequest:
    made = watch_pb2.WaitExecutionsRequest(executions=[execution_id(name) for name in names], with_outputs=outputs)
    if timeout_s is not None:
        made.timeout.FromNanoseconds(round(timeout_s * 1e9))
    return made


async def test_ends_as_they_come(stub: Stub, log: Log) -> None:
    """What had ended comes at once, the others when they end, with outputs or errors; then the stream ends."""
    await log.launch("a", "b", "c")
    outputs = literals_pb2.LiteralMap(literals={"o0": literals_pb2.Literal()}).SerializeToString()
    await log.end("a", 4, outputs=outputs)
    call = stub.WaitExecutions(_wait("a", "b", "c", "b", outputs=True))
    first = await call.read()
    assert [(one.execution.name, one.phase) for one in first.ends] == [("a", identity_pb2.EXECUTION_PHASE_SUCCEEDED)]
    assert first.ends[0].outputs.literals == outputs
    assert first.pending == 2
    error = execution_pb2.ExecutionError(code="Broken", message="x" * 10_000, kind=execution_pb2.ExecutionError.USER)
    await log.end("c", 6, error=error.SerializeToString())
    second = await asyncio.wait_for(call.read(), 60)
    assert [(one.execution.name, one.phase) for one in second.ends] == [("c", identity_pb2.EXECUTION_PHASE_FAILED)]
    assert second.ends[0].error.code == "Broken"
    assert len(second.ends[0].error.message) == 4096
    assert second.ends[0].error.kind == transition_pb2.ERROR_KIND_USER
    await log.end("b", 7)
    third = await asyncio.wait_for(call.read(), 60)
    assert [one.execution.name for one in third.ends] == ["b"]
    assert third.pending == 0
    assert await asyncio.wait_for(call.read(), 60) is grpc.aio.EOF


async def test_unknown_executions(stub: Stub, log: Log) -> None:
    """Executions that do not exist are named, and nothing is waited for."""
    await log.launch("a")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.WaitExecutions(_wait("a", "nobody", "neither")).read()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    status = status_of(caught.value)
    named = []
    for detail in status.details:
        info = error_details_pb2.ResourceInfo()
        assert detail.Unpack(info)
        named.append(info.resource_name)
    assert named == ["flytesnacks:development:nobody", "flytesnacks:development:neither"]
    with pytest.raises(grpc.aio.AioRpcError, match="and 9997 more") as caught:
        await stub.WaitExecutions(_wait(*(f"n{number}-{'x' * 500}" for number in range(10_000)))).read()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert len(status_of(caught.value).details) == NAMED_MAX


async def test_timeout_and_deadline(stub: Stub, server: WatchServer, log: Log) -> None:
    """The request's timeout ends the stream with OK and the number of those that run; the call's deadline is
    DEADLINE_EXCEEDED. Neither leaves a seat taken."""
    await log.launch("a", "b")
    await log.end("a")
    responses = [response async for response in stub.WaitExecutions(_wait("a", "b", timeout_s=0.2))]
    assert [one.execution.name for response in responses for one in response.ends] == ["a"]
    assert responses[-1].pending == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stub.WaitExecutions(_wait("b"), timeout=0.2):
            pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(60):
        while server.watching.count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "made",
    [
        watch_pb2.WaitExecutionsRequest(),
        watch_pb2.WaitExecutionsRequest(executions=[identity_pb2.ExecutionIdentifier(project="p", domain="d")]),
        _wait(*(f"e{number}" for number in range(10_001))),
        _wait("a", timeout_s=-1),
    ],
)
async def test_bad_requests(stub: Stub, made: watch_pb2.WaitExecutionsRequest) -> None:
    """What makes no sense is INVALID_ARGUMENT."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.WaitExecutions(made).read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_many_ends(stub: Stub, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two thousand executions that end while they are waited for each is told once, though the queue is far too
    short for them."""
    monkeypatch.setattr(tail, "QUEUE_BATCHES_MAX", 1)
    names = [f"e{number}" for number in range(2_000)]
    await log.launch(*names)
    call = stub.WaitExecutions(_wait(*names))
    assert (await call.read()).pending == 2_000
    seen: list[str] = []

    async def read() -> None:
        while (response := await call.read()) is not grpc.aio.EOF:
            seen.extend(one.execution.name for one in response.ends)

    reading = asyncio.create_task(read())
    ids = [log.ids[name] for name in names]
    for begin in range(0, 2_000, 100):
        async with log.pool.acquire() as connection, connection.transaction():
            some = ids[begin : begin + 100]
            await connection.execute(
                "UPDATE executions SET phase = 4, ended_at = now() WHERE id = ANY($1::bigint[])", some
            )
            await connection.execute(
                "INSERT INTO transitions (execution_id, phase, at) SELECT id, 4, now() FROM unnest($1::bigint[]) AS id",
                some,
            )
    await asyncio.wait_for(reading, 60)
    assert sorted(seen) == sorted(names)
