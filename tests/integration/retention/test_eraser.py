"""Executions with everything of theirs."""

import asyncio
import os
import random
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest

from tests.integration.retention.conftest import DOMAIN, PROJECT, Past
from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.terminate import Terminator
from wingbeat_controlplane.retention.batch_remains import BatchRemains, WholeBatch
from wingbeat_controlplane.retention.eraser import ByLabel, ByName, ByProject, Eraser, Erasure, Target
from wingbeat_controlplane.retention.leavings import Leavings
from wingbeat_controlplane.retention.places import Places
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.ids import generated_name


class House:
    """An installation: rows, blobs and logs."""

    def __init__(self, past: Past, folder: Path) -> None:
        self.past = past
        self.folder = folder
        self.blobs = FolderBlobs(folder / "blobs")
        self.state_dir = folder / "local"
        self.eraser = self.make_eraser(self.blobs)

    def make_eraser(self, blobs: FolderBlobs) -> Eraser:
        """An eraser over a store."""
        leavings = Leavings(self.past.pool, blobs, self.state_dir)
        terminator = Terminator(self.past.pool)
        remains = BatchRemains(self.past.pool, blobs)
        return Eraser(self.past.pool, leavings, remains, terminator, base=self.blobs.base, end_timeout_s=5, poll_s=0.01)

    async def execution(self, name: str, *, project: str = PROJECT, **more: object) -> int:
        """One with blobs and logs of each attempt, a cache entry with a blob, and an artifact."""
        key = await self.past.execution(name, days=1, project=project, **more)  # pyright: ignore[reportArgumentType]
        places = Places.of(self.blobs.base, key, project, DOMAIN, name, b"")
        attempts = [places.attempt(generated_name(name, node, 0)) for node in ("n0", "n1")]
        for element in range(3):
            attempts += places.elements("n1", 0, element, 0)
        for attempt in attempts:
            await self.blobs.put(f"{attempt.raw_folder}/deep/file", b"raw")
            log = self.state_dir / "tasks" / attempt.log_name
            log.mkdir(parents=True)
            (log / "stdout.log").write_text("said")
        await self.blobs.put(f"{places.metadata_folder}/n0/data/inputs.pb", b"in")
        await self.blobs.put(places.launch_files[0], b"inputs")
        cached = f"{self.blobs.base}/cache/{key}.pb"
        await self.blobs.put(cached, b"out")
        dataset = await self.past.pool.fetchval(
            "INSERT INTO cache_datasets (digest, project, domain, name, version) VALUES ($1, $2, $3, $4, 'v')"
            " RETURNING id",
            *(f"{project}/{name}".encode(), project, DOMAIN, name),
        )
        await self.past.pool.execute(
            "INSERT INTO cache_artifacts (dataset_id, artifact_id, data_uri, data_digest, has_references,"
            " source_project, source_domain, source_execution) VALUES ($1, $2, $3, '', false, $4, $5, $2)",
            *(dataset, name, cached, project, DOMAIN),
        )
        await self.past.pool.execute(
            "INSERT INTO artifacts (project, domain, name, version, spec, execution_project, execution_domain,"
            " execution_name) VALUES ($1, $2, $3, 'v', '', $1, $2, $3)",
            *(project, DOMAIN, name),
        )
        return key

    async def state(self) -> object:
        """All that is there: rows by table, blobs, logs."""
        rows = await self.past.counts()
        for table in ("cache_artifacts", "artifacts"):
            rows[table] = await self.past.pool.fetchval(f"SELECT count(*) FROM {table}")
        files = sorted(str(path) for path in self.folder.rglob("*") if path.is_file())
        return rows, await self.past.names(), files

    def raw_files(self) -> int:
        """How many are there now, while others remove some."""
        return sum("file" in files for _, _, files in os.walk(self.folder))

    async def erase(self, target: Target, *, is_dry_run: bool = False, terminates: bool = False) -> Sequence[Erasure]:
        """All answers about executions."""
        found = self.eraser.erase(target, is_dry_run=is_dry_run, terminates=terminates)
        return [erasure async for erasure in found if isinstance(erasure, Erasure)]

    async def erased_batches(self, target: Target, *, is_dry_run: bool = False) -> Sequence[WholeBatch]:
        """All answers about batches."""
        found = self.eraser.erase(target, is_dry_run=is_dry_run)
        return [batch async for batch in found if isinstance(batch, WholeBatch)]


@pytest.fixture
def house(past: Past, tmp_path: Path) -> House:
    """Nothing in it."""
    return House(past, tmp_path)


