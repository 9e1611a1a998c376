"""OpenLineage events against a real database and a real HTTP receiver."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from flyteidl.core import execution_pb2, literals_pb2
from tests.integration.journal.rows import insert_executions
from tests.integration.openlineage.receiver import Receiver, receiver

from wingbeat_controlplane.executions.openlineage.events import Naming, run_id
from wingbeat_controlplane.executions.openlineage.exporter import ExporterOptions, OpenLineageExporter
from wingbeat_controlplane.executions.openlineage.transports import TransportOptions, open_transport
from wingbeat_controlplane.executions.watch.log import LOG_SETTINGS
from wingbeat_propeller.postgres.pool import create_pool

NAMING = Naming("test", "1")
RUNNING, SUCCEEDED, FAILED, ABORTED = 2, 4, 6, 7
Start = Callable[[], Awaitable["asyncio.Task[None]"]]


@pytest.fixture
def received() -> Iterator[Receiver]:
    """A receiver of this test's own."""
    with receiver() as found:
        yield found


@pytest.fixture
async def start(database_url: str, received: Receiver) -> AsyncIterator[Start]:
    """Starts exporters, each as another process would have it; they end with the test."""
    tasks: list[asyncio.Task[None]] = []
    pools: list[asyncpg.Pool] = []

    async def started() -> "asyncio.Task[None]":
        pool = await create_pool(database_url, size_max=3, application_name="ol", server_settings=LOG_SETTINGS)
        pools.append(pool)
        options = TransportOptions(url=received.url, api_key="secret")
        exporter = OpenLineageExporter(
            pool, lambda: open_transport(options), NAMING, ExporterOptions(poll_s=0.05, backoff_s_min=0.02, page=7)
        )
        task = asyncio.create_task(exporter.run())
        tasks.append(task)
        while not await pool.fetchval("SELECT count(*) FROM openlineage_cursor"):
            assert not task.done()
            await asyncio.sleep(0)
        return task

    yield started
    for task in tasks:
        await end(task)
    for pool in pools:
        pool.terminate()


