"""Work that fails as long as a file says so, at every depth, to be recovered once the file is gone.

Each task leaves a line with its name in `<folder>/lines`; those in whose name `<folder>/broken` has a line fail.
"""

import functools
import time
from pathlib import Path

from flytekit import (
    LaunchPlan,
    WorkflowFailurePolicy,
    conditional,
    current_context,
    dynamic,
    map_task,
    task,
    workflow,
)
from flytekit.types.file import FlyteFile


def _leave(folder: str, name: str) -> None:
    with open(f"{folder}/lines", "a") as lines:
        lines.write(f"{name}\n")


def _broken(folder: str, name: str) -> bool:
    file = Path(folder, "broken")
    return file.exists() and name in file.read_text().splitlines()


@task
def work(folder: str, name: str, number: int) -> int:
    """One more, unless it is broken."""
    _leave(folder, name)
    if _broken(folder, name):
        raise ValueError(f"{name} is broken")
    return number + 1


@task
def work_slowly(folder: str, name: str, number: int) -> int:
    """The same, in half a second."""
    _leave(folder, name)
    time.sleep(0.5)
    if _broken(folder, name):
        raise ValueError(f"{name} is broken")
    return number + 1


@task
def add_all(numbers: list[int]) -> int:
    """Their sum."""
    return sum(numbers)


@workflow
def pair_wf(folder: str, name: str, number: int) -> int:
    """Two slow steps of names that belong together."""
    first = work_slowly(folder=folder, name=name, number=number)
    return work_slowly(folder=folder, name=name, number=first)


WIDTH = 12


@workflow(failure_policy=WorkflowFailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE)
def wide_wf(folder: str) -> int:
    """Many slow steps side by side, some of them inside sub-workflows."""
    steps = [work_slowly(folder=folder, name=f"step-{number}", number=number) for number in range(WIDTH)]
    pairs = [pair_wf(folder=folder, name=f"pair-{number}", number=step) for number, step in enumerate(steps[:4])]
    return add_all(numbers=[*steps, *pairs])


@task(enable_deck=True)
def describe(folder: str, number: int) -> FlyteFile:
    """A file with the number, and a deck."""
    _leave(folder, "describe")
    path = Path(current_context().working_directory, "number.txt")
    path.write_text(str(number))
    return FlyteFile(str(path))


@task
def read(folder: str, file: FlyteFile, number: int) -> int:
    """The number in the file, and another."""
    _leave(folder, "read")
    with open(file) as content:
        return int(content.read()) + number


@workflow
def deepest_wf(folder: str, number: int) -> int:
    """Two steps."""
    first = work(folder=folder, name="deep-1", number=number)
    return work(folder=folder, name="deep-2", number=first)


@workflow
def deep_wf(folder: str, number: int) -> int:
    """A step around two others."""
    first = work(folder=folder, name="middle", number=number)
    return deepest_wf(folder=folder, number=first)


@workflow
def nested_wf(folder: str, number: int) -> int:
    """A file, then something deep inside, and a task that reads the file."""
    file = describe(folder=folder, number=number)
    deep = deep_wf(folder=folder, number=number)
    file >> deep
    return read(folder=folder, file=file, number=deep)


@workflow
def choosing_wf(folder: str, number: int) -> int:
    """An arm of a branch fails after something that succeeded."""
    first = work(folder=folder, name="before", number=number)
    return (
        conditional("size")
        .if_(first > 10)
        .then(work(folder=folder, name="large", number=first))
        .else_()
        .then(deep_wf(folder=folder, number=first))
    )


@workflow
def child_wf(folder: str, number: int) -> int:
    """What the launch plan runs."""
    first = work(folder=folder, name="child-1", number=number)
    return work(folder=folder, name="child-2", number=first)


child_plan = LaunchPlan.get_or_create(child_wf, name="recovering.child_plan")


@workflow
def parent_wf(folder: str, number: int) -> int:
    """An execution of its own between two tasks."""
    first = work(folder=folder, name="parent-1", number=number)
    child = child_plan(folder=folder, number=first)
    return work(folder=folder, name="parent-2", number=child)


@dynamic
def steps(folder: str, number: int) -> int:
    """As many steps as its input says, one after the other."""
    _leave(folder, "steps")
    for step in range(number):
        number = work(folder=folder, name=f"step-{step}", number=number)
    return number


@workflow
def dynamic_wf(folder: str, number: int) -> int:
    """Steps that are made while it runs."""
    return steps(folder=folder, number=number)


@task
def count_on(folder: str, until: int) -> int:
    """Counts by checkpoints and breaks half-way."""
    checkpoint = current_context().checkpoint
    assert checkpoint is not None
    done = int((checkpoint.read() or b"0").decode())
    _leave(folder, f"from {done}")
    for number in range(done + 1, until + 1):
        checkpoint.write(str(number).encode())
        if number == until // 2 and _broken(folder, "count"):
            raise ValueError("half-way")
    return until


@workflow
def counting_wf(folder: str, until: int) -> int:
    """One task with checkpoints."""
    return count_on(folder=folder, until=until)


@task
def work_item(folder: str, number: int) -> int:
    """One more, unless the item is broken."""
    _leave(folder, f"item-{number}")
    if _broken(folder, f"item-{number}"):
        raise ValueError(f"item {number} is broken")
    return number + 1


@workflow
def mapped_wf(folder: str, numbers: list[int]) -> int:
    """Items one after the other."""
    return add_all(numbers=map_task(functools.partial(work_item, folder=folder), concurrency=1)(number=numbers))


@workflow
def counting_map_wf(folder: str, until: list[int]) -> list[int]:
    """Items with checkpoints."""
    return map_task(functools.partial(count_on, folder=folder), concurrency=1)(until=until)


@workflow
def items_wf(folder: str, number: int) -> int:
    """What each element of the next one launches."""
    first = work_item(folder=folder, number=number)
    return work_item(folder=folder, number=first)


items_plan = LaunchPlan.get_or_create(items_wf, name="recovering.items_plan")


@workflow
def mapped_plan_wf(folders: list[str], numbers: list[int]) -> int:
    """Executions one after the other."""
    return add_all(numbers=map_task(items_plan, concurrency=1)(folder=folders, number=numbers))
