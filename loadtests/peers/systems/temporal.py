"""Temporal's development server on SQLite, a worker of its Python SDK in this process."""

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from workloads import System, fibonacci, measure, report, sizes_of_arguments

QUEUE = "comparison"
TIMEOUT = timedelta(minutes=5)


@activity.defn
async def step(fib: int) -> int:
    """A task."""
    return fibonacci(fib)


@workflow.defn
class Sequence:
    """Tasks one after the other."""

    @workflow.run
    async def run(self, tasks: int, fib: int) -> None:
        """See the class."""
        for _ in range(tasks):
            await workflow.execute_activity(step, fib, start_to_close_timeout=TIMEOUT)


@workflow.defn
class Parallel:
    """Tasks side by side."""

    @workflow.run
    async def run(self, tasks: int) -> None:
        """See the class."""
        await asyncio.gather(
            *(workflow.execute_activity(step, 0, start_to_close_timeout=TIMEOUT) for _ in range(tasks))
        )


class Temporal(System):
    """By its client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def sequence(self, tasks: int, fib: int = 0) -> None:
        """A workflow of activities."""
        await self._client.execute_workflow(Sequence.run, args=[tasks, fib], id=uuid.uuid4().hex, task_queue=QUEUE)

    async def parallel(self, tasks: int) -> None:
        """A workflow of activities."""
        await self._client.execute_workflow(Parallel.run, tasks, id=uuid.uuid4().hex, task_queue=QUEUE)


@contextmanager
def _server(port: int):
    with tempfile.TemporaryDirectory() as folder:
        command = ["server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "temporal"), *command, "--db-filename", f"{folder}/temporal.db"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def main() -> None:
    """Start the server and a worker, and measure."""
    port, began = free_port(), time.perf_counter()
    with _server(port):
        while True:
            try:
                client = await Client.connect(f"127.0.0.1:{port}")
                break
            except RuntimeError:
                await asyncio.sleep(0.05)
        ready_s = time.perf_counter() - began
        with ThreadPoolExecutor(4) as pool:
            async with Worker(
                client, task_queue=QUEUE, workflows=[Sequence, Parallel], activities=[step], activity_executor=pool
            ):
                report(ready_s, await measure(Temporal(client), sizes_of_arguments()))


if __name__ == "__main__":
    asyncio.run(main())
