"""Programs whose kind of node is not supported yet."""

from flytekit import dynamic, map_task, task, workflow


@task
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@dynamic
def double_all(count: int) -> int:
    """A workflow made while it runs."""
    total = 0
    for number in range(count):
        total = double(number=number)
    return total


@workflow
def map_wf(numbers: list[int]) -> list[int]:
    """A map task."""
    return map_task(double)(number=numbers)


@workflow
def dynamic_wf(count: int) -> int:
    """A dynamic task."""
    return double_all(count=count)
