"""Executions after their time."""

import asyncio
import random
import sys
from asyncio.subprocess import PIPE
from datetime import timedelta
from pathlib import Path
from typing import cast

import asyncpg
import pytest

from tests.integration.retention.conftest import DOMAIN, NOW, PROJECT, TABLES, Past
from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.retention.eraser import Eraser
from wingbeat_controlplane.retention.policies import PolicyStore
from wingbeat_controlplane.retention.policy import Policy
from wingbeat_controlplane.retention.pruner import LOCK, Pruner, PrunerOptions
from wingbeat_propeller.blobs.folder import FolderBlobs

OPTIONS = PrunerOptions(batch=3, rest=0, lock_timeout_s=0.2, vacuum_rows_min=1)


async def test_what_is_old_goes_whole(past: Past, policies: PolicyStore, database_url: str) -> None:
    """Of executions after their time no row is left in any table; of others every row stays."""
    kept = await past.execution("kept", days=29)
    before = await past.counts()
    old = [await past.execution(f"old{number}", days=31 + number) for number in range(10)]
    assert await Pruner(database_url, policies, OPTIONS).prune(NOW) == 10
    assert await past.names() == ["kept"]
    assert await past.counts() == before
    assert await past.rows_of(old) == 0
    assert await past.rows_of([kept]) > 0


async def test_what_others_need_stays(past: Past, policies: PolicyStore, database_url: str) -> None:
    """Kept are what runs, children of what runs, and what an execution that runs recovers from; later they go."""
    await past.execution("runs", days=90, is_live=True)
    parent = await past.execution("parent", days=90, is_live=True)
    await past.execution("child", days=80, parent_execution_id=parent, parent_node_id="n0")
    source = await past.execution("source", days=80)
    await past.execution("recovers", days=1, is_live=True, source_execution_id=source)
    batch = await past.pool.fetchval(
        "INSERT INTO batches (project, domain, name, content, principal, spec, uri, format, key_column)"
        " VALUES ('p', 'd', 'b', gen_random_uuid(), '', '', '', 0, '') RETURNING id"
    )
    await past.execution("batched", days=80, batch_id=batch, batch_row=0)
    await past.execution("alone", days=80, parent_execution_id=10**9)
    pruner = Pruner(database_url, policies, OPTIONS)
    assert await pruner.prune(NOW) == 1
    assert await past.names() == ["runs", "parent", "child", "source", "recovers", "batched"]
    await past.pool.execute("UPDATE executions SET ended_at = now() WHERE name IN ('parent', 'recovers')")
    await past.pool.execute("UPDATE batches SET ended_at = now()")
    assert await pruner.prune(NOW) == 3
    assert await past.names() == ["runs", "parent", "recovers"]


async def test_rows_go_though_an_erasure_cannot(past: Past, policies: PolicyStore, database_url: str) -> None:
    """A blob store that does not answer keeps erasures back, and nothing else."""

    class Unreachable:
        async def resume(self) -> int:
            raise OSError("the blob store does not answer")

    await past.execution("old", days=31)
    pruner = Pruner(database_url, policies, OPTIONS, eraser=cast("Eraser", Unreachable()))
    pruning = asyncio.create_task(pruner.run())
    async with asyncio.timeout(60):
        while await past.names():
            await asyncio.sleep(0.02)
    pruning.cancel()
    await asyncio.wait([pruning])


async def test_projects_have_policies_of_their_own(past: Past, policies: PolicyStore, database_url: str) -> None:
    """A project's policy overrides the installation's, and taking it away lets that hold again."""
    await past.execution("mine", days=10)
    await past.execution("other", days=10, project="p2")
    await past.execution("older", days=60, project="p2")
    pruner = Pruner(database_url, policies, OPTIONS)
    await policies.set(PROJECT, DOMAIN, Policy(executions_days=7), change_executions=True, change_cache=False)
    await policies.set(PROJECT, "", Policy(executions_days=0), change_executions=True, change_cache=True)
    assert await pruner.prune(NOW) == 2
    assert await past.names() == ["other"]
    await policies.delete(PROJECT, DOMAIN)
    await past.execution("forever", days=1000)
    assert await pruner.prune(NOW) == 0
    with pytest.raises(ApiError):
        await policies.delete(PROJECT, DOMAIN)
    with pytest.raises(ApiError):
        await policies.set("unknown", "", Policy(1), change_executions=True, change_cache=True)


