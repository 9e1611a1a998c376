"""Limits and weights of running engines: set, changed and taken back without a restart, over two engines."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from tests.integration.engine.harness import chain, engine, launch, register, wait_ended
from tests.integration.engine.machine import Machine, SharedRuntime
from tests.integration.tenants.conftest import DOMAIN, PROJECT

from wingbeat_controlplane.registry.tenant_shares import TenantShareStore
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.engine.engine import Engine


@asynccontextmanager
async def _two_engines(pool: asyncpg.Pool, dsn: str, folder: Path, machine: Machine) -> AsyncIterator[list[Engine]]:
    async with (
        engine(pool, dsn, folder, SharedRuntime(machine), name="a") as first,
        engine(pool, dsn, folder, SharedRuntime(machine), name="b") as second,
    ):
        await _until(lambda: _owners(pool), 2)
        yield [first, second]


async def _owners(pool: asyncpg.Pool) -> int:
    return await pool.fetchval("SELECT count(DISTINCT term) FROM shards") or 0


async def _until(look: Callable[[], object], value: object) -> None:
    """Look until it is so. Ten thousand attempts take a busy machine minutes."""
    async with asyncio.timeout(240):
        while True:
            found = look()
            if asyncio.iscoroutine(found):
                found = await found
            if found == value:
                return
            await asyncio.sleep(0.02)


async def _slots(pool: asyncpg.Pool) -> int:
    return await pool.fetchval("SELECT count(*) FROM tenant_slots")


async def _all_wait(engines: Sequence[Engine], count: int) -> None:
    """Wait until so many attempts stand in lines that are set aside, and none is being asked for."""

    def look() -> tuple[int, int]:
        queues = [one._hands.dispatcher._room.queue for one in engines]
        return sum(len(queue) for queue in queues), sum(queue.waiting_aside for queue in queues)

    await _until(look, (count, count))


async def test_a_limit_comes_changes_and_goes(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path, shares: TenantShareStore
) -> None:
    """What runs when a limit comes counts and goes on; nothing starts until enough has ended, then one for one; a
    raised limit and none at all take effect at once; other tenants are not held."""
    machine = Machine()
    workflow = await register(pool, chain("chain", 1))
    async with _two_engines(pool, database_url, tmp_path, machine) as engines:
        await launch(pool, workflow, [f"e{i}" for i in range(8)])
        await machine.wait_started(8)
        assert await _slots(pool) == 0, "without a limit nobody pays"
        await shares.set(PROJECT, DOMAIN, weight=None, running_max=3)
        await _until(lambda: _slots(pool), 8)
        await launch(pool, workflow, [f"f{i}" for i in range(8)])
        await launch(pool, workflow, ["other"], domain="staging")
        await machine.wait_started(9)
        for number in range(6):
            await _all_wait(engines, 8)
            assert len(machine.starts) == 9, "more run than the limit allows"
            machine.end(machine.order[number])
            await _until(lambda number=number: _slots(pool), max(7 - number, 3))
        await machine.wait_started(10)
        await _all_wait(engines, 7)
        assert len(machine.starts) == 10
        await shares.set(PROJECT, DOMAIN, weight=None, running_max=5)
        await machine.wait_started(12)
        await _all_wait(engines, 5)
        assert len(machine.starts) == 12
        await shares.delete(PROJECT, DOMAIN)
        await machine.wait_started(17)
        machine.end_all()
        assert await wait_ended(pool, 17) == {ExecutionPhase.SUCCEEDED: 17}
        assert await _slots(pool) == 0
    assert set(machine.starts.values()) == {1}


async def test_a_project_is_limited_as_a_whole(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path, shares: TenantShareStore
) -> None:
    """The limits of a project and of one of its domains hold both, over both engines, until all work is done."""
    machine = Machine()
    workflow = await register(pool, chain("chain", 2))
    await shares.set(PROJECT, "", weight=None, running_max=4)
    await shares.set(PROJECT, "staging", weight=None, running_max=1)
    async with _two_engines(pool, database_url, tmp_path, machine):
        await launch(pool, workflow, [f"e{i}" for i in range(10)])
        await launch(pool, workflow, [f"s{i}" for i in range(5)], domain="staging")
        for ended in range(30):
            await _until(lambda: bool(machine.running), value=True)
            running = machine.running
            assert len(running) <= 4
            assert sum(name.startswith("s") for name in running) <= 1
            machine.end(min(running, key=machine.order.index))
            assert len(machine.starts) <= ended + 4
        assert await wait_ended(pool, 15) == {ExecutionPhase.SUCCEEDED: 15}
        assert await _slots(pool) == 0


async def test_slots_move_with_their_attempts(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path, shares: TenantShareStore
) -> None:
    """When an engine leaves, the next owner of its attempts finds their slots and takes no second ones."""
    machine = Machine()
    workflow = await register(pool, chain("chain", 1))
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=6)
    async with engine(pool, database_url, tmp_path, SharedRuntime(machine), name="a") as stays:
        async with engine(pool, database_url, tmp_path, SharedRuntime(machine), name="b"):
            await _until(lambda: _owners(pool), 2)
            await launch(pool, workflow, [f"e{i}" for i in range(20)])
            await machine.wait_started(6)
        await _until(lambda: _owners(pool), 1)
        await _all_wait([stays], 14)
        assert len(machine.starts) == 6
        assert await _slots(pool) == 6
        while await pool.fetchval("SELECT count(*) FROM executions WHERE ended_at IS NULL"):
            for name in machine.running:
                machine.end(name)
            await asyncio.sleep(0.01)
            assert await _slots(pool) <= 6
        assert await wait_ended(pool, 20) == {ExecutionPhase.SUCCEEDED: 20}
        assert await _slots(pool) == 0
    assert set(machine.starts.values()) == {1}


async def test_an_abort_frees_slots(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path, shares: TenantShareStore
) -> None:
    """Slots of an execution that is terminated go with it, and what waited for them starts."""
    machine = Machine()
    workflow = await register(pool, chain("chain", 1))
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=1)
    async with engine(pool, database_url, tmp_path, SharedRuntime(machine)) as running:
        await launch(pool, workflow, ["first"])
        await machine.wait_started(1)
        await launch(pool, workflow, ["second"])
        await _all_wait([running], 1)
        await pool.execute(
            "UPDATE executions SET phase = 9, abort_requested_at = now(), abort_cause = 'enough' WHERE name = 'first'"
        )
        await pool.execute("NOTIFY wingbeat_abort")
        await machine.wait_started(2)
        machine.end_all()
        ended = {ExecutionPhase.ABORTED: 1, ExecutionPhase.SUCCEEDED: 1}
        assert await wait_ended(pool, 2) == ended
        assert await _slots(pool) == 0


async def test_weights_change_while_work_waits(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path, shares: TenantShareStore
) -> None:
    """Two tenants with work in line take turns one for one, and three for one as soon as the weight says so."""
    machine = Machine()
    workflow = await register(pool, chain("chain", 1))
    async with engine(pool, database_url, tmp_path, SharedRuntime(machine, capacity=1)) as running:
        await launch(pool, workflow, [f"d{i}" for i in range(60)])
        await launch(pool, workflow, [f"s{i}" for i in range(60)], domain="staging")
        await _until(lambda: running.queued, 119)

        async def next_starts(count: int) -> str:
            begin = len(machine.order)
            for number in range(count):
                machine.end(machine.order[-1])
                await machine.wait_started(begin + number + 1)
            return "".join(name[0] for name in machine.order[begin:])

        assert (await next_starts(20)).count("d") in (9, 10, 11)
        await shares.set(PROJECT, "staging", weight=3, running_max=None)
        revision = await pool.fetchval("SELECT revision FROM tenant_share_revision")
        await _until(lambda: pool.fetchval("SELECT min(shares_seen) FROM propellers"), revision)
        assert (await next_starts(20)).count("d") in (4, 5, 6)


async def test_one_tenant_does_not_starve_another(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """With 10,000 attempts of one tenant in line and no room, the one attempt of another is among the next few."""
    machine = Machine()
    workflow = await register(pool, chain("chain", 1))
    async with engine(pool, database_url, tmp_path, SharedRuntime(machine, capacity=4)) as running:
        await launch(pool, workflow, [f"a{i}" for i in range(10_000)])
        await machine.wait_started(4)
        await _until(lambda: running.queued, 9_996)
        await launch(pool, workflow, ["b"], domain="staging")
        await _until(lambda: running.queued, 9_997)
        for number in range(3):
            machine.end(machine.order[number])
            await machine.wait_started(5 + number)
        assert any(name.startswith("b-") for name in machine.order[4:7])
