"""Launch plans as nodes: executions that executions make."""

import os
import time

from flytekit import LaunchPlan, task, workflow


@task
def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


@task
def shout(word: str) -> str:
    """A value of three megabytes."""
    return word * 1_000_000


@task
def length(text: str) -> int:
    """How long a text is."""
    return len(text)


@task
def fail(number: int) -> int:
    """Always fails."""
    if number:
        raise ValueError(f"{number} is not welcome")
    return number


@task
def environment(name: str) -> str:
    """What a variable says in the child."""
    return os.environ.get(name, "")


@task
def linger(path: str, seconds: int) -> str:
    """Says that it runs, then takes its time."""
    with open(path, "a") as file:
        file.write("run\n")
    time.sleep(seconds)
    return path


@workflow
def double_wf(number: int, again: int = 1) -> tuple[int, int]:
    """Two outputs; one input has a default."""
    return double(number=number), double(number=again)


double_plan = LaunchPlan.get_or_create(double_wf, name="launch_plans.double_plan", default_inputs={"again": 21})


@workflow
def shout_wf(word: str) -> str:
    """A large output."""
    return shout(word=word)


@workflow
def length_wf(text: str) -> int:
    """A large input."""
    return length(text=text)


@workflow
def fail_wf(number: int) -> int:
    """Fails."""
    return fail(number=number)


@workflow
def environment_wf(name: str) -> str:
    """Shows what is inherited."""
    return environment(name=name)


@workflow
def linger_wf(path: str, seconds: int) -> str:
    """Takes long."""
    return linger(path=path, seconds=seconds)


shout_plan = LaunchPlan.get_or_create(shout_wf, name="launch_plans.shout_plan")
length_plan = LaunchPlan.get_or_create(length_wf, name="launch_plans.length_plan")
fail_plan = LaunchPlan.get_or_create(fail_wf, name="launch_plans.fail_plan")
environment_plan = LaunchPlan.get_or_create(environment_wf, name="launch_plans.environment_plan")
linger_plan = LaunchPlan.get_or_create(linger_wf, name="launch_plans.linger_plan")


@workflow
def parent_wf(number: int) -> int:
    """Child after child."""
    first, _ = double_plan(number=number)
    _, second = double_plan(number=first)
    return double(number=second)


@workflow
def middle_wf(number: int) -> int:
    """A child with a child."""
    first, _ = double_plan(number=number)
    return first


middle_plan = LaunchPlan.get_or_create(middle_wf, name="launch_plans.middle_plan")


@workflow
def grandparent_wf(number: int) -> int:
    """Three generations."""
    return middle_plan(number=number)


@workflow
def large_wf(word: str) -> int:
    """Values too large for a row, into a child and out of one."""
    return length_plan(text=shout_plan(word=word))


@workflow
def failing_wf(number: int) -> int:
    """The child fails."""
    return fail_plan(number=number)


@workflow
def inheriting_wf(name: str) -> str:
    """The child sees the parent's environment."""
    return environment_plan(name=name)


@workflow
def lingering_wf(path: str, seconds: int) -> str:
    """A child to be aborted."""
    return linger_plan(path=path, seconds=seconds)