async def test_cache_entries(past: Past, policies: PolicyStore, database_url: str, tmp_path: Path) -> None:
    """Entries of the cache go by their own policy, with what they keep in the blob store; renewed ones stay."""
    blobs = FolderBlobs(tmp_path)
    pool = past.pool
    dataset = await pool.fetchval(
        "INSERT INTO cache_datasets (digest, project, domain, name, version)"
        " VALUES ('', $1, $2, 't', 'v') RETURNING id",
        *(PROJECT, DOMAIN),
    )
    for name, made, renewed in (("old", 20, 20), ("renewed", 20, 1), ("new", 1, 1)):
        uri = f"{blobs.base}/cache/ab/{name}.pb"
        await blobs.put(uri, b"x")
        await pool.execute(
            "INSERT INTO cache_artifacts (dataset_id, artifact_id, data_uri, data_digest, has_references, created_at,"
            " updated_at) VALUES ($1, $2, $3, '', false, $4, $5)",
            *(dataset, name, uri, NOW - timedelta(days=made), NOW - timedelta(days=renewed)),
        )
        await pool.execute(
            "INSERT INTO cache_outputs (key, output, output_digest, updated_at) VALUES ($1, '', '', $2)",
            *(name, NOW - timedelta(days=renewed)),
        )
    await Pruner(database_url, policies, OPTIONS, blobs=blobs).prune(NOW)
    assert await pool.fetchval("SELECT count(*) FROM cache_artifacts") == 3
    await policies.set(PROJECT, "", Policy(cache_days=10), change_executions=False, change_cache=True)
    await Pruner(database_url, policies, OPTIONS, blobs=blobs).prune(NOW)
    names = [row["artifact_id"] for row in await pool.fetch("SELECT artifact_id FROM cache_artifacts ORDER BY id")]
    assert names == ["renewed", "new"]
    assert [uri.rpartition("/")[2] for uri in await blobs.list(blobs.base)] == ["new.pb", "renewed.pb"]
    assert await pool.fetchval("SELECT count(*) FROM cache_outputs") == 3
    policies.default = Policy(cache_days=10)
    await Pruner(database_url, policies, OPTIONS, blobs=blobs).prune(NOW)
    assert await pool.fetchval("SELECT count(*) FROM cache_outputs") == 2


async def test_one_at_a_time(past: Past, policies: PolicyStore, database_url: str) -> None:
    """While another process prunes, nothing is done here."""
    await past.execution("old", days=31)
    other = await asyncpg.connect(database_url)
    try:
        await other.execute("SELECT pg_advisory_lock($1)", LOCK)
        assert await Pruner(database_url, policies, OPTIONS).prune(NOW) is None
    finally:
        await other.close()
    assert await past.names() == ["old"]


@pytest.mark.parametrize("table", ["executions", "node_executions", "array_elements", "transitions", "signals"])
async def test_locked_tables(past: Past, policies: PolicyStore, database_url: str, table: str) -> None:
    """A table that somebody holds ends the round soon, with an error that means try again; then all goes."""
    for number in range(5):
        await past.execution(f"old{number}", days=31)
    pruner = Pruner(database_url, policies, OPTIONS)
    async with past.pool.acquire() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN SHARE MODE")
        with pytest.raises(OSError, match="lock timeout"):
            await pruner.prune(NOW)
    await pruner.prune(NOW)
    assert set((await past.counts()).values()) == {0}


async def test_large_maps(past: Past, policies: PolicyStore, database_url: str) -> None:
    """More rows than one transaction deletes go as well."""
    await past.execution("map", days=31, elements=12_000)
    assert await Pruner(database_url, policies, OPTIONS).prune(NOW) == 1
    assert set((await past.counts()).values()) == {0}


_PROCESS = """
import asyncio, sys
from datetime import UTC, datetime
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.retention.eraser import Eraser
from wingbeat_controlplane.retention.policies import PolicyStore
from wingbeat_controlplane.retention.policy import Policy
from wingbeat_controlplane.retention.pruner import Pruner, PrunerOptions
from wingbeat_propeller.postgres.pool import create_pool

async def main():
    pool = await create_pool(sys.argv[1], size_max=2, application_name="pruner")
    policies = PolicyStore(pool, ProjectStore(pool, RegistryOptions()), Policy(executions_days=30))
    print("ready", flush=True)
    await Pruner(sys.argv[1], policies, PrunerOptions(batch=2, rest=0)).prune(datetime.now(UTC))

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", range(2))
async def test_kills(past: Past, policies: PolicyStore, database_url: str, seed: int) -> None:
    """Killed at any moment, pruning leaves nothing that the next one does not finish, and takes nothing else."""
    draw = random.Random(seed)
    await past.execution("kept", days=1)
    kept = await past.counts()
    for number in range(16):
        await past.execution(f"old{number}", days=31 + number)
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", _PROCESS, database_url, stdout=PIPE)
        assert process.stdout is not None
        await process.stdout.readline()
        # A moment by what is done, not by the clock.
        goal = draw.randrange(2, 15)
        while process.returncode is None and await past.pool.fetchval("SELECT count(*) FROM executions") > goal:
            await asyncio.sleep(0.002)
        if process.returncode is None:
            process.kill()
        await process.wait()
    lock_free = "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory' AND objid = $1"
    while not await past.pool.fetchval(lock_free, LOCK):
        await asyncio.sleep(0.01)
    await Pruner(database_url, policies, OPTIONS).prune(NOW)
    assert await past.counts() == kept, seed
    assert await past.names() == ["kept"]


async def test_every_table_of_executions(past: Past) -> None:
    """No table that names executions is forgotten when they go."""
    rows = await past.pool.fetch(
        "SELECT DISTINCT c.table_name FROM information_schema.columns AS c JOIN information_schema.tables AS t"
        " USING (table_schema, table_name) WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'"
        " AND c.column_name = 'execution_id' AND c.table_name NOT LIKE 'transitions\\_%'"
    )
    cascading = await past.pool.fetch(
        "SELECT conrelid::regclass::text AS name FROM pg_constraint"
        " WHERE confrelid = 'executions'::regclass AND confdeltype = 'c'"
    )
    known = {*TABLES, *(row["name"] for row in cascading), "batch_rows"}  # which are of their batch
    assert {row["table_name"] for row in rows} <= known
