"""Workflows that tasks make while they run."""

from datetime import timedelta

from flytekit import LaunchPlan, conditional, dynamic, sleep, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException


@task
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@task
def add(left: int, right: int) -> int:
    """A sum."""
    return left + right


@task
def fail(number: int) -> int:
    """Always fails."""
    if number:
        raise ValueError(f"{number} is not welcome")
    return number


@task
def run_once(path: str) -> str:
    """Leaves a mark each time it runs."""
    with open(path, "a") as file:
        file.write("task\n")
    return path


@workflow
def quadruple_wf(number: int) -> int:
    """A sub-workflow for dynamics."""
    return double(number=double(number=number))


quadruple_plan = LaunchPlan.get_or_create(quadruple_wf, name="dynamics.quadruple_plan")


@dynamic
def sum_of_doubles(count: int) -> int:
    """As many nodes as the input says."""
    total = 0
    for number in range(count):
        total = add(left=total, right=double(number=number))
    return total


@workflow
def sum_wf(count: int) -> int:
    """A dynamic between tasks."""
    return double(number=sum_of_doubles(count=count))


@dynamic
def merge_sort(numbers: list[int]) -> list[int]:
    """Recursion: dynamics inside dynamics."""
    if len(numbers) <= 2:
        return sort_locally(numbers=numbers)
    half = len(numbers) // 2
    return merge(left=merge_sort(numbers=numbers[:half]), right=merge_sort(numbers=numbers[half:]))


@task
def sort_locally(numbers: list[int]) -> list[int]:
    """In one place."""
    return sorted(numbers)


@task
def merge(left: list[int], right: list[int]) -> list[int]:
    """Two sorted lists as one."""
    return sorted(left + right)


@workflow
def sort_wf(numbers: list[int]) -> list[int]:
    """Sorts by recursion."""
    return merge_sort(numbers=numbers)


@dynamic
def everything(number: int) -> int:
    """All kinds of nodes that a dynamic may make."""
    first = quadruple_wf(number=number)
    second = quadruple_plan(number=number)
    third = conditional("third").if_(first > 10).then(double(number=first)).else_().then(double(number=second))
    pause = sleep(timedelta(milliseconds=50))
    result = add(left=third, right=second)
    pause >> result
    return result


@workflow
def everything_wf(number: int) -> int:
    """A dynamic with all kinds of nodes."""
    return everything(number=number)


@dynamic
def failing(number: int) -> int:
    """Its node fails."""
    return add(left=double(number=number), right=fail(number=number))


@workflow
def failing_wf(number: int) -> int:
    """A failure inside."""
    return failing(number=number)


@dynamic(retries=2)
def hesitating(path: str) -> str:
    """Fails twice before it makes anything."""
    with open(path, "a") as file:
        file.write("attempt\n")
    with open(path) as file:
        if file.read().count("attempt") < 3:
            raise FlyteRecoverableException("not yet")
    return run_once(path=path)


@workflow
def hesitating_wf(path: str) -> str:
    """Attempts of a dynamic."""
    return hesitating(path=path)


@dynamic
def empty(number: int) -> int:
    """Makes no node."""
    return number + 1


@workflow
def empty_wf(number: int) -> int:
    """Nothing inside."""
    return empty(number=number)


@task
def slow(path: str) -> str:
    """Takes a moment, and leaves a mark."""
    import time

    with open(path, "a") as file:
        file.write("slow\n")
    time.sleep(2)
    return path


@dynamic
def slowly(path: str) -> str:
    """A mark for itself, one for its task."""
    with open(path, "a") as file:
        file.write("dynamic\n")
    return slow(path=path)


@workflow
def slowly_wf(path: str) -> str:
    """To be interrupted."""
    return slowly(path=path)
