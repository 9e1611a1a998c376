"""An engine process that is stopped (SIGSTOP) past its lease and then continued: its work goes on elsewhere, and
nothing of what it does then is there.

Moments come from a seed, which pytest prints; WINGBEAT_TEST_SEED replays it.
"""

import asyncio
import hashlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from tests.integration.engine.harness import chain, launch, register
from tests.integration.engine.processes import EngineProcesses, engine_processes
from wingbeat_propeller.blobs.folder import PARTIAL_FOLDER
from wingbeat_propeller.core.phases import ExecutionPhase

SEED = int(os.environ.get("WINGBEAT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
ROUNDS = 3
LEASE_S = 5.0  # no busy machine may take the lease from an engine that is not stopped
CHAIN = 4
COUNT = 16
PATIENCE_S = 120.0


async def _until(
    pool: asyncpg.Pool, question: str, *args: object, meanwhile: Callable[[], object] = lambda: None
) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await pool.fetchval(f"SELECT {question}", *args):
            meanwhile()
            await asyncio.sleep(0.01)


async def _running_of(pool: asyncpg.Pool, term: int) -> int:
    """Attempts that run in the shards of a term."""
    return await pool.fetchval(
        "SELECT count(*) FROM node_executions AS n JOIN executions AS e ON e.id = n.execution_id"
        " JOIN shards AS s ON s.shard = e.shard WHERE s.term = $1 AND n.phase = 2 AND n.ended_at IS NULL",
        term,
    )


async def _rows(pool: asyncpg.Pool) -> dict[str, str]:
    """All that engines write, as one digest a table; of members only who they are, since leases are renewed."""
    tables = {
        name: f"SELECT {name}::text AS row FROM {name}"
        for name in ("executions", "node_executions", "task_executions", "transitions", "journal_lanes", "shards")
    }
    tables["propellers"] = "SELECT term::text AS row FROM propellers"
    return {
        name: await pool.fetchval(f"SELECT md5(string_agg(row, chr(10) ORDER BY row)) FROM ({query}) AS rows")
        for name, query in tables.items()
    }


def _files(folder: Path) -> dict[str, str]:
    """Digests of all blobs; what a writer that ended in the middle left is none."""
    return {
        str(path.relative_to(folder)): hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != PARTIAL_FOLDER
    }


async def _pause_in_the_middle(
    pool: asyncpg.Pool, processes: EngineProcesses, pid: int, dice: random.Random
) -> tuple[int, int]:
    """Stop an engine while attempts of its run; returns its term and the last transition before that."""
    name = f"engine-{processes.pids.index(pid)}"
    await _until(pool, "EXISTS (SELECT FROM propellers AS p JOIN shards USING (term) WHERE p.name = $1)", name)
    term = await pool.fetchval("SELECT term FROM propellers WHERE name = $1", name)
    async with asyncio.timeout(PATIENCE_S):
        while await _running_of(pool, term) < 3:
            await asyncio.sleep(0.005)
    await asyncio.sleep(dice.random() * 0.5)  # the moment itself is what is drawn
    os.kill(pid, signal.SIGSTOP)
    return term, await pool.fetchval("SELECT max(seq) FROM transitions")


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_paused_engine_writes_nothing_when_it_goes_on(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """Each time the other engine takes the shards over and brings all executions to their end while the first one is
    stopped. Continued, that one ends by itself; no row and no blob differs from what was there before, and no attempt
    was started a second time."""
    print(f"WINGBEAT_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    workflow = await register(pool, chain("chain", CHAIN))
    async with engine_processes(database_url, tmp_path, LEASE_S) as processes:
        others = [processes.start()]

        def revive() -> None:
            processes.revive(others)

        for number in range(ROUNDS):
            paused = processes.start()
            await _until(pool, "count(DISTINCT term) = 2 AND count(term) = 256 FROM shards", meanwhile=revive)
            await launch(pool, workflow, [f"e{number}-{one}" for one in range(COUNT)])
            term, last = await _pause_in_the_middle(pool, processes, paused, dice)
            await _until(pool, "NOT EXISTS (SELECT FROM propellers WHERE term = $1)", term, meanwhile=revive)
            await _until(pool, "NOT EXISTS (SELECT FROM executions WHERE ended_at IS NULL)", meanwhile=revive)
            assert await pool.fetchval("SELECT max(seq) > $1 FROM transitions", last), "the work went on elsewhere"
            rows, files = await _rows(pool), _files(tmp_path / "blobs")
            os.kill(paused, signal.SIGCONT)
            async with asyncio.timeout(PATIENCE_S):
                while processes.is_alive(paused):
                    await asyncio.sleep(0.01)
            assert await _rows(pool) == rows, f"seed {SEED}\n{processes.log()}"
            assert _files(tmp_path / "blobs") == files, f"seed {SEED}"
        assert "effects that are not durable" in processes.log(), "there was something to keep out"
        runs = Counter(name for name, _ in processes.samples("development"))
    assert set(runs.values()) == {1}, f"seed {SEED}"
    assert len(runs) == ROUNDS * COUNT * CHAIN
    phases = await pool.fetch("SELECT DISTINCT phase FROM executions")
    assert [row["phase"] for row in phases] == [ExecutionPhase.SUCCEEDED]
