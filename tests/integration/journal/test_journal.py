"""The journal against a real Postgres: what is durable, in which order, how often, and what faults do to it."""

import asyncio
import tempfile
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from flyteidl.core import execution_pb2
from tests.integration.journal.conftest import BASE, JournalRun, StartJournal, lossy_proxy
from tests.integration.journal.rows import NOW, effects_of, insert_executions, node_row, task_row

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.rows import ExecutionRow, Transition
from wingbeat_propeller.ports import LeaseLostError
from wingbeat_propeller.postgres.journal_errors import MESSAGE_BYTES_MAX


async def test_rows_are_durable_when_the_callback_runs(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """A callback finds its rows in the database, with every field as it was submitted."""
    [execution] = await insert_executions(pool, 1)
    seen: list[int] = []
    row = node_row(execution, "n0", NodePhase.RUNNING, seq=3, inputs=b"in")
    effects = effects_of(row, tasks=[task_row(execution, "n0", TaskPhase.RUNNING)])
    effects.execution_row = ExecutionRow(execution, ExecutionPhase.RUNNING, NOW + 1, started_at=NOW)
    journal.journal.submit(effects, lambda done: seen.append(done.execution))
    await journal.journal.drained()
    assert seen == [execution]
    node = await pool.fetchrow("SELECT *, extract(epoch FROM created_at)::float8 AS epoch FROM node_executions")
    assert node is not None
    assert (node["execution_id"], node["node_id"], node["seq"], node["phase"]) == (execution, "n0", 3, 2)
    assert (node["inputs"], node["outputs"], node["epoch"], node["ended_at"]) == (b"in", None, NOW, None)
    assert await pool.fetchval("SELECT name FROM task_executions") == "e-n0-0"
    assert await pool.fetchval("SELECT phase FROM executions WHERE id = $1", execution) == ExecutionPhase.RUNNING
    assert await pool.fetchval("SELECT count(*) FROM transitions WHERE execution_id = $1", execution) == 1
    assert journal.journal.backlog == 0


@pytest.mark.parametrize("apart", [False, True])
async def test_none_leaves_stored_values(journal: JournalRun, pool: asyncpg.Pool, *, apart: bool) -> None:
    """Inputs written once survive later versions that do not repeat them, in one batch and in several; errors go when
    the node runs again."""
    [execution] = await insert_executions(pool, 1)
    failure = Failure(ErrorKind.USER, "Oops", "no")
    versions = [
        effects_of(node_row(execution, "n0", NodePhase.QUEUED, inputs=b"in")),
        effects_of(node_row(execution, "n0", NodePhase.FAILING, failure=failure)),
        effects_of(node_row(execution, "n0", NodePhase.SUCCEEDED, outputs=b"out")),
    ]
    if apart:
        for version in versions:
            await journal.write(version)
    else:
        await journal.write(*versions)
    node = await pool.fetchrow("SELECT phase, inputs, outputs, error FROM node_executions")
    assert node is not None
    assert tuple(node.values()) == (NodePhase.SUCCEEDED, b"in", b"out", None)
    assert [row["phase"] for row in await pool.fetch("SELECT phase FROM transitions ORDER BY seq")] == [1, 4, 3]


async def test_order_is_kept_under_load(start_journal: StartJournal, pool: asyncpg.Pool) -> None:
    """With batches much smaller than what is submitted, callbacks and transitions of each execution keep their order,
    and every transition is there once."""
    run = await start_journal(batch_rows_max=50)
    executions = await insert_executions(pool, 20)
    for number in range(100):
        for execution in executions:
            row = node_row(execution, f"n{number % 5}", NodePhase.RUNNING)
            effects = effects_of(row)
            effects.transitions = [Transition(execution, "n", number, NodePhase.RUNNING, NOW)]
            run.journal.submit(effects, run.committed.append)
    await run.journal.drained()
    for execution in executions:
        own = [effects.transitions[0].attempt for effects in run.committed if effects.execution == execution]
        assert own == list(range(100))
        logged = await pool.fetch("SELECT attempt FROM transitions WHERE execution_id = $1 ORDER BY seq", execution)
        assert [row["attempt"] for row in logged] == list(range(100))


async def test_aborting_is_not_undone(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """Progress written after a request to abort does not hide it; the final phase does end it."""
    [execution] = await insert_executions(pool, 1)
    await pool.execute("UPDATE executions SET phase = 9, abort_requested_at = now()")
    running = Effects(execution, execution_row=ExecutionRow(execution, ExecutionPhase.RUNNING, NOW, NOW))
    await journal.write(running)
    assert await pool.fetchval("SELECT phase FROM executions") == ExecutionPhase.ABORTING
    failure = Failure(ErrorKind.USER, "Aborted\0", "stop")
    row = ExecutionRow(execution, ExecutionPhase.ABORTED, NOW, NOW, ended_at=NOW + 2, failure=failure)
    await journal.write(Effects(execution, execution_row=row))
    ended = await pool.fetchrow("SELECT phase, error_code, error_kind, duration::text AS took FROM executions")
    assert ended is not None
    assert tuple(ended.values()) == (ExecutionPhase.ABORTED, "Aborted", ErrorKind.USER, "00:00:02")


async def test_an_ended_term_writes_nothing(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """When the term is gone the journal ends with LeaseLostError, calls nothing back and leaves no row."""
    [execution] = await insert_executions(pool, 1)
    await journal.write(effects_of(node_row(execution, "n0", NodePhase.QUEUED)))
    await pool.execute("DELETE FROM propellers WHERE term = $1", journal.term)
    journal.committed.clear()
    with pytest.raises(LeaseLostError):
        await journal.write(effects_of(node_row(execution, "n0", NodePhase.SUCCEEDED)))
    with pytest.raises(LeaseLostError):
        await journal.task
    assert journal.committed == []
    assert await pool.fetchval("SELECT phase FROM node_executions") == NodePhase.QUEUED
    assert await pool.fetchval("SELECT count(*) FROM transitions") == 1


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


async def test_a_lost_answer_writes_nothing_twice(
    start_journal: StartJournal, database_url: str, pool: asyncpg.Pool
) -> None:
    """A batch whose commit succeeded while its answer was lost is recognised: no transition is doubled."""
    parts = urlsplit(database_url)
    socket_folder = parse_qs(parts.query)["host"][0]
    executions = await insert_executions(pool, 4)
    with tempfile.TemporaryDirectory() as folder:
        async with lossy_proxy(f"{socket_folder}/.s.PGSQL.5432", folder) as cut:
            run = await start_journal(f"postgresql://postgres@{parts.path}?host={folder}", lanes=1)
            await run.write(effects_of(node_row(executions[0], "n0", NodePhase.QUEUED)))
            for _ in range(3):
                cut()
                await run.write(*(effects_of(node_row(one, "n0", NodePhase.RUNNING)) for one in executions))
            run.task.cancel()
            await asyncio.wait([run.task])
    assert await pool.fetchval("SELECT count(*) FROM transitions") == 1 + 3 * len(executions)
    assert len(run.committed) == 1 + 3 * len(executions)
    assert await pool.fetchval("SELECT batch FROM journal_lanes") == 4


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


async def test_a_refused_row_is_isolated(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """A value that Postgres refuses ends its own effects only, with the reason; the rest of the batch commits."""
    executions = await insert_executions(pool, 30)
    bad = executions[17]
    names = {execution: "a\0b" if execution == bad else "fine" for execution in executions}
    await journal.write(
        *(effects_of(node_row(one, "n0", NodePhase.QUEUED, node_name=names[one])) for one in executions)
    )
    assert [effects.execution for effects, _ in journal.rejected] == [bad]
    assert isinstance(journal.rejected[0][1], asyncpg.PostgresError)
    assert await pool.fetchval("SELECT count(*) FROM node_executions") == 29
    assert {effects.execution for effects in journal.committed} == set(executions) - {bad}


async def test_a_raising_callback_stops_nobody_else(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """An error in one callback is reported for its effects; later callbacks run."""
    executions = await insert_executions(pool, 3)

    def fail(effects: Effects) -> None:
        raise RuntimeError("callback")

    for number, execution in enumerate(executions):
        effects = effects_of(node_row(execution, "n0", NodePhase.QUEUED))
        journal.journal.submit(effects, fail if number == 1 else journal.committed.append)
    await journal.journal.drained()
    assert len(journal.committed) == 2
    assert [effects.execution for effects, _ in journal.rejected] == [executions[1]]


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


async def test_a_cancel_flushes(start_journal: StartJournal, pool: asyncpg.Pool) -> None:
    """What was submitted before a cancel is durable after it."""
    run = await start_journal(batch_rows_max=10)
    executions = await insert_executions(pool, 100)
    await run.write(effects_of(node_row(executions[0], "n0", NodePhase.QUEUED)))
    for execution in executions:
        run.journal.submit(effects_of(node_row(execution, "n1", NodePhase.QUEUED)), run.committed.append)
    run.task.cancel()
    await asyncio.wait([run.task])
    assert run.task.cancelled()
    assert len(run.committed) == 101
    assert await pool.fetchval("SELECT count(*) FROM node_executions") == 101


async def test_a_lane_goes_on_with_its_numbers(start_journal: StartJournal, pool: asyncpg.Pool) -> None:
    """A second journal of the same term does not take its own first batches for repeated ones."""
    executions = await insert_executions(pool, 2)
    first = await start_journal()
    await first.write(*(effects_of(node_row(one, "n0", NodePhase.QUEUED)) for one in executions))
    first.task.cancel()
    await asyncio.wait([first.task])
    second = await start_journal(term=first.term)
    await second.write(*(effects_of(node_row(one, "n0", NodePhase.RUNNING)) for one in executions))
    assert await pool.fetchval("SELECT count(*) FROM node_executions WHERE phase = $1", NodePhase.RUNNING) == 2
