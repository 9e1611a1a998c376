"""`kill -9` of server and engine, or the end of their connections to Postgres, at moments drawn from a seed.

Keyed launches and a batch are under way meanwhile. Callers do as clients do: they send again what was not acknowledged,
to whatever server there is. pytest prints the seed; WINGBEAT_TEST_SEED replays it.
"""

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import grpc
import pytest
from flyteidl.admin import launch_plan_pb2, task_pb2
from flyteidl.core import identifier_pb2, tasks_pb2
from flyteidl.service.admin_pb2_grpc import AdminServiceStub
from tests.e2e.client import DOMAIN, PROJECT
from tests.e2e.installation import Installation, running_installation, until
from tests.e2e.specs import INTEGER, identifier, interface, node, promise, workflow_request

from wingbeat_controlplane.supervisor.data_folder import DataFolder
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres
from wingbeatidl.batch.v1 import batch_pb2, batch_pb2_grpc, manifest_pb2
from wingbeatidl.launch.v1 import item_pb2, launch_pb2, launch_pb2_grpc
from wingbeatidl.launch.v1.outcome_pb2 import LAUNCH_STATUS_CREATED, LAUNCH_STATUS_EXISTING

SEED = int(os.environ.get("WINGBEAT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
ITEMS = 2000
ROWS = 600
KILLS = 6
POSTGRES_KILLS = 2
THROWN_OUT = 40
"""Times that Postgres ends some of the connections, before it is killed each time."""
TEMPLATE = item_pb2.LaunchTemplate(target=item_pb2.Target(name="kills.wf", version="v1"))


@pytest.fixture
def installation() -> Iterator[Installation]:
    """An installation of its own, since it is killed."""
    with running_installation() as own:
        yield own


def register_echo(endpoint: str) -> None:
    """A workflow of one `echo` node."""
    task = identifier(identifier_pb2.TASK, "kills.echo", "v1")
    template = tasks_pb2.TaskTemplate(
        id=task,
        type="echo",
        metadata=tasks_pb2.TaskMetadata(runtime=tasks_pb2.RuntimeMetadata(version="1.16.31", flavor="python")),
        interface=interface({"x": INTEGER}, {"o0": INTEGER}),
    )
    workflow = workflow_request(
        "kills.wf",
        "v1",
        [node("n0", task, x=promise("", "x"))],
        inputs={"x": INTEGER},
        outputs={"o0": INTEGER},
        results={"o0": promise("n0", "o0")},
    )
    with grpc.insecure_channel(endpoint) as channel:
        admin = AdminServiceStub(channel)
        admin.CreateTask(task_pb2.TaskCreateRequest(id=task, spec=task_pb2.TaskSpec(template=template)))
        admin.CreateWorkflow(workflow)
        plan = identifier(identifier_pb2.LAUNCH_PLAN, "kills.wf", "v1")
        spec = launch_plan_pb2.LaunchPlanSpec(workflow_id=workflow.id)
        admin.CreateLaunchPlan(launch_plan_pb2.LaunchPlanCreateRequest(id=plan, spec=spec))


async def _launch_all(installation: Installation, randomness: random.Random) -> None:
    """Send items with keys, in portions and in an order of this caller's own, until each is acknowledged."""
    numbers = list(range(ITEMS))
    randomness.shuffle(numbers)
    while numbers:
        try:
            async with grpc.aio.insecure_channel(installation.endpoint) as channel:
                stub = launch_pb2_grpc.LaunchServiceStub(channel)
                while numbers:
                    items = [
                        item_pb2.LaunchItem(
                            idempotency_key=f"k{number}", inputs=item_pb2.Inputs(json=json.dumps({"x": number}))
                        )
                        for number in numbers[-250:]
                    ]
                    request = launch_pb2.LaunchRequest(project=PROJECT, domain=DOMAIN, template=TEMPLATE, items=items)
                    answer = await stub.Launch(request, timeout=30)
                    statuses = {outcome.status for outcome in answer.outcomes}
                    assert statuses <= {LAUNCH_STATUS_CREATED, LAUNCH_STATUS_EXISTING}
                    del numbers[-250:]
        except grpc.aio.AioRpcError as error:
            assert error.code() in (  # noqa: PT017 (what a client repeats its call for)
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
                grpc.StatusCode.CANCELLED,
            ), f"seed {SEED}: {error}"
            await asyncio.sleep(0.1)


async def _batch(installation: Installation) -> batch_pb2.Batch:
    """Make a batch and look at it until it has ended."""
    uri = installation.data_dir / "blobs" / "kills.jsonl"
    uri.write_text("".join(f'{{"x": {number}}}\n' for number in range(ROWS)))
    name = batch_pb2.BatchIdentifier(project=PROJECT, domain=DOMAIN, name="kills")
    request = batch_pb2.CreateBatchRequest(
        id=name,
        spec=batch_pb2.BatchSpec(template=TEMPLATE, alive_max=100),
        manifest=manifest_pb2.Manifest(uri=str(uri.resolve())),
    )
    made = False
    while True:
        try:
            async with grpc.aio.insecure_channel(installation.endpoint) as channel:
                stub = batch_pb2_grpc.BatchServiceStub(channel)
                if not made:
                    await stub.CreateBatch(request, timeout=30)
                    made = True
                batch = (await stub.GetBatch(batch_pb2.GetBatchRequest(id=name), timeout=30)).batch
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.1)
            continue
        if batch.HasField("ended_at"):
            return batch
        await asyncio.sleep(0.1)


async def _kill(installation: Installation, randomness: random.Random) -> None:
    for number in range(KILLS):
        await asyncio.sleep(randomness.uniform(0.05, 1.0))
        installation.kill(["server"] if number % 3 else ["server", "propeller-0"])


async def _throw_out(installation: Installation, randomness: random.Random) -> None:
    """Postgres ends connections of server and engine, and is itself killed now and then."""
    for _ in range(POSTGRES_KILLS):
        connection = await _connect(installation)
        await connection.execute("SELECT setseed($1)", randomness.random())
        for _ in range(THROWN_OUT):
            await asyncio.sleep(randomness.uniform(0.0, 0.05))
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'wingbeat%' AND random() < 0.3"
            )
        pid = installation.pid("postgres")
        installation.kill(["postgres"])
        connection.terminate()
        await asyncio.to_thread(
            until, lambda pid=pid: installation.pid("postgres") not in (0, pid) and installation.answers()
        )


