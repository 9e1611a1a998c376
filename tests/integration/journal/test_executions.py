"""The execution store: what the engine finds when it takes shards, and how it is woken."""

import asyncio
import contextlib

import asyncpg
import pytest
from tests.integration.journal.conftest import JournalRun
from tests.integration.journal.rows import NOW, effects_of, insert_executions, insert_workflow, node_row

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase
from wingbeat_propeller.core.rows import ExecutionRow
from wingbeat_propeller.postgres.executions import CHANNELS, PostgresExecutionStore


@pytest.fixture
def store(pool: asyncpg.Pool, database_url: str) -> PostgresExecutionStore:
    """A store on the test's database."""
    return PostgresExecutionStore(pool, database_url)


async def test_new_executions_by_shard_oldest_first(store: PostgresExecutionStore, pool: asyncpg.Pool) -> None:
    """Only executions of the asked shards that nobody began and the caller does not know, up to the limit."""
    mine = await insert_executions(pool, 5, shard=3)
    await insert_executions(pool, 2, shard=4)
    await pool.execute("UPDATE executions SET phase = 2 WHERE id = $1", mine[1])
    found = await store.new_executions([3, 9], known=[mine[0]], limit=2)
    assert [record.execution for record in found] == mine[2:4]
    record = found[0]
    assert (record.shard, record.config, record.inputs, record.phase, record.nodes) == (3, b"cfg", b"in", 0, ())
    assert record.abort_cause is None


async def test_an_execution_aborted_before_it_began_is_new(store: PostgresExecutionStore, pool: asyncpg.Pool) -> None:
    """Somebody has to end it: the engine takes it up with the cause, until it has begun."""
    [execution] = await insert_executions(pool, 1)
    await pool.execute("UPDATE executions SET phase = 9, abort_requested_at = now(), abort_cause = 'typo'")
    [record] = await store.new_executions([0], known=[], limit=10)
    assert (record.execution, record.phase, record.abort_cause) == (execution, ExecutionPhase.ABORTING, "typo")
    assert await store.abort_requests([0]) == [(execution, "typo")]
    await pool.execute("UPDATE executions SET started_at = now()")
    assert await store.new_executions([0], known=[], limit=10) == []


async def test_live_executions_come_with_their_nodes(
    store: PostgresExecutionStore, pool: asyncpg.Pool, journal: JournalRun
) -> None:
    """After a take-over the engine reads back exactly what was journaled, page by page, without ended executions."""
    executions = await insert_executions(pool, 4)
    failure = Failure(ErrorKind.USER, "Oops", "no")
    written: list[Effects] = []
    for execution in executions[:3]:
        effects = effects_of(
            node_row(execution, "later", NodePhase.FAILING, seq=1, failure=failure),
            node_row(execution, "first", NodePhase.SUCCEEDED, seq=0, inputs=b"i", outputs=b"o"),
        )
        effects.execution_row = ExecutionRow(execution, ExecutionPhase.RUNNING, NOW, started_at=NOW)
        written.append(effects)
    ended = written[2]
    assert ended.execution_row is not None
    ended.execution_row.ended_at = NOW + 1
    await journal.write(*written)
    [first] = await store.live_executions([0], after=0, limit=1)
    assert first.nodes == tuple(reversed(written[0].nodes))
    assert first.started_at == NOW
    rest = await store.live_executions([0], after=first.execution, limit=10)
    assert [record.execution for record in rest] == [executions[1]]


async def test_workflow_closures_by_id(store: PostgresExecutionStore, pool: asyncpg.Pool) -> None:
    """The stored bytes, or a lookup error."""
    workflow = await insert_workflow(pool, b"bytes")
    assert await store.workflow_closure(workflow) == b"bytes"
    with pytest.raises(LookupError):
        await store.workflow_closure(workflow + 1)


async def test_listening_survives_a_lost_connection(store: PostgresExecutionStore, pool: asyncpg.Pool) -> None:
    """Each connect wakes everything once, each notification its own kind."""
    woken: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(store.listen(lambda reason, _payload: woken.put_nowait(reason)))

    async def take(count: int) -> set[str]:
        async with asyncio.timeout(20):
            return {await woken.get() for _ in range(count)}

    assert await take(len(CHANNELS)) == set(CHANNELS.values())
    await pool.execute("NOTIFY wingbeat_abort")
    assert await take(1) == {"abort"}
    await pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wingbeat listener'"
    )
    assert await take(len(CHANNELS)) == set(CHANNELS.values())
    await pool.execute("NOTIFY wingbeat_new")
    assert await take(1) == {"new"}
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_outages_are_oserrors(store: PostgresExecutionStore, pool: asyncpg.Pool) -> None:
    """A read whose backend is killed while it waits raises an OSError, which callers know to repeat."""
    async with pool.acquire() as locker, locker.transaction():
        await locker.execute("LOCK TABLE workflows")
        reading = asyncio.create_task(store.workflow_closure(1))
        kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE NOT granted AND database IS NOT NULL"
        while not await locker.fetchval(kill):
            assert not reading.done()
        with pytest.raises(OSError, match="administrator command"):
            await reading
