"""DBOS in this process over the PostgreSQL named by COMPARISON_DATABASE_URL."""

import asyncio
import os
import sys
import time

from dbos import DBOS, DBOSConfig
from workloads import System, fibonacci, measure, report, sizes_of_arguments

QUEUE = "side_by_side"


@DBOS.step()
async def step(fib: int) -> int:
    """A task."""
    return fibonacci(fib)


@DBOS.workflow()
async def sequence(tasks: int, fib: int) -> None:
    """Tasks one after the other."""
    for _ in range(tasks):
        await step(fib)


@DBOS.workflow()
async def parallel(tasks: int) -> None:
    """Tasks side by side: child workflows in a queue, as its documentation does it."""
    handles = [await DBOS.enqueue_workflow_async(QUEUE, sequence, 1, 0) for _ in range(tasks)]
    for handle in handles:
        await handle.get_result()


class Dbos(System):
    """By calls in the process."""

    async def sequence(self, tasks: int, fib: int = 0) -> None:
        """A workflow of steps."""
        await sequence(tasks, fib)

    async def parallel(self, tasks: int) -> None:
        """A workflow of child workflows."""
        await parallel(tasks)


async def main() -> None:
    """Launch DBOS, and measure."""
    began = time.perf_counter()
    config: DBOSConfig = {
        "name": "comparison",
        "system_database_url": os.environ["COMPARISON_DATABASE_URL"],
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    await DBOS.register_queue_async(QUEUE, polling_interval_sec=0.02)
    ready_s = time.perf_counter() - began
    try:
        report(ready_s, await measure(Dbos(), sizes_of_arguments()))
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit()
