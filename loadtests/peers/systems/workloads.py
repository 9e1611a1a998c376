"""The same work for every system, and how it is timed. Runs in each system's own environment, so it needs nothing."""

import asyncio
import json
import statistics
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass

ONES = 20
WARM_UPS = 3
CHAIN = 10
CHAINS = 5


@dataclass(frozen=True)
class Sizes:
    """How much work; the rates hardly depend on it, the time it takes does."""

    parallel: int = 1000
    executions: int = 200
    steps: int = 5
    fibs: int = 40


class System(ABC):
    """What a system is asked to do. Every method returns when the work has ended, and raises if some of it failed."""

    @abstractmethod
    async def sequence(self, tasks: int, fib: int = 0) -> None:
        """One execution of tasks that do nothing, or compute fib(`fib`), one after the other."""

    @abstractmethod
    async def parallel(self, tasks: int) -> None:
        """One execution of tasks side by side (as many executions of one task where there is no such thing)."""

    async def many(self, executions: int, tasks: int) -> None:
        """Executions of tasks in sequence, all submitted at once."""
        await asyncio.gather(*(self.sequence(tasks) for _ in range(executions)))


def fibonacci(number: int) -> int:
    """Slowly, as in other comparisons of workflow systems."""
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


async def _timed(work) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def measure(system: System, sizes: Sizes) -> dict[str, float]:
    """Milliseconds of one no-op and of a task in a chain of ten (medians), tasks a second side by side and in many
    executions, seconds of the Fibonacci chain."""
    for _ in range(WARM_UPS):
        await system.sequence(1)
    one = [await _timed(system.sequence(1)) for _ in range(ONES)]
    chain = [await _timed(system.sequence(CHAIN)) for _ in range(CHAINS)]
    parallel = await _timed(system.parallel(sizes.parallel))
    many = await _timed(system.many(sizes.executions, sizes.steps))
    fib = await _timed(system.sequence(sizes.fibs, 10))
    return {
        "one_ms": round(1000 * statistics.median(one), 1),
        "sequence_ms_per_task": round(1000 * statistics.median(chain) / CHAIN, 2),
        "parallel_tasks_per_s": round(sizes.parallel / parallel, 1),
        "many_tasks_per_s": round(sizes.executions * sizes.steps / many, 1),
        "fib_s": round(fib, 3),
    }


def sizes_of_arguments() -> Sizes:
    """As the run that started this process says, or the usual ones."""
    return Sizes(**json.loads(sys.argv[1])) if len(sys.argv) > 1 else Sizes()


def report(ready_s: float, measured: dict[str, float]) -> None:
    """The last line of output."""
    print(json.dumps({"ready_s": round(ready_s, 2), **measured}), flush=True)
