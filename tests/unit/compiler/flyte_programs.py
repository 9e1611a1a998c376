"""Workflows written with flytekit that the compiler tests serialize and compile."""

import datetime as dt
import enum
import functools
from dataclasses import dataclass

from flytekit import LaunchPlan, approve, conditional, dynamic, map_task, sleep, task, wait_for_input, workflow
from flytekit.types.error import FlyteError
from flytekit.types.file import FlyteFile


class Color(enum.Enum):
    """An enum input."""

    RED = "red"
    GREEN = "green"


@dataclass
class Point:
    """A dataclass output."""

    x: int
    y: float
    name: str = ""


@task
def double(a: int) -> int:
    """An integer in and out."""
    return 2 * a


@task
def add(a: int, b: int) -> int:
    """Two integers to one."""
    return a + b


@task
def total(values: list[int]) -> int:
    """A list to an integer."""
    return sum(values)


@task
def look_up(values: dict[str, int], key: str) -> int:
    """A map to an integer."""
    return values[key]


@task
def locate(color: Color) -> Point:
    """An enum to a dataclass."""
    return Point(x=1, y=2.0, name=color.value)


@task
def measure(x: int, y: float) -> float:
    """Fields of a dataclass."""
    return x * y


@task
def maybe(a: int | None) -> int | None:
    """Optional in and out."""
    return a


@task
def either(a: int | str) -> str:
    """A union."""
    return str(a)


@task
def write(text: str) -> FlyteFile:
    """A file."""
    return FlyteFile(text)


@task
def read(file: FlyteFile) -> str:
    """A file in."""
    return str(file)


@task
def say(text: str = "hello") -> None:
    """No outputs."""
    print(text)


@task
def clean_up(a: int, err: FlyteError | None = None) -> None:
    """A failure handler."""
    print(a, err)


@workflow
def hello(text: str = "hello") -> None:
    """One task without outputs."""
    say(text=text)


@workflow
def diamond(a: int) -> tuple[int, list[int]]:
    """Two independent tasks meet in a third; outputs of several nodes."""
    left = double(a=a)
    right = double(a=a)
    joined = add(a=left, b=right)
    summed = total(values=[left, right, joined, 7])
    looked_up = look_up(values={"left": left, "three": 3}, key="left")
    say(text="done")
    return summed, [left, looked_up]


@workflow
def types(color: Color = Color.GREEN) -> tuple[float, int | None, str, str]:
    """Enum, dataclass attributes, optionals, unions, files."""
    point = locate(color=color)
    return measure(x=point.x, y=point.y), maybe(a=None), either(a=point.name), read(file=write(text=point.name))


@workflow
def inner(a: int) -> int:
    """A sub-workflow."""
    return double(a=a)


@workflow
def outer(a: int) -> int:
    """Sub-workflows in sub-workflows, the same one twice."""
    return add(a=inner(a=a), b=inner(a=3))


@workflow
def outermost(a: int) -> int:
    """Two levels of sub-workflows."""
    return outer(a=inner(a=a))


@workflow
def branching(a: int, b: int) -> int:
    """A conditional with arms of all kinds, some of which read another node, and a conditional inside."""
    doubled = double(a=a)
    other = double(a=b)
    return (
        conditional("size")
        .if_((doubled > 10) & (doubled < 100))
        .then(add(a=doubled, b=other))
        .elif_(doubled == 2)
        .then(inner(a=doubled))
        .elif_(doubled == 3)
        .then(conditional("inside").if_(doubled == 4).then(double(a=other)).else_().then(add(a=doubled, b=1)))
        .else_()
        .fail("too large")
    )


hello_plan = LaunchPlan.get_or_create(workflow=inner, name="inner_plan", default_inputs={"a": 4})


@workflow
def launching() -> int:
    """A node that starts a launch plan, its default input overridden once."""
    first = hello_plan()
    return add(a=first, b=hello_plan(a=5))


@workflow
def gates(a: int) -> tuple[int, int]:
    """Sleep, approval, signal."""
    doubled = double(a=a)
    pause = sleep(dt.timedelta(seconds=1))
    approved = approve(doubled, "approve-it", timeout=dt.timedelta(hours=1))
    given = wait_for_input("give-it", timeout=dt.timedelta(hours=1), expected_type=int)
    pause >> given
    return add(a=approved, b=given), double(a=approved)


@task
def scale(a: int, factor: int) -> int:
    """Mapped over."""
    return a * factor


@workflow
def mapping(values: list[int], factor: int) -> list[int | None]:
    """A map task with a bound input."""
    return map_task(functools.partial(scale, factor=factor), min_success_ratio=0.5, concurrency=2)(a=values)


@workflow
def mapping_plans(values: list[int]) -> list[int]:
    """A map over a launch plan."""
    return map_task(hello_plan)(a=values)


@workflow(on_failure=clean_up)
def guarded(a: int) -> int:
    """A workflow with a failure node."""
    return double(a=a)


@dynamic
def fan(n: int) -> list[int]:
    """A dynamic task."""
    return [double(a=i) for i in range(n)]


@workflow
def dynamics(n: int) -> int:
    """A dynamic node followed by a task."""
    return total(values=fan(n=n))


@workflow
def ordered() -> None:
    """Explicit order without data."""
    first = say(text="1")
    second = say(text="2")
    third = say()
    first >> second
    second >> third
