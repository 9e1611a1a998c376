"""Partitions of the log of transitions."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import asyncpg

from wingbeat_propeller.postgres.transitions import TransitionPartitions, TransitionsOptions

_TODAY = date(2030, 3, 1)


async def _insert(pool: asyncpg.Pool, execution: int, day: date) -> None:
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    await pool.execute("INSERT INTO transitions (execution_id, phase, at) VALUES ($1, 1, $2)", execution, at)


async def _where(pool: asyncpg.Pool) -> dict[int, str]:
    rows = await pool.fetch("SELECT execution_id, tableoid::regclass::text AS name FROM transitions ORDER BY seq")
    return {row["execution_id"]: row["name"] for row in rows}


async def test_rows_live_in_the_partition_of_their_day(pool: asyncpg.Pool) -> None:
    """Days are made ahead; rows that were there before their partition move into it with their numbers, others stay."""
    partitions = TransitionPartitions(pool, TransitionsOptions(days_ahead=1))
    await _insert(pool, 1, _TODAY)
    await _insert(pool, 2, _TODAY + timedelta(days=40))
    before = await pool.fetch("SELECT seq, txid::text FROM transitions ORDER BY seq")
    await partitions.keep(_TODAY)
    await _insert(pool, 3, _TODAY)
    await _insert(pool, 4, _TODAY + timedelta(days=1))
    assert await _where(pool) == {
        1: "transitions_20300301",
        2: "transitions_default",
        3: "transitions_20300301",
        4: "transitions_20300302",
    }
    after = await pool.fetch("SELECT seq, txid::text FROM transitions ORDER BY seq LIMIT 2")
    assert [tuple(row) for row in after] == [tuple(row) for row in before]


async def test_old_days_are_dropped(pool: asyncpg.Pool) -> None:
    """What is older than the retention goes, from partitions and from the default one; the rest stays."""
    partitions = TransitionPartitions(pool, TransitionsOptions(retention_days=7, days_ahead=0))
    old = _TODAY - timedelta(days=8)
    await _insert(pool, 1, old - timedelta(days=1))
    await partitions.keep(old)
    await _insert(pool, 2, old)
    await _insert(pool, 3, _TODAY - timedelta(days=7))
    assert (await _where(pool))[2] == "transitions_20300221"
    await partitions.keep(_TODAY)
    assert set(await _where(pool)) == {3}
    assert await pool.fetchval("SELECT to_regclass('transitions_20300221')") is None


async def test_processes_do_not_get_in_each_others_way(pool: asyncpg.Pool) -> None:
    """Several at once, and again, make each partition once."""
    partitions = TransitionPartitions(pool)
    async with asyncio.TaskGroup() as processes:
        for _ in range(4):
            processes.create_task(partitions.keep(_TODAY))
    await partitions.keep(_TODAY)
    assert await pool.fetchval("SELECT count(*) FROM pg_inherits WHERE inhparent = 'transitions'::regclass") == 5
