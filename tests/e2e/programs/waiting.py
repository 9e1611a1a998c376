"""A workflow with something to wait for at every turn; the tasks go on when a file says so."""

import time
from datetime import timedelta
from functools import partial
from pathlib import Path

from flytekit import LaunchPlan, approve, map_task, sleep, task, workflow


@task
def wait_for_file(path: str, x: int) -> int:
    """Return `x` once the file is there."""
    while not Path(path).exists():
        time.sleep(0.02)
    return x


@task
def add(a: int, b: int) -> int:
    """A sum."""
    return a + b


@workflow
def inner(path: str, x: int) -> int:
    """Waits inside."""
    return add(a=wait_for_file(path=path, x=x), b=1)


inner_plan = LaunchPlan.get_or_create(inner, name="waiting.inner_plan")


@workflow
def mapped(path: str) -> list[int]:
    """Three elements, two at a time."""
    return map_task(partial(wait_for_file, path=path), concurrency=2)(x=[1, 2, 3])


@workflow
def waits(path: str, x: int = 1) -> int:
    """A sub-workflow, an execution of its own, an approval and a sleep, each before a sum."""
    inside = inner(path=path, x=x)
    outside = inner_plan(path=path, x=x)
    approved = approve(add(a=x, b=x), "carry on", timeout=timedelta(hours=1))
    pause = sleep(timedelta(hours=1))
    result = add(a=add(a=inside, b=outside), b=approved)
    pause >> result
    return result