async def end(task: "asyncio.Task[None]") -> None:
    """Stop an exporter."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def write(pool: asyncpg.Pool, execution: int, *phases: int) -> None:
    """Transitions of an execution, as the journal writes them."""
    for phase in phases:
        await pool.execute(
            "INSERT INTO transitions (execution_id, phase, at) VALUES ($1, $2, clock_timestamp())", execution, phase
        )


async def wait(received: Receiver, count: int) -> None:
    """Until so many events have arrived."""
    await asyncio.to_thread(received.wait, count)


async def test_events_of_executions(start: Start, received: Receiver, pool: asyncpg.Pool) -> None:
    """START, COMPLETE, FAIL and ABORT carry run, job, parent (a node's execution, or an eager task's), error, and the
    blobs given and made; what happened before the first start is left out, nodes are too, and the key is sent."""
    parent, child, broken, cut = await insert_executions(pool, 4)
    await write(pool, parent, RUNNING)
    await start()
    blob = literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri="s3://in/a/b")))
    error = execution_pb2.ExecutionError(message="no luck").SerializeToString()
    inputs = literals_pb2.LiteralMap(literals={"x": blob}).SerializeToString()
    await pool.execute("UPDATE executions SET inputs = '', error = NULL")
    await pool.execute(
        "UPDATE executions SET inputs = $2, parent_execution_id = $3 WHERE id = $1", child, inputs, parent
    )
    await pool.execute("UPDATE executions SET error = $2 WHERE id = $1", broken, error)
    await pool.execute(
        "INSERT INTO execution_tags (execution_id, key, value)"
        " SELECT $1, 'eager-exec', name FROM executions WHERE id = $2",
        *(cut, parent),
    )
    await pool.execute("INSERT INTO lineage_values VALUES ($1, 'n0', 'o0', 'uri:s3://out/c')", child)
    await pool.execute("INSERT INTO transitions (execution_id, node_id, phase, at) VALUES ($1, 'n0', 3, now())", child)
    await write(pool, child, RUNNING, SUCCEEDED)
    await write(pool, broken, RUNNING, 5, FAILED)
    await write(pool, cut, ABORTED)
    await wait(received, 5)
    names = dict(await pool.fetch("SELECT id, name FROM executions"))
    by_run = {run_id(NAMING, "p", "d", name): key for key, name in names.items()}
    told = [(by_run[event["run"]["runId"]], event["eventType"]) for event in received.events]
    assert sorted(told) == [
        (child, "COMPLETE"),
        (child, "START"),
        (broken, "FAIL"),
        (broken, "START"),
        (cut, "ABORT"),
    ]
    begun, over = (
        next(event for event in received.events if told[received.events.index(event)] == (child, state))
        for state in ("START", "COMPLETE")
    )
    assert begun["run"]["facets"]["parent"]["run"]["runId"] == run_id(NAMING, "p", "d", names[parent])
    aborted = received.events[told.index((cut, "ABORT"))]
    assert aborted["run"]["facets"]["parent"] == begun["run"]["facets"]["parent"]
    assert "parent" not in received.events[told.index((broken, "FAIL"))]["run"]["facets"]
    assert begun["job"]["namespace"] == "test"
    assert [(one["namespace"], one["name"]) for one in begun["inputs"]] == [("s3://in", "a/b")]
    assert begun["outputs"] == []
    assert [(one["namespace"], one["name"]) for one in over["outputs"]] == [("s3://out", "c")]
    failed = next(event for event in received.events if event["eventType"] == "FAIL")
    assert failed["run"]["facets"]["errorMessage"]["message"] == "no luck"
    assert received.keys == {"Bearer secret"}


async def test_faults_of_the_receiver(start: Start, received: Receiver, pool: asyncpg.Pool) -> None:
    """What is not taken is sent again, in its order; what is refused for good is left out and stops nothing."""
    first, second = await insert_executions(pool, 2)
    await start()
    received.answers += [503, 500, 429]
    await write(pool, first, RUNNING, SUCCEEDED)
    await wait(received, 2)
    assert received.states() == ["START", "COMPLETE"]
    received.answers.append(422)
    await write(pool, second, RUNNING)
    await asyncio.to_thread(received.wait_until_answered)
    await write(pool, first, FAILED)
    await wait(received, 3)
    assert received.states()[2] == "FAIL"


async def test_killed_exporters_lose_nothing(start: Start, received: Receiver, pool: asyncpg.Pool) -> None:
    """However often the exporter is stopped or thrown out by the database, each event arrives, those of one execution
    in their order; two exporters do not work at once."""
    executions = await insert_executions(pool, 12)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ol'"
    await start()
    task = await start()
    for number, execution in enumerate(executions):
        received.answers += [503] * (number % 3)
        await write(pool, execution, RUNNING, SUCCEEDED)
        if number % 4 == 3:
            await end(task)
            task = await start()
        elif number % 4 == 1:
            await pool.execute(kill)

    def all_arrived() -> bool:
        return len({(event["run"]["runId"], event["eventType"]) for event in received.events}) == 24

    while not all_arrived():
        await asyncio.to_thread(received.wait, len(received.events) + 1)
    for run in {event["run"]["runId"] for event in received.events}:
        states = [event["eventType"] for event in received.events if event["run"]["runId"] == run]
        assert states[0] == "START"
        assert "COMPLETE" in states
    cursor = await pool.fetchval("SELECT cursor FROM openlineage_cursor")
    assert cursor


async def test_file(tmp_path: Path) -> None:
    """A file gets a line of JSON for each event."""
    from datetime import UTC, datetime

    from wingbeat_controlplane.executions.openlineage.events import run_event

    row = dict.fromkeys(("error", "inputs", "parent_project", "parent_domain", "parent_name", "parent_entity_name"))
    row |= {"project": "p", "domain": "d", "name": "e", "entity_name": "lp", "entity_version": "1"}
    event = run_event(NAMING, row, RUNNING, datetime.now(UTC), ["/a/b"], [])
    assert event is not None
    transport = open_transport(TransportOptions(file=str(tmp_path / "events")))
    transport.send(event)
    transport.send(event)
    lines = (tmp_path / "events").read_text().splitlines()
    assert len(lines) == 2
    assert '"name": "/a/b"' in lines[0]
