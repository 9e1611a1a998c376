"""Eager workflows: Python that starts executions of tasks and workflows and waits for them."""

import asyncio
import os
import time
from pathlib import Path

from flytekit import eager, task, workflow
from flytekit.exceptions.eager import EagerException


@task
async def add_one(x: int) -> int:
    """One more."""
    return x + 1


@task
async def double(x: int) -> int:
    """Twice as many."""
    return 2 * x


@task
async def refuse(x: int) -> int:
    """Never works."""
    if x:
        raise ValueError(f"{x} is not welcome")
    return x


@task
async def hold(name: str, folder: str) -> str:
    """Runs until it is ended; leaves its process id."""
    draft = Path(folder) / f"{name}.draft"
    draft.write_text(str(os.getpid()), encoding="ascii")
    draft.rename(Path(folder) / name)
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    return name


@task
def step(x: int) -> int:
    """One more, for a workflow whose tasks are not awaited."""
    return x + 1


@workflow
def add_two_wf(x: int) -> int:
    """A static workflow for an eager one."""
    return step(x=step(x=x))


@eager
async def inner(x: int) -> int:
    """For another eager workflow."""
    return await double(x=x)


@eager
async def outer(x: int) -> list[int]:
    """A task, tasks side by side, a workflow, another eager workflow, and ordinary Python in between."""
    first = await add_one(x=x)
    both = await asyncio.gather(*(double(x=first + index) for index in range(2)))
    static = add_two_wf(x=both[0])
    nested = await inner(x=static)
    return [first, *both, static, nested]


@eager
async def careless(x: int) -> int:
    """Fails with its child."""
    return await refuse(x=x)


@eager
async def careful(x: int) -> str:
    """Goes on without its child."""
    try:
        return str(await refuse(x=x))
    except EagerException as error:
        return f"caught: {error}"


@eager
async def patient_inner(folder: str) -> str:
    """Waits for a child of its own."""
    return await hold(name="grandchild", folder=folder)


@eager
async def patient(folder: str) -> list[str]:
    """Waits for two children, one of them eager itself."""
    return list(await asyncio.gather(hold(name="child", folder=folder), patient_inner(folder=folder)))


@eager
async def reckless(folder: str) -> list[str]:
    """Starts a child that holds, and fails with another one as soon as the first runs."""
    return list(await asyncio.gather(hold(name="sibling", folder=folder), refuse_when(name="sibling", folder=folder)))


@task
async def refuse_when(name: str, folder: str) -> str:
    """Fails once the other one runs."""
    while not (Path(folder) / name).exists():
        time.sleep(0.02)
    return str(int(name))  # it is no number
