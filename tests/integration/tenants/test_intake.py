"""Intake that is fair to tenants: a crowd in the database keeps nobody out of memory, and is never read through."""

import asyncio
import json
from pathlib import Path

import asyncpg
from flyteidl.core import literals_pb2
from tests.integration.engine.harness import chain, engine, launch, register
from tests.integration.engine.machine import Machine, SharedRuntime

from wingbeat_propeller.core.ids import SHARDS, ExecutionKey
from wingbeat_propeller.ports.executions import Room
from wingbeat_propeller.postgres.executions import EACH_MIN, TENANTS_MAX, PostgresExecutionStore
from wingbeat_propeller.postgres.queries import load_queries

ALL = list(range(SHARDS))
CROWD = 20_000
_INPUTS = literals_pb2.LiteralMap(
    literals={"x": literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=7)))}
).SerializeToString()


async def _crowd(pool: asyncpg.Pool, workflow: int, count: int, project: str = "flytesnacks") -> None:
    """New executions of one tenant, over all shards. They wake nobody."""
    await pool.execute(
        "INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config, inputs)"
        " SELECT $3, 'development', 'a' || n, n % 256, 'launch_plan', $1, '', '', $4"
        " FROM generate_series(1, $2) AS n",
        *(workflow, count, project, _INPUTS),
    )
    await pool.execute("ANALYZE executions")


async def test_a_crowd_keeps_nobody_out_of_memory(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """With memory full of one tenant's executions, which never end, and 20,000 more in the database, the one execution
    of another tenant begins."""
    machine = Machine()
    workflow = await register(pool, chain("chain", 1))
    await _crowd(pool, workflow, CROWD)
    async with engine(pool, database_url, tmp_path, SharedRuntime(machine), live_max=150) as running:
        async with asyncio.timeout(60):
            while len(running.live) < 150:
                await asyncio.sleep(0.01)
        await launch(pool, workflow, ["b"], domain="staging")
        async with asyncio.timeout(60):
            while not any(name.startswith("b-") for name in machine.starts):
                await asyncio.sleep(0.01)
        assert len(running.live) == 151


async def test_room_is_given_to_those_who_have_least(pool: asyncpg.Pool, database_url: str) -> None:
    """Tenants are let in in turns, those with the fewest in memory first; beyond the room each gets its least share."""
    workflow = await register(pool, chain("chain", 1))
    await _crowd(pool, workflow, 1_000)
    await launch(pool, workflow, [f"b{i}" for i in range(30)], domain="staging")
    await launch(pool, workflow, [f"c{i}" for i in range(3)], domain="production")
    store = PostgresExecutionStore(pool, database_url)

    async def look(room: Room) -> str:
        found = await store.new_executions(ALL, known=[], limit=500, room=room)
        assert found.after is None
        return "".join(sorted(record.name[0] for record in found.records))

    assert await look(Room(9)) == "aaabbbccc"
    assert await look(Room(12, live={("flytesnacks", "development"): 100})) == "b" * 9 + "ccc"
    assert await look(Room(0)) == ""
    assert await look(Room(0, 2)) == "aabbcc"
    assert await look(Room(0, 5, 0, {("flytesnacks", "development"): 5, ("flytesnacks", "staging"): 3})) == "bbccc"
    assert len(await look(Room(1_000))) == 500


async def test_what_others_wait_for_comes_in(pool: asyncpg.Pool, database_url: str) -> None:
    """However full the memory is, executions that another one waits for come, behind whatever crowd; up to a bound."""
    workflow = await register(pool, chain("chain", 1))
    await _crowd(pool, workflow, 1_000)
    await launch(pool, workflow, ["c1", "c2", "c3"])
    await pool.execute("UPDATE executions SET awaited = true WHERE name LIKE 'c%'")
    store = PostgresExecutionStore(pool, database_url)
    live = {("flytesnacks", "development"): 20_000}
    found = await store.new_executions(ALL, known=[], limit=500, room=Room(0, 100, 20_000, live))
    assert {record.name for record in found.records} == {"c1", "c2", "c3"}
    found = await store.new_executions(ALL, known=[], limit=500, room=Room(0, 100, 2, live))
    assert len(found.records) == 2
    assert found.any_left


async def test_every_tenant_is_looked_at(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """More tenants than one look takes are all served, in a few looks; a full memory cuts none off."""
    workflow = await register(pool, chain("chain", 1))
    count = 2 * TENANTS_MAX + 7
    for number in range(count):
        await _crowd(pool, workflow, 3, project=f"p{number:03}")
    machine = Machine()
    await pool.execute("INSERT INTO projects (identifier, name) SELECT DISTINCT project, '' FROM executions")
    async with engine(pool, database_url, tmp_path, SharedRuntime(machine), live_max=10) as running:
        async with asyncio.timeout(60):
            while len(running.live) < 3 * count:
                await asyncio.sleep(0.01)


async def test_what_is_known_hides_nothing_behind_it(pool: asyncpg.Pool, database_url: str) -> None:
    """Looks that leave out what was found before find everything, once, however many there are in one shard."""
    workflow = await register(pool, chain("chain", 1))
    await _crowd(pool, workflow, 3_000)
    await pool.execute("UPDATE executions SET shard = 7 WHERE id % 2 = 0")
    store = PostgresExecutionStore(pool, database_url)
    known: list[ExecutionKey] = []
    while True:
        found = await store.new_executions(ALL, known=known, limit=500, room=Room(10_000))
        known += [record.execution for record in found.records]
        if not found.any_left:
            break
        assert found.records
    assert len(known) == len(set(known)) == 3_000


async def test_a_look_costs_the_same_for_any_crowd(pool: asyncpg.Pool, database_url: str) -> None:
    """Pages of the database that a look touches do not grow with what waits, neither with room nor without."""
    workflow = await register(pool, chain("chain", 1))
    statement = load_queries("wingbeat_propeller.postgres", "executions.sql")["new_executions"]

    async def pages(free: int) -> int:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            rows = await connection.fetchval(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}",
                *(
                    ALL,
                    [],
                    500,
                    "",
                    "",
                    free,
                    100,
                    ["flytesnacks"],
                    ["development"],
                    [20_000],
                    TENANTS_MAX,
                    EACH_MIN,
                    10_000,
                ),
            )
        plan = json.loads(rows)[0]["Plan"]
        return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

    await _crowd(pool, workflow, CROWD)
    await pool.execute("VACUUM ANALYZE executions")
    some = await pages(10_000), await pages(0)
    await pool.execute("UPDATE executions SET name = 'x' || name")
    await _crowd(pool, workflow, 4 * CROWD)
    await pool.execute("VACUUM ANALYZE executions")
    many = await pages(10_000), await pages(0)
    assert many[0] < 2 * some[0]
    assert many[1] < 2 * some[1] < 200
