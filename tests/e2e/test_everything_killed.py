"""`kill -9` of servers, engines, workers and clients at moments drawn from a seed, while all of them are busy.

Two thousand keyed launches, a batch of Python tasks in workers and ten watchers are under way. In the end each key and
each row is one execution, which succeeded, and each watcher was told every transition of what it watches once, in
order, over however many streams and processes it took. No slot of a tenant or a worker is lost.

pytest prints the seed; WINGBEAT_TEST_SEED replays it.
"""

import asyncio
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import asyncpg
import pytest
from tests.e2e import faulty_clients
from tests.e2e.client import DOMAIN, PROJECT, Client, succeeded
from tests.e2e.faulty_clients import ITEMS, PATIENCE, read_lines, told, watches
from tests.e2e.installation import Installation, running_installation, until
from tests.e2e.test_launch_kills import register_echo

from wingbeat import AsyncClient, Batch
from wingbeat_controlplane.supervisor.data_folder import DataFolder
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2

SEED = int(os.environ.get("WINGBEAT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
ROWS = 300
ALIVE_MAX = 60
RUNNING_MAX = 40
"""Attempts of the project at once, so that each takes a slot."""
WORKERS = 2
SLOTS = 2
KILLS = 4
"""Of each victim."""
VICTIMS = ("server", "propeller-0", "propeller-1", "worker-0", "worker-1", "launch", "watch")
PAUSE_S_MAX = 0.9
END_S = 300.0

_EXECUTION = int(transition_pb2.LEVEL_EXECUTION)
_NODE = int(transition_pb2.LEVEL_NODE)


class _Programs:
    """Client programs: started again whenever they were killed, until one ends by itself."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self._command = [sys.executable, "-m", "tests.e2e.faulty_clients"]
        self._arguments = {
            "launch": ["launch", endpoint, str(folder), str(SEED)],
            "watch": ["watch", endpoint, str(folder)],
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._folder = folder

    def start(self, name: str) -> None:
        """Begin, or begin again."""
        log = (self._folder / f"{name}.log").open("ab")
        with log:
            self._running[name] = subprocess.Popen(
                [*self._command, *self._arguments[name]], stdout=log, stderr=log, cwd=Path(__file__).parents[2]
            )

    def kill(self, name: str) -> None:
        """Without warning, and begin again; what has ended has ended."""
        program = self._running[name]
        if self.status(name) is None:
            program.kill()
            program.wait()
            self.start(name)

    def status(self, name: str) -> int | None:
        """How it ended, None while it runs."""
        return self._running[name].poll()

    def said(self, name: str) -> str:
        """What it wrote."""
        return (self._folder / f"{name}.log").read_text()

    def close(self) -> None:
        """End all."""
        for program in self._running.values():
            program.kill()
            program.wait()


@pytest.fixture
def installation() -> Iterator[Installation]:
    """Two engines and two workers of its own, in which nothing that a worker can run runs elsewhere."""
    settings = (
        f'[workers]\ncount = {WORKERS}\nslots = {SLOTS}\nwithout_worker = "wait"\nlease_s = 5\n'
        "[propeller]\nlease_s = 3\nbackoff_s = 0\n[batches]\nlease_s = 3\n"
    )
    with running_installation("--propellers", "2", settings=settings) as own:
        yield own


@pytest.fixture
def programs(installation: Installation, tmp_path: Path) -> Iterator[_Programs]:
    """Clients that are killed, too."""
    programs = _Programs(installation.endpoint, tmp_path)
    try:
        yield programs
    finally:
        programs.close()


@pytest.fixture
async def connection(installation: Installation) -> AsyncIterator[asyncpg.Connection]:
    """A look into the database itself."""
    connection = await asyncpg.connect(EmbeddedPostgres(DataFolder(installation.data_dir).postgres).dsn())
    yield connection
    await connection.close()


async def _kill(installation: Installation, programs: _Programs, dice: random.Random) -> None:
    victims = [victim for victim in VICTIMS for _ in range(KILLS)]
    dice.shuffle(victims)
    for victim in victims:
        await asyncio.sleep(dice.uniform(0.02, PAUSE_S_MAX))  # the moment itself is what is drawn
        if victim in ("launch", "watch"):
            programs.kill(victim)
        else:
            installation.kill([victim])


async def _batch(installation: Installation, client: AsyncClient) -> Batch:
    """Make a batch and look at it until it has ended."""
    manifest = installation.data_dir / "blobs" / "kills.jsonl"
    manifest.write_text("".join(f'{{"name": "row {number}"}}\n' for number in range(ROWS)))
    await client.create_batch(
        str(manifest.resolve()),
        "hello_world.hello_world_wf",
        name=faulty_clients.BATCH,
        alive_max=ALIVE_MAX,
        labels={"third": "1"},
    )
    while not (batch := await client.batch(faulty_clients.BATCH)).state.ended:
        await asyncio.sleep(0.2)
    return batch


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_everything_is_killed(
    installation: Installation, programs: _Programs, connection: asyncpg.Connection, tmp_path: Path, record_property
) -> None:
    """See the module."""
    print(f"WINGBEAT_TEST_SEED={SEED}")
    record_property("seed", SEED)
    flyte = Client(installation.endpoint)
    await asyncio.to_thread(_prepare, installation, flyte)
    programs.start("watch")
    programs.start("launch")
    async with AsyncClient(installation.endpoint, project=PROJECT, domain=DOMAIN, patience=PATIENCE) as client:
        async with asyncio.timeout(END_S), asyncio.TaskGroup() as group:
            ended = group.create_task(_batch(installation, client))
            group.create_task(_kill(installation, programs, random.Random(SEED)))
        async with asyncio.timeout(END_S):
            while programs.status("launch") is None or await connection.fetchval(
                "SELECT count(*) FROM executions WHERE ended_at IS NULL"
            ):
                await asyncio.sleep(0.2)
        assert programs.status("launch") == 0, f"seed {SEED}: {programs.said('launch')}"
        batch = ended.result()
        assert (batch.counts.total, batch.counts.succeeded) == (ROWS, ROWS), f"seed {SEED}: {batch}"
        results = [result async for result in client.batch_results(faulty_clients.BATCH)]
        await _check_watchers(programs, connection, client, tmp_path)
    assert sorted(result["row"] for result in results) == list(range(ROWS)), f"seed {SEED}"
    assert all(result["outputs"] == {"o0": f"Hello, row {result['row']}!"} for result in results), f"seed {SEED}"
    await _check_executions(connection, tmp_path)
    await asyncio.to_thread(_check_slots, installation, flyte, tmp_path)
    assert await connection.fetchval("SELECT count(*) FROM tenant_slots") == 0, f"seed {SEED}"
    flyte.close()
    # Nothing ended for another reason than that it was killed, but for leases that a slow machine has let go.
    logs = [line for path in (installation.data_dir / "logs").iterdir() for line in path.read_text().splitlines()]
    faults = [line for line in logs if '"role failed"' in line and "LeaseLost" not in line]
    assert not faults, f"seed {SEED}: {faults[0]}"


def _prepare(installation: Installation, flyte: Client) -> None:
    register_echo(installation.endpoint)
    succeeded(flyte.run("hello_world", "hello_world_wf", {"name": "the first"}))
    flyte.register("meeting", "meeting_wf")
    limit = ("limits", "set", PROJECT, "--running-max", str(RUNNING_MAX))
    installation.wingbeat(*limit, "--data-dir", str(installation.data_dir))


async def _check_executions(connection: asyncpg.Connection, folder: Path) -> None:
    """Each key and each row is one execution, the one that was acknowledged, and it succeeded."""
    names: dict[int, set[str]] = defaultdict(set)
    for line in read_lines(folder / "acknowledged.jsonl"):
        names[line["number"]].add(line["name"])
    assert sorted(names) == list(range(ITEMS)), f"seed {SEED}"
    assert all(len(some) == 1 for some in names.values()), f"seed {SEED}"
    keyed = await connection.fetch(
        "SELECT e.name FROM executions AS e JOIN workflows AS w ON w.id = e.workflow_id WHERE w.name = $1",
        faulty_clients.WORKFLOW,
    )
    assert sorted(row["name"] for row in keyed) == sorted(set[str]().union(*names.values())), f"seed {SEED}"
    rows = await connection.fetch("SELECT batch_row FROM executions WHERE batch_id IS NOT NULL ORDER BY batch_row")
    assert [row["batch_row"] for row in rows] == list(range(ROWS)), f"seed {SEED}"
    assert await connection.fetchval("SELECT count(*) FROM executions WHERE phase <> 4") == 0, f"seed {SEED}"


_ENTRIES = """
SELECT t.seq, t.node_id, t.phase, e.name, e.batch_id IS NOT NULL AS in_batch, w.name AS workflow, third.value AS third
FROM transitions AS t
JOIN executions AS e ON e.id = t.execution_id
JOIN workflows AS w ON w.id = e.workflow_id
LEFT JOIN execution_tags AS third ON third.execution_id = e.id AND third.key = 'third'
"""


def _entries(rows: Sequence[asyncpg.Record]) -> Sequence[tuple[set[int], set[int]] | None]:
    """By the table: entries about executions and about nodes that each watcher must have been told of."""
    both = {_EXECUTION: lambda row: row["node_id"] is None, _NODE: lambda row: row["node_id"] is not None}

    def chosen(wanted, levels: Sequence[int] = (_EXECUTION, _NODE)) -> tuple[set[int], set[int]]:
        execution, node = (
            {row["seq"] for row in rows if level in levels and both[level](row) and wanted(row)}
            for level in (_EXECUTION, _NODE)
        )
        return execution, node

    named = {faulty_clients.name_of(number) for number in range(faulty_clients.NAMED)}
    return [
        chosen(lambda _: True, [_EXECUTION]),
        chosen(lambda _: True),
        chosen(lambda row: row["in_batch"], [_EXECUTION]),
        chosen(lambda row: row["in_batch"]),
        chosen(lambda row: row["third"] == "1"),
        chosen(lambda row: row["phase"] == 4, [_EXECUTION]),
        chosen(lambda row: row["name"] in named),
        chosen(lambda row: row["workflow"] == faulty_clients.WORKFLOW, [_NODE]),
        None,
        chosen(lambda _: True),
    ]


async def _check_watchers(
    programs: _Programs, connection: asyncpg.Connection, client: AsyncClient, folder: Path
) -> None:
    """Each watcher got what the table holds, and what an undisturbed stream tells now, once and in the same order."""
    entries = _entries(await connection.fetch(_ENTRIES))
    for number, request in enumerate(watches()):
        expected = await _undisturbed(client, request)
        if (by_table := entries[number]) is not None:
            for level, some in zip((_EXECUTION, _NODE), by_table, strict=True):
                assert {one[0] for one in expected if one[1] == level} == some, f"seed {SEED}: watcher {number}"
        path = folder / f"watch-{number}.jsonl"

        def seen(path: Path = path) -> list[tuple]:
            return [tuple(one) for line in read_lines(path) for one in line["told"]]

        async with asyncio.timeout(60):
            while len(seen()) < len(expected):
                assert programs.status("watch") is None, f"seed {SEED}: {programs.said('watch')}"
                await asyncio.sleep(0.1)
            lines = len(read_lines(path))
            while len(read_lines(path)) < lines + 1:  # and nothing more with the next heartbeat
                await asyncio.sleep(0.1)
        got = seen()
        twice = [one for one, count in Counter(got).items() if count > 1]
        assert not twice, f"seed {SEED}: watcher {number} was told twice of {twice[:5]}"
        assert set(got) == set(expected), f"seed {SEED}: watcher {number}"
        assert _by_execution(got) == _by_execution(expected), f"seed {SEED}: watcher {number}"


async def _undisturbed(client: AsyncClient, request: watch_pb2.WatchTransitionsRequest) -> list[tuple]:
    """What one stream tells from the oldest transition to the present end of the log, at which nothing happens now."""
    found: list[tuple] = []
    async for message in client.watch_raw(request, heartbeat_s=1.0):
        found += [told(one) for one in message.transitions]
        if not message.transitions and not message.is_behind and found:
            return found
    raise AssertionError("the stream has ended")


def _by_execution(transitions: Sequence[tuple]) -> dict[str, list[tuple]]:
    order: dict[str, list[tuple]] = defaultdict(list)
    for one in transitions:
        order[one[2]].append(one)
    return order


def _check_slots(installation: Installation, flyte: Client, folder: Path) -> None:
    """As many tasks as the workers have slots run at the same moment."""
    until(lambda: all(installation.pid(f"worker-{number}") for number in range(WORKERS)), what="all workers")
    guests = WORKERS * SLOTS
    (folder / "meeting").mkdir()
    given = {"folder": str(folder / "meeting"), "guests": guests}
    launched = [flyte.launch("meeting", "meeting_wf", {**given, "guest": guest}) for guest in range(guests)]
    for execution in launched:
        assert succeeded(flyte.wait(execution)).outputs["o0"] == guests, f"seed {SEED}"
