"""Rows that the database refuses: the execution ends with the reason, and nothing goes round in circles."""

import asyncio
from pathlib import Path

import asyncpg
from flyteidl.core import execution_pb2

from tests.integration.engine.harness import chain, engine, launch, register, wait_ended
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.runtimes.instant import InstantRuntime

_REFUSE_NODE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'no room for %', NEW.node_id USING ERRCODE = 'check_violation'; END$$;
    CREATE TRIGGER refuse BEFORE INSERT ON node_executions FOR EACH ROW
    WHEN (NEW.spec_node_id = 'n1') EXECUTE FUNCTION refuse();
"""
_REFUSE_END = """
    CREATE FUNCTION refuse_end() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'it shall not end' USING ERRCODE = 'check_violation'; END$$;
    CREATE TRIGGER refuse_end BEFORE UPDATE ON executions FOR EACH ROW
    WHEN (NEW.name = 'endless' AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION refuse_end();
"""


async def test_an_execution_whose_rows_are_refused_fails(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """It is FAILED with the database's own words; executions beside it are not touched."""
    await pool.execute(_REFUSE_NODE)
    long, short = await register(pool, chain("long", 3)), await register(pool, chain("short", 1))
    async with engine(pool, database_url, tmp_path, InstantRuntime()):
        await launch(pool, long, ["refused"])
        await launch(pool, short, ["beside"])
        assert await wait_ended(pool, 2) == {ExecutionPhase.FAILED: 1, ExecutionPhase.SUCCEEDED: 1}
    row = await pool.fetchrow("SELECT phase, error FROM executions WHERE name = 'refused'")
    assert row is not None
    assert row["phase"] == ExecutionPhase.FAILED
    assert "no room for n1" in execution_pb2.ExecutionError.FromString(row["error"]).message


async def test_an_end_that_is_refused_is_not_tried_for_ever(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """The engine lets go of the execution, goes on with others, and has nothing left to write."""
    await pool.execute(_REFUSE_END)
    workflow = await register(pool, chain("short", 1))
    async with engine(pool, database_url, tmp_path, InstantRuntime()) as running:
        await launch(pool, workflow, ["endless"])
        await launch(pool, workflow, [f"beside-{number}" for number in range(5)])
        assert await wait_ended(pool, 5) == {ExecutionPhase.SUCCEEDED: 5}
        async with asyncio.timeout(60):
            while len(running.live):
                await running._driver.journal.drained()
                await asyncio.sleep(0)
        assert running._driver.journal.backlog == 0
