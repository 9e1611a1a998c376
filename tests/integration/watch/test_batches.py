"""Watching and waiting by batch."""

import asyncio

import asyncpg
import grpc
import pytest
from tests.integration.watch.conftest import DOMAIN, PROJECT, Log, collect, request, short

from wingbeat_controlplane.executions.watch.batch_waiting import wait_for_batch
from wingbeat_controlplane.executions.watch.log import LOG_SETTINGS
from wingbeat_controlplane.executions.watch.watching import Watching, WatchOptions
from wingbeatidl.watch.v1 import watch_pb2, watch_pb2_grpc

Stub = watch_pb2_grpc.WatchServiceStub


async def _batch(pool: asyncpg.Pool, total: int) -> int:
    """A batch called `nightly` of so many rows, none launched."""
    return await pool.fetchval(
        "INSERT INTO batches (project, domain, name, content, principal, spec, uri, format, key_column, state, total)"
        " VALUES ($1, $2, 'nightly', gen_random_uuid(), '', '', '', 1, '', 2, $3) RETURNING id",
        *(PROJECT, DOMAIN, total),
    )


async def _launch(log: Log, batch: int, row: int, name: str) -> None:
    """The execution of a row."""
    await log.launch(name)
    await log.pool.execute("UPDATE executions SET batch_id = $2 WHERE id = $1", log.ids[name], batch)
    await log.pool.execute(
        "INSERT INTO batch_rows (batch_id, row, phase, key, file_offset, line, execution_id, name)"
        " VALUES ($1, $2, 2, '', 0, 0, $3, $4)",
        *(batch, row, log.ids[name], name),
    )


async def test_watch_by_batch(stub: Stub, log: Log) -> None:
    """Transitions of the executions of a batch come, with its name; others do not."""
    batch = await _batch(log.pool, 2)
    await _launch(log, batch, 0, "a")
    await log.launch("other")
    call = stub.WatchTransitions(request(project=PROJECT, domain=DOMAIN, batches=["nightly"]))
    await call.read()
    await log.add("other", 2)
    await log.add("a", 2)
    await _launch(log, batch, 1, "b")
    await log.add("b", 2)
    found, _ = await collect(call, 2)
    assert short(found) == [("a", "", 0, 2), ("b", "", 0, 2)]
    assert {one.batch for one in found} == {"nightly"}
    call.cancel()


async def test_wait_for_a_batch(stub: Stub, log: Log) -> None:
    """What had ended comes at once, what ends later when it does, though it was launched after the wait began; each
    once, and the wait ends with the batch."""
    batch = await _batch(log.pool, 3)
    await _launch(log, batch, 0, "a")
    await log.end("a")
    call = stub.WaitExecutions(watch_pb2.WaitExecutionsRequest(batch="nightly", project=PROJECT, domain=DOMAIN))
    assert (await call.read()).pending == 3
    ends = [one.execution.name for one in (await call.read()).ends]
    await _launch(log, batch, 1, "b")
    await log.end("b", 6)
    await _launch(log, batch, 2, "c")
    await log.end("c")
    while len(ends) < 3:
        ends += [one.execution.name for one in (await asyncio.wait_for(call.read(), 60)).ends]
    assert ends == ["a", "b", "c"]
    await log.pool.execute("UPDATE batches SET ended_at = now(), succeeded = 2, failed = 1 WHERE id = $1", batch)
    rest = []
    while (response := await asyncio.wait_for(call.read(), 60)) is not grpc.aio.EOF:
        rest.append(response)
    assert not any(response.ends for response in rest)
    assert rest[-1].pending == 0


async def test_a_timeout(stub: Stub, log: Log) -> None:
    """A wait that is over before the batch says how many rows are left."""
    await _batch(log.pool, 5)
    made = watch_pb2.WaitExecutionsRequest(batch="nightly", project=PROJECT, domain=DOMAIN)
    made.timeout.FromNanoseconds(100_000_000)
    responses = [response async for response in stub.WaitExecutions(made)]
    assert responses[-1].pending == 5


async def test_a_database_that_is_too_slow(pool: asyncpg.Pool, database_url: str, log: Log) -> None:
    """A wait is not over because an answer of the database is: the caller is told to come again."""
    await _batch(log.pool, 5)
    made = watch_pb2.WaitExecutionsRequest(batch="nightly", project=PROJECT, domain=DOMAIN)
    async with asyncpg.create_pool(
        database_url, min_size=1, max_size=1, command_timeout=0.3, server_settings=LOG_SETTINGS
    ) as impatient:
        watching = Watching(impatient, WatchOptions())
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE transitions")
            with pytest.raises(TimeoutError):
                _ = [response async for response in wait_for_batch(pool, watching, made)]


async def test_an_unknown_batch(stub: Stub) -> None:
    """It is NOT_FOUND."""
    made = watch_pb2.WaitExecutionsRequest(batch="nightly", project=PROJECT, domain=DOMAIN)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.WaitExecutions(made).read()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "nightly" in (caught.value.details() or "")
