"""The task of the comparison, apart from its workflows: a process that runs it loads no more than this."""

from flytekit import task


def fibonacci(number: int) -> int:
    """Slowly, as the other engines do it."""
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


@task
def step(fib: int) -> int:
    """A task."""
    return fibonacci(fib)
