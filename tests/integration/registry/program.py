"""A small flytekit program: two tasks, a workflow with a sub-workflow, and a launch plan."""

from flytekit import LaunchPlan, task, workflow


@task
def double(x: int) -> int:
    """Twice the number."""
    return 2 * x


@task
def join(words: list[str], separator: str = ",") -> str:
    """One text of many words."""
    return separator.join(words)


@workflow
def inner(x: int) -> int:
    """A part used by another workflow."""
    return double(x=x)


@workflow
def outer(x: int = 3) -> int:
    """Doubles twice."""
    return double(x=inner(x=x))


fixed = LaunchPlan.get_or_create(outer, name="fixed", fixed_inputs={"x": 5})
