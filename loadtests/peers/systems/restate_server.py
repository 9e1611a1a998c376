"""Restate's server (`restate-server` on the PATH), a service of its Python SDK behind hypercorn in this process."""

import asyncio
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypercorn.asyncio
import restate
from hypercorn.config import Config
from workloads import System, fibonacci, measure, report, sizes_of_arguments

tasks_service = restate.Service("tasks")
flows = restate.Service("flows")


@tasks_service.handler()
async def step(_context: restate.Context, fib: int) -> int:
    """A task."""
    return fibonacci(fib)


@flows.handler()
async def sequence(context: restate.Context, work: dict) -> None:
    """Tasks one after the other."""
    for _ in range(work["tasks"]):
        await context.service_call(step, arg=work["fib"])


@flows.handler()
async def parallel(context: restate.Context, work: dict) -> None:
    """Tasks side by side."""
    await restate.gather(*[context.service_call(step, arg=0) for _ in range(work["tasks"])])


def _call(url: str, body: object = None, headers: dict[str, str] | None = None) -> None:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=300) as answer:
        answer.read()


class Restate(System):
    """By HTTP calls to its ingress."""

    def __init__(self, ingress: str) -> None:
        self._ingress = ingress

    async def _flow(self, name: str, work: dict) -> None:
        headers = {"idempotency-key": uuid.uuid4().hex}
        await asyncio.to_thread(_call, f"{self._ingress}/flows/{name}", work, headers)

    async def sequence(self, tasks: int, fib: int = 0) -> None:
        """A handler that calls another one."""
        await self._flow("sequence", {"tasks": tasks, "fib": fib})

    async def parallel(self, tasks: int) -> None:
        """A handler that calls another one."""
        await self._flow("parallel", {"tasks": tasks})


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


async def main() -> None:
    """Start server and service, and measure."""
    ingress, admin, node, service = _free_ports(4)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(256))  # each call holds a thread
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}",
            "RESTATE_BASE_DIR": folder,
            "RESTATE_LOG_FILTER": "error",
        }
        output = Path(folder, "output").open("w")
        server = subprocess.Popen(["restate-server"], env=environment, stdout=output, stderr=output)
        config = Config()
        config.bind = [f"127.0.0.1:{service}"]
        config.loglevel = "ERROR"
        stopped = asyncio.Event()
        serving = asyncio.create_task(
            hypercorn.asyncio.serve(restate.app([tasks_service, flows]), config, shutdown_trigger=stopped.wait)
        )
        try:
            while True:
                try:
                    uri = {"uri": f"http://127.0.0.1:{service}"}
                    await asyncio.to_thread(_call, f"http://127.0.0.1:{admin}/deployments", uri)
                    break
                except (urllib.error.URLError, ConnectionError):
                    await asyncio.sleep(0.05)
            ready_s = time.perf_counter() - began
            report(ready_s, await measure(Restate(f"http://127.0.0.1:{ingress}"), sizes_of_arguments()))
        finally:
            stopped.set()
            server.terminate()
            server.wait()
            await asyncio.wait([serving], timeout=5)


if __name__ == "__main__":
    asyncio.run(main())
