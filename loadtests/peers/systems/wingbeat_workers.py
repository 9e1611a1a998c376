"""Wingbeat: `wingbeat up` with warm workers, its Python client in this process."""

import asyncio
import os
import tempfile
import time
from pathlib import Path

from loadtests.installation import DOMAIN, PROJECT, ROOT, installation, run_command
from loadtests.peers.systems.workloads import CHAIN, Sizes, System, measure, report, sizes_of_arguments
from wingbeat import AsyncClient, Entity, Launch

_PROGRAM = ROOT / "loadtests" / "programs" / "comparison.py"
_TIMEOUT_S = 600.0


class Wingbeat(System):
    """By its client."""

    def __init__(self, client: AsyncClient, sizes: Sizes, plans: dict[str, Entity]) -> None:
        self._client = client
        self._plans = plans
        self._lengths = {1: "chain_1", CHAIN: "chain_10", sizes.steps: "chain_steps", sizes.fibs: "chain_fibs"}

    async def _run(self, plan: str, fib: int, count: int = 1) -> None:
        """Launch, and wait for the ends."""
        launches = [Launch(self._plans[plan], {"fib": fib}) for _ in range(count)]
        started = [one.require() async for one in self._client.launch_many(launches)]
        ended = [one async for one in self._client.wait_many(started, timeout_s=_TIMEOUT_S)]
        assert len(ended) == count, f"{count - len(ended)} executions have not ended"
        for execution in (ended[0], ended[-1]):
            found = await self._client.execution(execution)
            assert found.succeeded, found.failure

    async def sequence(self, tasks: int, fib: int = 0) -> None:
        """A workflow of tasks."""
        await self._run(self._lengths[tasks], fib)

    async def parallel(self, tasks: int) -> None:
        """A workflow of tasks, as many as it was registered with."""
        await self._run("fan", 0)

    async def many(self, executions: int, tasks: int) -> None:
        """In one call."""
        await self._run(self._lengths[tasks], 0, executions)


async def main(endpoint: str, ready_s: float, sizes: Sizes) -> None:
    """Measure."""
    async with AsyncClient(endpoint) as client:
        names = ("chain_1", "chain_10", "chain_steps", "chain_fibs", "fan")
        plans = {name: await client.entity(f"comparison.{name}") for name in names}
        report(ready_s, await measure(Wingbeat(client, sizes, plans), sizes))


def start(sizes: Sizes) -> None:
    """Start an installation and register the programs."""
    began = time.perf_counter()
    lengths = {"STEPS": sizes.steps, "FIBS": sizes.fibs, "PARALLEL": sizes.parallel}
    environment = {f"LOADTEST_{name}": str(value) for name, value in lengths.items()}
    environment |= {
        "WINGBEAT_REGISTRY__NODE_LIMIT": "0",
        "WINGBEAT_WORKERS__COUNT": "1",
        "WINGBEAT_WORKERS__WITHOUT_WORKER": "wait",
    }
    os.environ |= environment
    with tempfile.TemporaryDirectory(prefix="wingbeat-load-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with installation(folder, environment) as endpoint:
            ready_s = time.perf_counter() - began
            run_command(
                *("pyflyte", "--config", str(folder / "flyte-config.yaml"), "register", "--version", "load"),
                *("--project", PROJECT, "--domain", DOMAIN, str(_PROGRAM)),
                environment=environment,
            )
            asyncio.run(main(endpoint, ready_s, sizes))


if __name__ == "__main__":
    start(sizes_of_arguments())