async def _connect(installation: Installation) -> asyncpg.Connection:
    return await asyncpg.connect(EmbeddedPostgres(DataFolder(installation.data_dir).postgres).dsn())


async def _launch_through(
    installation: Installation, fault: Callable[[Installation, random.Random], Awaitable[None]]
) -> None:
    """Two thousand keyed items from three callers and a batch: every key and every row is one execution that ends."""
    await asyncio.to_thread(register_echo, installation.endpoint)
    randomness = random.Random(SEED)
    callers = [random.Random(randomness.random()) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        batch = group.create_task(_batch(installation))
        for caller in callers:
            group.create_task(_launch_all(installation, caller))
        group.create_task(fault(installation, randomness))
    counts = batch.result().counts
    assert (counts.total, counts.succeeded, batch.result().results_written) == (ROWS, ROWS, ROWS), f"seed {SEED}"
    connection = await _connect(installation)
    try:
        keyed = await connection.fetchval("SELECT count(*) FROM executions WHERE batch_id IS NULL")
        rows = await connection.fetchval("SELECT count(DISTINCT batch_row) FROM executions WHERE batch_id IS NOT NULL")
        total = await connection.fetchval("SELECT count(*) FROM executions")
        assert (keyed, rows, total) == (ITEMS, ROWS, ITEMS + ROWS), f"seed {SEED}"
        while await connection.fetchval("SELECT count(*) FROM executions WHERE ended_at IS NULL"):
            await asyncio.sleep(0.1)
        assert await connection.fetchval("SELECT count(*) FROM executions WHERE phase <> 4") == 0, f"seed {SEED}"
    finally:
        await connection.close()


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_kills(installation: Installation) -> None:
    """Whoever is killed, each is launched once."""
    await _launch_through(installation, _kill)


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_lost_connections(tmp_path: Path) -> None:
    """Whichever connections are lost, each is launched once and reported, server and engine live on, and they end when
    they are told to."""
    events = tmp_path / "events"
    settings = (
        f'[openlineage]\nfile = "{events}"\n[propeller]\nlease_s = 120\n'
        "[batches]\nlease_s = 3\n[retention]\ninterval_s = 0.1\nexecutions_days = 1000\n"
    )
    with running_installation(settings=settings) as installation:
        roles = {role: installation.pid(role) for role in ("server", "propeller-0")}
        await _launch_through(installation, _throw_out)
        until(lambda: _ended_runs(events) == ITEMS + ROWS, what=f"seed {SEED}: an event of each end")
        assert {role: installation.pid(role) for role in roles} == roles, f"seed {SEED}"
        log = (installation.data_dir / "logs" / "server.log").read_text()
        assert "uncaught error in a handler" not in log, f"seed {SEED}: {log}"


def _ended_runs(events: Path) -> int:
    lines = [json.loads(line) for line in events.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return len({line["run"]["runId"] for line in lines if line["eventType"] == "COMPLETE"})
