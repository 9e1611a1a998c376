"""Workflows that wait: for time, for a value, for a yes."""

from datetime import timedelta

from flytekit import approve, conditional, sleep, task, wait_for_input, workflow


@task
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@task
def title(report: str, name: str) -> str:
    """A report with its title."""
    return f"{name}: {report}"


@workflow
def sleep_wf(number: int) -> int:
    """A pause before the work."""
    pause = sleep(timedelta(seconds=1))
    result = double(number=number)
    pause >> result
    return result


@workflow
def input_wf(report: str) -> str:
    """Somebody names the report."""
    name = wait_for_input("title", timeout=timedelta(hours=1), expected_type=str)
    return title(report=report, name=name)


@workflow
def approval_wf(number: int) -> int:
    """A number passes after a yes."""
    return double(number=approve(double(number=number), "fine", timeout=timedelta(hours=1)))


@workflow
def hasty_wf() -> str:
    """Nobody answers in time."""
    return wait_for_input("never", timeout=timedelta(seconds=1), expected_type=str)


@workflow
def inner_wf(number: int) -> int:
    """Waits inside a sub-workflow."""
    return double(number=approve(number, "inner", timeout=timedelta(hours=1)))


@workflow
def choice_wf(number: int) -> int:
    """A condition on what somebody says."""
    wanted = wait_for_input("wanted", timeout=timedelta(hours=1), expected_type=bool)
    return conditional("wanted").if_(wanted.is_true()).then(double(number=number)).else_().fail("it is not wanted")
