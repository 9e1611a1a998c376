"""Map tasks."""

import functools
from dataclasses import dataclass

from flytekit import map_task, task, workflow
from flytekit.core.legacy_map_task import map_task as legacy_map_task


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


@workflow
def legacy_wf(numbers: list[int], factor: int) -> list[str | None]:
    """The older kind of map task."""
    return legacy_map_task(functools.partial(scale, factor=factor, name="older"), concurrency=2)(number=numbers)
