"""Map tasks."""

import functools
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from flytekit import LaunchPlan, current_context, dynamic, map_task, reference_task, task, workflow
from flytekit.core.legacy_map_task import map_task as legacy_map_task
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.types.file import FlyteFile


@dataclass
class Point:
    """A value with fields."""

    x: int
    y: int


@task
def double(number: int) -> int:
    """Twice the number; negative ones fail."""
    if number < 0:
        raise ValueError(f"{number} is negative")
    return 2 * number


@task
def scale(number: int, factor: int, name: str) -> str:
    """A text of the product."""
    return f"{name}: {number * factor}"


@task
def repeat(word: str) -> str:
    """Too much for the row of an element."""
    return word * 1000


@workflow
def large_wf(words: list[str]) -> list[str]:
    """Large results."""
    return map_task(repeat)(word=words)


@task
def add_up(numbers: list[int | None]) -> int:
    """The sum of what is there."""
    return sum(number for number in numbers if number is not None)


@workflow
def map_wf(numbers: list[int]) -> list[int]:
    """The plain case."""
    return map_task(double)(number=numbers)


@workflow
def partial_wf(numbers: list[int], factor: int) -> list[str]:
    """Some inputs are the same for all elements: one fixed, one bound to the workflow's input."""
    return map_task(functools.partial(scale, factor=factor, name="product"))(number=numbers)


@workflow
def some_wf(numbers: list[int]) -> list[int | None]:
    """Half of the elements must succeed."""
    return map_task(double, min_success_ratio=0.5)(number=numbers)


@workflow
def sum_wf(numbers: list[int]) -> int:
    """Another task takes what came of it."""
    return add_up(numbers=map_task(double, min_success_ratio=0.5)(number=numbers))


@task
def shift(point: Point, file: FlyteFile) -> Point:
    """A value with fields and a file, to a value with fields."""
    return Point(x=point.x + len(Path(file).read_text()), y=-point.y)


@task
def copy(text: str) -> FlyteFile:
    """A file with the text in it."""
    path = Path(current_context().working_directory) / "text"
    path.write_text(text)
    return FlyteFile(str(path))


@task
def count(files: list[FlyteFile]) -> list[int]:
    """Lengths of files."""
    return [len(Path(file).read_text()) for file in files]


@task
def combine(points: list[Point], lengths: list[int]) -> list[int]:
    """All of it as numbers."""
    return [point.x * 100 + point.y for point in points] + lengths


@workflow
def values_wf(points: list[Point], texts: list[str]) -> list[int]:
    """Lists of dataclasses and of files, into map tasks and out of them."""
    files = map_task(copy)(text=texts)
    return combine(points=map_task(shift)(point=points, file=files), lengths=count(files=files))


@task(retries=3)
def hesitate(number: int, folder: str) -> int:
    """Even numbers are right at the second attempt, others at the first; three never is."""
    _line(folder, number, "run")
    if number == 3:
        raise FlyteRecoverableException("three does not want to")
    if number % 2 == 0 and os.environ["FLYTE_ATTEMPT_NUMBER"] == "0":
        raise FlyteRecoverableException("not yet")
    return number


@workflow
def hesitate_wf(numbers: list[int], folder: str) -> list[int | None]:
    """Elements are tried again one by one."""
    return map_task(functools.partial(hesitate, folder=folder), min_success_ratio=0.5)(number=numbers)


@task
def linger(number: int, folder: str, seconds: float) -> int:
    """Leaves a line when it begins and when it ends."""
    _line(folder, number, "start")
    time.sleep(seconds)
    _line(folder, number, "end")
    return number * number


@workflow
def linger_wf(numbers: list[int], folder: str, seconds: float) -> list[int]:
    """Elements that take a while."""
    return map_task(functools.partial(linger, folder=folder, seconds=seconds))(number=numbers)


@workflow
def two_at_once_wf(numbers: list[int], folder: str, seconds: float) -> list[int]:
    """No more than two of them at once."""
    return map_task(functools.partial(linger, folder=folder, seconds=seconds), concurrency=2)(number=numbers)


@task(timeout=timedelta(seconds=2))
def doze(seconds: int) -> int:
    """Has two seconds."""
    time.sleep(seconds)
    return seconds


@workflow
def doze_wf(seconds: list[int]) -> list[int | None]:
    """An element that takes too long is not waited for."""
    return map_task(doze, min_success_ratio=0.5)(seconds=seconds)


@workflow
def twice_wf(number: int) -> int:
    """For the launch plan."""
    return double(number=double(number=number))


twice_plan = LaunchPlan.get_or_create(twice_wf, name="maps.twice_plan")


@workflow
def plans_wf(numbers: list[int]) -> list[int]:
    """Each element is an execution."""
    return map_task(twice_plan)(number=numbers)


@workflow
def some_plans_wf(numbers: list[int]) -> list[int | None]:
    """Some may fail."""
    return map_task(twice_plan, concurrency=2, min_success_ratio=0.5)(number=numbers)


@reference_task(project="flytesnacks", domain="development", name="maps.double", version="referenced")
def double_by_reference(number: int) -> int:
    """A task that was registered before."""


@workflow
def reference_wf(numbers: list[int]) -> list[int]:
    """Elements with inputs of their own."""
    return map_task(double_by_reference)(number=numbers)


@dynamic
def count_down(number: int) -> int:
    """A workflow made for each element."""
    result = double(number=number)
    for _ in range(number):
        result = double(number=result)
    return result


@workflow
def legacy_wf(numbers: list[int], factor: int) -> list[str | None]:
    """The older kind of map task."""
    return legacy_map_task(functools.partial(scale, factor=factor, name="older"), concurrency=2)(number=numbers)


def _line(folder: str, number: int, what: str) -> None:
    """One write of a short line to a file opened for appending: lines of several processes never mix."""
    descriptor = os.open(Path(folder) / f"{number:02}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, f"{what} {time.time()}\n".encode())
    finally:
        os.close(descriptor)
