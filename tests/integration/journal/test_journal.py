"""The journal against a real Postgres: what is durable, in which order, how often, and what faults do to it."""

import asyncio

import asyncpg
from flyteidl.core import execution_pb2
from tests.integration.journal.conftest import BASE, JournalRun
from tests.integration.journal.rows import effects_of, insert_executions, node_row, task_row

from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import NodePhase, TaskPhase
from wingbeat_propeller.postgres.journal import LANE_SHARED_MIN, connect_journal
from wingbeat_propeller.postgres.journal_batch import plain_commit
from wingbeat_propeller.postgres.journal_errors import MESSAGE_BYTES_MAX
from wingbeat_propeller.postgres.queries import load_queries


async def test_ending_a_term_waits_for_its_commit(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """Whoever ends a term sees all its rows after that: the delete waits for a commit that holds the lane."""
    [execution] = await insert_executions(pool, 1)
    await journal.write(effects_of(node_row(execution, "n0", NodePhase.QUEUED)))
    async with pool.acquire() as writer, pool.acquire() as other:
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("UPDATE journal_lanes SET batch = batch + 1 WHERE term = $1", journal.term)
        deletion = asyncio.create_task(other.execute("DELETE FROM propellers WHERE term = $1", journal.term))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = $1"
        while not await pool.fetchval(waiting, other.get_server_pid()):
            assert not deletion.done()
        await transaction.commit()
        assert await deletion == "DELETE 1"


async def test_killed_connections_are_survived(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """However often the server throws the journal out, each transition is durable once."""
    executions = await insert_executions(pool, 10)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wingbeat journal'"
    for number in range(20):
        for execution in executions:
            row = node_row(execution, f"n{number}", NodePhase.RUNNING)
            journal.journal.submit(effects_of(row), journal.committed.append)
        await pool.execute(kill)
    await journal.journal.drained()
    assert await pool.fetchval("SELECT count(*) FROM transitions") == 200
    assert await pool.fetchval("SELECT count(*) FROM node_executions") == 200
    assert len(journal.committed) == 200


async def test_large_errors_go_whole_to_a_blob(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """The row's message is bounded, valid and says how much there is; the blob has all of it, and is stored first even
    when the store fails for a while."""
    [execution] = await insert_executions(pool, 1)
    message = "begin " + "ä\0" * 200_000 + " end"
    failure = Failure(ErrorKind.SYSTEM, "Big", message)
    journal.blobs.faults = 2
    row = node_row(execution, "n0", NodePhase.FAILED, failure=failure)
    await journal.write(effects_of(row, tasks=[task_row(execution, "n0", TaskPhase.FAILED, failure=failure)]))
    stored = await pool.fetchrow("SELECT error, error_uri FROM node_executions")
    assert stored is not None
    short = execution_pb2.ExecutionError.FromString(stored["error"])
    assert len(short.message.encode()) <= MESSAGE_BYTES_MAX
    assert short.message.startswith("begin ")
    assert short.message.endswith(" end")
    assert str(len(message.encode())) in short.message
    assert stored["error_uri"].startswith(f"{BASE}/metadata/errors/{execution}/n0/0-")
    whole = execution_pb2.ExecutionError.FromString(journal.blobs.stored[stored["error_uri"]])
    assert (whole.code, whole.message, whole.kind) == ("Big", message, ErrorKind.SYSTEM)
    assert await pool.fetchval("SELECT error_uri FROM task_executions") == stored["error_uri"]
    assert len(journal.blobs.stored) == 1


async def test_a_commit_reads_no_table_whole(database_url: str) -> None:
    """Its plan is made once, when tables may be empty, and must be good for large ones: rows are found by index, with
    and without what few batches have. Before, each commit of a young installation read all of `executions`."""
    commit = load_queries("wingbeat_propeller.postgres", "journal.sql")["commit"]
    connection = await connect_journal(database_url)
    try:
        for number, (statement, arrays) in enumerate([(commit, 7), (plain_commit(commit), 5)]):
            await connection.execute(f"PREPARE planned{number} AS {statement}")
            empty = ", ".join(["'{}'"] * arrays)
            rows = await connection.fetch(f"EXPLAIN EXECUTE planned{number} (1, 0::smallint, 1, {empty})")
            plan = "\n".join(row[0] for row in rows)
            assert "Index Scan using executions_pkey" in plan
            assert "Seq Scan" not in plan, plan
    finally:
        await connection.close()


async def test_other_lanes_are_for_crowds(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """While there is little to write, one lane has all of it, whatever the executions. A crowd is shared, but for
    executions that have effects under way: these stay in order."""
    batches = "SELECT batch FROM journal_lanes WHERE term = $1 AND lane >= 0 ORDER BY lane"
    executions = await insert_executions(pool, 4 * LANE_SHARED_MIN)
    for execution in executions[:10]:
        await journal.write(effects_of(node_row(execution, "n0", NodePhase.QUEUED)))
    first, *others = [row["batch"] for row in await pool.fetch(batches, journal.term)]
    assert first == 10
    assert set(others) == {0}
    for number in range(3):
        for execution in executions:
            row = node_row(execution, f"n{number}", NodePhase.RUNNING)
            journal.journal.submit(effects_of(row), journal.committed.append)
    await journal.journal.drained()
    assert all(row["batch"] for row in await pool.fetch(batches, journal.term))
    of_execution = [effects.nodes[0].node_id for effects in journal.committed if effects.execution == executions[-1]]
    assert of_execution == ["n0", "n1", "n2"]
