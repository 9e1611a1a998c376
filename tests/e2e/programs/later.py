"""Programs whose kind of node is not supported yet."""

from flytekit import map_task, task, workflow


@task
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@workflow
def map_wf(numbers: list[int]) -> list[int]:
    """A map task."""
    return map_task(double)(number=numbers)
