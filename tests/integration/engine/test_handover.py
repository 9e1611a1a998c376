"""Shards that move between engines: nothing is lost, nothing is started twice."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import asyncpg

from tests.integration.engine.harness import chain, engine, launch, register, wait_ended
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.ports import AttemptOrigin, Ended, InstantRequest, RuntimeEvent, RuntimeRequest


class Machine:
    """What several engines share: attempts that end when they are told to, each started once."""

    def __init__(self) -> None:
        self.outputs: dict[str, bytes] = {}
        self.starts: Counter[str] = Counter()
        self.sinks: dict[str, Callable[[Sequence[RuntimeEvent]], None]] = {}

    async def wait_started(self, count: int) -> None:
        """Wait until so many attempts have been started."""
        async with asyncio.timeout(20):
            while len(self.starts) < count:
                await asyncio.sleep(0.01)

    def end_all(self) -> None:
        """End every attempt started so far; tell whoever asked last."""
        for name, sink in list(self.sinks.items()):
            sink([Ended(name, 0.0, outputs=self.outputs[name])])


class SharedRuntime:
    """One engine's view of the machine; implements Runtime."""

    capacity = 1000

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._sink: Callable[[Sequence[RuntimeEvent]], None] = lambda _: None

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Set the receiver."""
        self._sink = sink

    async def run(self) -> None:
        """Live until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Start what is not known; known names only change their listener."""
        for request in requests:
            assert isinstance(request, InstantRequest)
            self._machine.outputs[request.name] = request.outputs
            self._machine.starts[request.name] += request.name not in self._machine.sinks
            self._machine.sinks[request.name] = self._sink

    async def abort(self, names: Sequence[str]) -> None:
        """Stop attempts."""
        for name in names:
            self._machine.sinks.pop(name, None)

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """Those that were started."""
        known = [name for name in names if name in self._machine.sinks]
        for name in known:
            self._machine.sinks[name] = self._sink
        return known

    async def forget(self, names: Sequence[str]) -> None:
        """Their ends are durable."""
        for name in names:
            self._machine.sinks.pop(name, None)

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """The requests of this test do not say where they belong."""
        return {}


async def _owners(pool: asyncpg.Pool) -> list[int]:
    rows = await pool.fetch("SELECT count(*) AS n FROM shards WHERE term IS NOT NULL GROUP BY term ORDER BY n")
    return [row["n"] for row in rows]


async def _wait_owners(pool: asyncpg.Pool, count: int) -> None:
    async with asyncio.timeout(20):
        while len(owners := await _owners(pool)) != count or sum(owners) != 256:
            await asyncio.sleep(0.02)


async def test_work_moves_when_an_engine_joins_and_leaves(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """A second engine takes over about half of the shards with the attempts under way in them, and gives them back
    when it leaves; every attempt is started once and every execution succeeds."""
    machine = Machine()
    workflow = await register(pool, chain("chain", 3))
    names = [f"e{i}" for i in range(60)]
    async with engine(pool, database_url, tmp_path, SharedRuntime(machine), name="a", lease_s=1.5):
        await _wait_owners(pool, 1)
        await launch(pool, workflow, names)
        await machine.wait_started(60)
        async with engine(pool, database_url, tmp_path, SharedRuntime(machine), name="b", lease_s=1.5) as second:
            await _wait_owners(pool, 2)
            assert min(await _owners(pool)) > 64
            async with asyncio.timeout(20):
                while len(second.live) < 10:
                    await asyncio.sleep(0.02)
            machine.end_all()
            await machine.wait_started(120)
        await _wait_owners(pool, 1)
        async with asyncio.timeout(20):
            while await pool.fetchval("SELECT count(*) FROM executions WHERE ended_at IS NULL"):
                machine.end_all()
                await asyncio.sleep(0.05)
        assert await wait_ended(pool, 60) == {ExecutionPhase.SUCCEEDED: 60}
    assert set(machine.starts.values()) == {1}
    assert len(machine.starts) == 180


async def test_one_name_in_two_domains(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """Executions of two domains that share a name run side by side, each attempt for its own execution."""
    machine = Machine()
    workflow = await register(pool, chain("chain", 1))
    async with engine(pool, database_url, tmp_path, SharedRuntime(machine)):
        await launch(pool, workflow, ["nightly"], domain="development")
        await launch(pool, workflow, ["nightly"], domain="staging")
        await machine.wait_started(2)
        machine.end_all()
        assert await wait_ended(pool, 2) == {ExecutionPhase.SUCCEEDED: 2}
