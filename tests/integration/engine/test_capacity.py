"""Engine processes of one machine share its room for tasks."""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import asyncpg
import pytest

from tests.integration.engine.harness import chain, launch, register
from tests.integration.engine.processes import engine_processes
from wingbeat_propeller.core.phases import ExecutionPhase

SEED = int(os.environ.get("WINGBEAT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
CAPACITY = 3
COUNT = 30
PATIENCE_S = 120.0


@pytest.mark.timeout(600)
async def test_room_is_the_machines(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """Three engines, killed at times, never run more tasks together than there is room for, nor fewer than they could:
    all of it is used. Every task runs once, and in the end all room is free."""
    print(f"WINGBEAT_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    workflow = await register(pool, chain("chain", 2))
    async with engine_processes(database_url, tmp_path, 2.0, capacity=CAPACITY) as processes:
        engines = [processes.start() for _ in range(3)]
        await launch(pool, workflow, [f"e{number}" for number in range(COUNT)])
        for least in sorted(dice.sample(range(5, COUNT), 5)):
            async with asyncio.timeout(PATIENCE_S):
                while len(processes.samples("development")) < least:
                    processes.revive(engines)
                    await asyncio.sleep(0.02)
            place = dice.randrange(3)
            processes.kill(engines[place])
            engines[place] = processes.start()
        async with asyncio.timeout(PATIENCE_S):
            while await pool.fetchval("SELECT count(*) FROM executions WHERE ended_at IS NULL"):
                processes.revive(engines)
                await asyncio.sleep(0.02)
        samples = processes.samples("development")
        places = tmp_path / "state" / "places"
        async with asyncio.timeout(PATIENCE_S):
            while any(entry.name.isdigit() for entry in places.iterdir()):
                await asyncio.sleep(0.02)
    assert max(count for _, count in samples) == CAPACITY, f"seed {SEED}"
    assert set(Counter(name for name, _ in samples).values()) == {1}, f"seed {SEED}"
    assert len(samples) == 2 * COUNT
    phases = await pool.fetch("SELECT DISTINCT phase FROM executions")
    assert [row["phase"] for row in phases] == [ExecutionPhase.SUCCEEDED]
