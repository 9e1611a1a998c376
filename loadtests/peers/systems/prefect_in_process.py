"""Prefect's server on SQLite, flows of its SDK in this process."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

_FOLDER = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
with socket.socket() as _probe:
    _probe.bind(("127.0.0.1", 0))
    _PORT = _probe.getsockname()[1]
os.environ |= {
    "PREFECT_HOME": _FOLDER.name,
    "PREFECT_API_URL": f"http://127.0.0.1:{_PORT}/api",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

from prefect import flow, task  # noqa: E402, settings are read when it is imported
from workloads import System, fibonacci, measure, report, sizes_of_arguments  # noqa: E402


@task
async def step(fib: int) -> int:
    """A task."""
    return fibonacci(fib)


@flow
async def sequence(tasks: int, fib: int) -> None:
    """Tasks one after the other."""
    for _ in range(tasks):
        await step(fib)


@flow
async def parallel(tasks: int) -> None:
    """Tasks side by side."""
    for future in [step.submit(0) for _ in range(tasks)]:
        future.result()


class Prefect(System):
    """By calls in the process."""

    async def sequence(self, tasks: int, fib: int = 0) -> None:
        """A flow of tasks."""
        await sequence(tasks, fib)

    async def parallel(self, tasks: int) -> None:
        """A flow of tasks."""
        await parallel(tasks)


async def main() -> None:
    """Start the server, and measure."""
    began = time.perf_counter()
    command = [Path(sys.executable).parent / "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(_PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{_PORT}/api/health", timeout=5):
                    break
            except (urllib.error.URLError, ConnectionError):
                await asyncio.sleep(0.2)
        ready_s = time.perf_counter() - began
        report(ready_s, await measure(Prefect(), sizes_of_arguments()))
    finally:
        server.terminate()
        server.wait()
        _FOLDER.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
