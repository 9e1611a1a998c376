"""The task that `loadtests.tasks` runs: as little as a Python task can do. Its workflows lie apart, in shapes of many
nodes that a process which runs one task does not load."""

from flytekit import task


@task
def increment(value: int) -> int:
    """One more."""
    return value + 1
