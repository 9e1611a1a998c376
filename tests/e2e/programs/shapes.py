"""Small programs for the rules of launching and reading."""

from flytekit import LaunchPlan, task, workflow


@task
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@workflow
def double_wf(number: int = 21) -> int:
    """One task."""
    return double(number=number)


@workflow
def chain_wf(number: int = 1) -> int:
    """Three tasks, one after the other."""
    return double(number=double(number=double(number=number)))


fixed_plan = LaunchPlan.get_or_create(double_wf, name="shapes.fixed_plan", fixed_inputs={"number": 4})
