"""What Wingbeat runs beside other engines (loadtests/peers): chains of tasks, and a fan, as long as they ask for."""

import os

from comparison_task import step
from flytekit import workflow

STEPS = int(os.environ.get("LOADTEST_STEPS", "5"))
CHAIN = 10
FIBS = int(os.environ.get("LOADTEST_FIBS", "40"))
PARALLEL = int(os.environ.get("LOADTEST_PARALLEL", "1000"))


def _chain(length: int, fib: int) -> None:
    previous = None
    for _ in range(length):
        current = step(fib=fib)
        if previous is not None:
            previous >> current
        previous = current


@workflow
def chain_1(fib: int) -> int:
    """A single task."""
    return step(fib=fib)


@workflow
def chain_10(fib: int) -> None:
    """Ten in sequence."""
    _chain(CHAIN, fib)


@workflow
def chain_steps(fib: int) -> None:
    """As many in sequence as the many executions have."""
    _chain(STEPS, fib)


@workflow
def chain_fibs(fib: int) -> None:
    """As many in sequence as compute Fibonacci numbers."""
    _chain(FIBS, fib)


@workflow
def fan(fib: int) -> None:
    """Side by side."""
    for _ in range(PARALLEL):
        step(fib=fib)
