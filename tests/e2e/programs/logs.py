"""Tasks that print, fail and are repeated."""

from flytekit import map_task, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException


@task
def element(number: int) -> int:
    """Says which one it is."""
    print(f"element {number}", flush=True)
    return number


@task(retries=1)
def second_try(numbers: list[int]) -> int:
    """Succeeds the second time."""
    attempt = _attempt()
    print(f"try {attempt}", flush=True)
    if attempt == 0:
        raise FlyteRecoverableException("once more")
    return sum(numbers)


def _attempt() -> int:
    import os

    return int(os.environ["FLYTE_ATTEMPT_NUMBER"])


@task
def fail() -> None:
    """Does not succeed."""
    raise ValueError("it is broken")


@workflow
def printing_wf(numbers: list[int]) -> int:
    """A map, and a task with two attempts."""
    return second_try(numbers=map_task(element)(number=numbers))


@workflow
def failing_wf() -> None:
    """One task that fails."""
    fail()
