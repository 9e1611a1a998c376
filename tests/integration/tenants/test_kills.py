"""`kill -9` of engines, a hundred times at moments drawn from a seed, leaves every limit exact.

Real engine processes over a real Postgres share the task host of one machine, whose tasks outlive them. Three witnesses
say that no more ran at once than the limits allow: each task counts those of its tenant that run beside it, the rows
tell when the processes of all attempts began and ended, and slots are counted all the time.

pytest prints the seed; WINGBEAT_TEST_SEED replays it. WINGBEAT_TEST_KILLS changes the number.
"""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import asyncpg
import pytest
from tests.integration.engine.harness import chain, launch, register
from tests.integration.engine.processes import EngineProcesses, engine_processes
from tests.integration.tenants.conftest import PROJECT

from wingbeat_controlplane.registry.tenant_shares import TenantShareStore
from wingbeat_propeller.core.phases import ExecutionPhase

SEED = int(os.environ.get("WINGBEAT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
KILLS = int(os.environ.get("WINGBEAT_TEST_KILLS", "100"))
ENGINES = 3
LEASE_S = 2.0
PROJECT_MAX = 6
STAGING_MAX = 2
CHAIN = 3
WAITING_MIN = 20
"""Executions that are kept alive while engines are killed, so that there is always somebody at a limit."""
PATIENCE_S = 120.0


class _Load:
    """Executions of both tenants, always more than the limits let run, until it is over."""

    def __init__(self, pool: asyncpg.Pool, workflow: int) -> None:
        self._pool = pool
        self._workflow = workflow
        self.launched = 0
        self.is_over = False

    async def look(self) -> int:
        """Count slots, and launch when there are few executions left; returns how many attempts have ended."""
        slots = await self._pool.fetchrow(
            "SELECT count(*) AS project, count(*) FILTER (WHERE domain = 'staging') AS staging FROM tenant_slots"
        )
        assert slots is not None
        assert slots["project"] <= PROJECT_MAX, f"seed {SEED}"
        assert slots["staging"] <= STAGING_MAX, f"seed {SEED}"
        alive = await self._pool.fetchval("SELECT count(*) FROM executions WHERE ended_at IS NULL")
        if alive < WAITING_MIN and not self.is_over:
            names = [f"e{self.launched + number}" for number in range(WAITING_MIN // 2)]
            self.launched += len(names)
            await launch(self._pool, self._workflow, names[::2])
            await launch(self._pool, self._workflow, names[1::2], domain="staging")
        await asyncio.sleep(0.02)
        return await self._pool.fetchval("SELECT count(*) FROM task_executions WHERE ended_at IS NOT NULL")


async def _running(pool: asyncpg.Pool, domain: str | None) -> int:
    """The greatest number of attempts whose processes were there at the same time, by the rows."""
    return await pool.fetchval(
        """
        SELECT max(running) FROM (
            SELECT sum(change) OVER (ORDER BY at, change) AS running
            FROM task_executions AS t
            JOIN executions AS e ON e.id = t.execution_id AND e.domain = coalesce($1, e.domain)
            CROSS JOIN LATERAL (VALUES (t.started_at, 1), (t.ended_at, -1)) AS v (at, change)
        ) AS moments
        """,
        domain,
    )


async def _kill_some(engines: list[int], processes: EngineProcesses, load: _Load, dice: random.Random) -> int:
    """Kill an engine or two when some attempts have ended, and start others in their places; returns how many."""
    ended = await load.look()
    least = ended + dice.randint(1, 4)
    async with asyncio.timeout(PATIENCE_S):
        while await load.look() < least:
            processes.revive(engines)
    await asyncio.sleep(dice.random() * 0.3)  # the moment itself is what is drawn
    places = dice.choice([[0], [1], [2], [0, 1], [1, 2]])
    for place in places:
        processes.kill(engines[place])
        engines[place] = processes.start()
    return len(places)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_limits_are_exact_over_a_hundred_kills(
    pool: asyncpg.Pool, database_url: str, shares: TenantShareStore, tmp_path: Path
) -> None:
    """Never more attempts than the limits of the project and of a domain allow; every execution succeeds, every attempt
    runs once; in the end there is no slot left."""
    print(f"WINGBEAT_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    workflow = await register(pool, chain("chain", CHAIN))
    await shares.set(PROJECT, "", weight=None, running_max=PROJECT_MAX)
    await shares.set(PROJECT, "staging", weight=None, running_max=STAGING_MAX)
    load = _Load(pool, workflow)
    async with engine_processes(database_url, tmp_path, LEASE_S) as processes:
        engines = [processes.start() for _ in range(ENGINES)]
        kills = 0
        while kills < KILLS:
            kills += await _kill_some(engines, processes, load, dice)
        load.is_over = True
        async with asyncio.timeout(PATIENCE_S):
            while await pool.fetchval("SELECT count(*) FROM executions WHERE ended_at IS NULL"):
                await load.look()
                processes.revive(engines)
        development, staging = processes.samples("development"), processes.samples("staging")
    rows = await pool.fetch("SELECT phase, count(*) AS n FROM executions GROUP BY phase")
    assert {row["phase"]: row["n"] for row in rows} == {ExecutionPhase.SUCCEEDED: load.launched}, f"seed {SEED}"
    assert await pool.fetchval("SELECT count(*) FROM tenant_slots") == 0, f"seed {SEED}"
    assert await _running(pool, None) <= PROJECT_MAX, f"seed {SEED}"
    assert await _running(pool, "staging") <= STAGING_MAX, f"seed {SEED}"
    assert max(count for _, count in development) <= PROJECT_MAX, f"seed {SEED}"
    assert max(count for _, count in staging) <= STAGING_MAX, f"seed {SEED}"
    runs = Counter(name for name, _ in [*development, *staging])
    assert set(runs.values()) == {1}, f"seed {SEED}: {[name for name, count in runs.items() if count > 1]} ran again"
    assert len(runs) == CHAIN * load.launched, f"seed {SEED}"
