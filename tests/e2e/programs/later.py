"""Programs whose kind of node is not supported yet."""

from datetime import timedelta

from flytekit import LaunchPlan, dynamic, map_task, sleep, task, workflow


@task
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@workflow
def inner_wf(number: int) -> int:
    """For the launch plan."""
    return double(number=number)


inner_plan = LaunchPlan.get_or_create(inner_wf, name="later.inner_plan")


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
def plan_wf(number: int) -> int:
    """A launch plan as a node."""
    return inner_plan(number=number)


@workflow
def gate_wf(number: int) -> int:
    """A pause."""
    pause = sleep(timedelta(seconds=1))
    result = double(number=number)
    pause >> result
    return result


@workflow
def dynamic_wf(count: int) -> int:
    """A dynamic task."""
    return double_all(count=count)