@pytest.mark.parametrize(
    "target",
    [
        ByName(PROJECT, DOMAIN, "gone"),
        ByLabel("team", "red"),
        ByLabel("team", "red", PROJECT, DOMAIN),
        ByProject("p1"),
        ByProject("p1", DOMAIN),
    ],
    ids=str,
)
async def test_nothing_is_left(house: House, target: Target) -> None:
    """By name, label or project: no row, blob, log, cache entry or artifact is left, and a dry run had told which;
    what others have is as it was."""
    await house.execution("stays", label="blue")
    before = await house.state()
    await house.execution("gone", label="red", project="p1" if isinstance(target, ByProject) else PROJECT)
    full = await house.state()
    told = await house.erase(target, is_dry_run=True)
    assert await house.state() == full
    erased = await house.erase(target)
    assert erased == told
    assert [erasure.execution.name for erasure in erased] == ["gone"]
    assert (erased[0].tally.blob_count, erased[0].tally.log_count) == (8, 5)
    assert await house.state() == before
    assert not list(house.folder.rglob("*gone*"))


@pytest.mark.parametrize("target", [ByProject("nobody"), ByLabel("team", "red", "nobody")], ids=str)
async def test_a_project_that_is_not_there(house: House, target: Target) -> None:
    """Who mistypes the name of a project is told so, instead of that nothing was in it."""
    for is_dry_run in (True, False):
        with pytest.raises(ApiError, match="project with identifier nobody") as refused:
            await house.erase(target, is_dry_run=is_dry_run)
        assert refused.value.code is grpc.StatusCode.NOT_FOUND
    assert await house.erase(ByProject(PROJECT)) == []


@pytest.mark.parametrize(("target", "left"), [(ByProject("p1"), ["live", "other"]), (ByProject("p1", "d2"), None)])
async def test_batches_whose_executions_were_pruned(house: House, target: Target, left: list[str] | None) -> None:
    """With a project go its ended batches, though pruning has left none of their executions; what runs stays. A dry run
    names them."""
    pool = house.past.pool
    for name, project, ended in (("ended", "p1", True), ("live", "p1", False), ("other", "p2", True)):
        batch = await pool.fetchval(
            "INSERT INTO batches (project, domain, name, content, principal, spec, uri, format, key_column, ended_at)"
            " VALUES ($1, $2, $3, gen_random_uuid(), '', '', '', 0, '', CASE WHEN $4 THEN now() END) RETURNING id",
            *(project, DOMAIN, name, ended),
        )
        await pool.execute(
            "INSERT INTO batch_rows (batch_id, row, phase, key, file_offset, line, execution_id, name)"
            " VALUES ($1, 0, 4, 'k', 0, 1, 1000000, 'pruned')",
            batch,
        )
        await house.blobs.put(f"{house.blobs.base}/metadata/batches/{project}/{DOMAIN}/{name}/results/0.jsonl", b"{}")
    told = await house.erased_batches(target, is_dry_run=True)
    assert [(batch.name, batch.rows, batch.blob_count, batch.blob_bytes) for batch in told] == (
        [("ended", {"batches": 1, "batch_rows": 1}, 1, 2)] if left else []
    )
    assert await pool.fetchval("SELECT count(*) FROM batches") == 3
    assert await house.erased_batches(target) == told
    expected = left or ["ended", "live", "other"]
    assert [row["name"] for row in await pool.fetch("SELECT name FROM batches ORDER BY name")] == expected
    assert await pool.fetchval("SELECT count(*) FROM batch_rows") == len(expected)
    assert sorted(path.parts[-3] for path in house.folder.rglob("0.jsonl")) == expected


async def test_what_was_launched_goes_too(house: House) -> None:
    """Executions that nodes and eager tasks launched go with theirs, at any depth."""
    top = await house.execution("top")
    child = await house.execution("child", parent_execution_id=top, parent_node_id="n0")
    await house.execution("grandchild", parent_execution_id=child, parent_node_id="n0")
    eager = await house.execution("eager")
    await house.past.pool.execute("INSERT INTO execution_tags VALUES ($1, 'eager-exec', 'top')", eager)
    await house.execution("stays")
    await house.erase(ByName(PROJECT, DOMAIN, "top"))
    assert await house.past.names() == ["stays"]


async def test_same_names(house: House) -> None:
    """Executions of two projects that have one name keep what is theirs: the key of a launch, and raw data that cannot
    be told apart, which is named; it goes with the last of them."""
    pool = house.past.pool
    for project, seconds in ((PROJECT, 0), ("p1", 5)):
        key = await house.execution("same", project=project)
        await pool.execute(
            "INSERT INTO launch_keys"
            " SELECT gen_random_uuid(), gen_random_uuid(), name, created_at + $2 * interval '1 s'"
            " FROM executions WHERE id = $1",
            *(key, seconds),
        )
        await pool.execute(
            "UPDATE executions SET created_at = created_at + $2 * interval '1 s' WHERE id = $1", key, seconds
        )
    raw = house.folder / "blobs" / "data"
    assert (count := len(list(raw.rglob("file")))) == 5
    told = await house.erase(ByProject("p1"), is_dry_run=True)
    assert told[0].rows["launch_keys"] == 1
    assert told[0].tally.left_alone == [f"{raw}/*/same-*"]
    assert await house.erase(ByProject("p1")) == told
    assert await pool.fetchval("SELECT k.created_at = e.created_at FROM launch_keys AS k, executions AS e")
    assert len(list(raw.rglob("file"))) == count
    await house.erase(ByName(PROJECT, DOMAIN, "same"))
    assert await pool.fetchval("SELECT count(*) FROM launch_keys") == 0
    assert not list(house.folder.rglob("*same*"))


