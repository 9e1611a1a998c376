"""Workflows of the trivial task: ten one after another, and as many side by side as LOADTEST_TASKS says."""

import os

from flytekit import workflow
from trivial import increment


@workflow
def one(value: int) -> int:
    """A single task."""
    return increment(value=value)


@workflow
def chain(value: int) -> int:
    """Ten tasks, each with what the one before made."""
    for _ in range(10):
        value = increment(value=value)
    return value


@workflow
def fan(value: int) -> None:
    """Tasks that do not depend on each other."""
    for _ in range(int(os.environ.get("LOADTEST_TASKS", "1000"))):
        increment(value=value)


@workflow
def sequence(value: int) -> int:
    """Five tasks, each with what the one before made."""
    for _ in range(5):
        value = increment(value=value)
    return value
