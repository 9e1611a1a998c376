"""What the users launch: echo tasks, which the engine answers by itself, so that the control plane is loaded."""

from flytekit import LaunchPlan, map_task, workflow
from flytekit.core.task import Echo

echo = Echo(name="load.echo", inputs={"n": int})


@workflow
def single(n: int) -> int:
    """One task."""
    return echo(n=n)


single_plan = LaunchPlan.get_or_create(single, name="load.single")


@workflow
def fan_out(numbers: list[int]) -> list[int]:
    """An execution of `single` for each number."""
    return map_task(single_plan)(n=numbers)


PROGRAMS = (echo, single, fan_out)