async def test_launched_while_it_is_terminated(house: House) -> None:
    """What an execution launches after it was looked for, and before it ends, goes with it."""
    top = await house.execution("top", is_live=True)

    async def engine() -> None:
        asked = "SELECT FROM executions WHERE id = $1 AND abort_requested_at IS NOT NULL"
        while not await house.past.pool.fetch(asked, top):
            await asyncio.sleep(0.01)
        await house.execution("late", parent_execution_id=top, parent_node_id="n0")
        await house.past.pool.execute("UPDATE executions SET ended_at = now(), phase = 7 WHERE id = $1", top)

    ending = asyncio.create_task(engine())
    await house.erase(ByName(PROJECT, DOMAIN, "top"), terminates=True)
    await ending
    assert await house.past.names() == []
    assert not list(house.folder.rglob("*late*"))


async def test_running_executions(house: House) -> None:
    """While one runs nothing is erased, unless it is to be terminated and ends."""
    await house.execution("ended", label="red")
    await house.execution("runs", label="red", is_live=True)
    before = await house.state()
    with pytest.raises(ApiError, match="still running: runs"):
        await house.erase(ByLabel("team", "red"))
    assert await house.state() == before
    assert [found.is_running for found in await house.erase(ByLabel("team", "red"), is_dry_run=True)] == [False, True]

    async def engine() -> None:
        abort = "UPDATE executions SET ended_at = now(), phase = 7 WHERE abort_requested_at IS NOT NULL RETURNING id"
        while not await house.past.pool.fetch(abort):
            await asyncio.sleep(0.01)

    ending = asyncio.create_task(engine())
    await house.erase(ByLabel("team", "red"), terminates=True)
    await ending
    assert await house.past.names() == []


async def test_unknown(house: House) -> None:
    """What is not there cannot be erased."""
    with pytest.raises(ApiError, match="missing entity"):
        await house.erase(ByName(PROJECT, DOMAIN, "absent"))
    assert await house.erase(ByLabel("team", "none")) == []


class _FailingBlobs(FolderBlobs):
    """Every deletion fails from the `after`-th on."""

    def __init__(self, root: Path, after: int) -> None:
        super().__init__(root)
        self._left = after

    async def delete_all(self, uris: Sequence[str]) -> None:
        """Or fails."""
        self._left -= 1
        if self._left < 0:
            raise OSError("the store is out")
        await super().delete_all(uris)


@pytest.mark.parametrize("after", [0, 1, 4, 7])
async def test_a_store_that_fails(house: House, after: int) -> None:
    """An erasure that a store interrupts is gone for readers at once, and finished later."""
    before = await house.state()
    await house.execution("gone")
    failing = house.make_eraser(_FailingBlobs(house.folder / "blobs", after))
    with pytest.raises(OSError, match="out"):
        async for _ in failing.erase(ByName(PROJECT, DOMAIN, "gone")):
            pass
    assert await house.past.names() == []
    assert await house.eraser.resume() == 1
    assert await house.state() == before
    assert await house.eraser.resume() == 0


_PROCESS = """
import asyncio, sys
from pathlib import Path
from wingbeat_controlplane.executions.terminate import Terminator
from wingbeat_controlplane.retention.batch_remains import BatchRemains
from wingbeat_controlplane.retention.eraser import ByProject, Eraser
from wingbeat_controlplane.retention.leavings import Leavings
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.postgres.pool import create_pool

async def main():
    pool = await create_pool(sys.argv[1], size_max=2, application_name="eraser")
    folder = Path(sys.argv[2])
    blobs = FolderBlobs(folder / "blobs")
    remains = BatchRemains(pool, blobs)
    eraser = Eraser(pool, Leavings(pool, blobs, folder / "local"), remains, Terminator(pool), base=blobs.base)
    print("ready", flush=True)
    async for _ in eraser.erase(ByProject("p1")):
        pass

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", range(2))
async def test_kills(house: House, database_url: str, seed: int) -> None:
    """Killed at any moment, an erasure is finished by the next one, and nothing else goes."""
    await house.past.pool.execute("INSERT INTO projects (identifier, name, description) VALUES ('p1', 'p1', '')")
    await house.execution("stays")
    before = await house.state()
    for number in range(6):
        await house.execution(f"gone{number}", project="p1")
    goal = random.Random(seed).randrange(5, 40)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROCESS, database_url, str(house.folder), stdout=PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    while process.returncode is None and house.raw_files() > goal:
        await asyncio.sleep(0.001)
    if process.returncode is None:
        process.kill()
    await process.wait()
    await house.eraser.resume()
    await house.erase(ByProject("p1"))
    assert await house.state() == before, seed
