"""Tasks that tell what they were given to run with."""

import json
import os
import time
from pathlib import Path

from flytekit import LaunchPlan, Resources, current_context, task, workflow
from flytekit.types.file import FlyteFile

_MARKS = "marks"


@task
def look(names: list[str]) -> str:
    """Environment variables as a JSON object, null where there is none."""
    return json.dumps({name: os.environ.get(name) for name in names})


@task
def look_inside(names: list[str]) -> str:
    """The same, seen by a process that the task starts."""
    with os.popen("env") as pipe:
        lines = dict(line.rstrip("\n").partition("=")[::2] for line in pipe)
    return json.dumps({name: lines.get(name) for name in names})


@task
def write(text: str) -> FlyteFile:
    """A file, which lies below the raw output prefix."""
    path = Path(current_context().working_directory) / "text.txt"
    path.write_text(text)
    return FlyteFile(str(path))


@workflow
def look_wf(names: list[str]) -> tuple[str, str, FlyteFile]:
    """All three."""
    return look(names=names), look_inside(names=names), write(text="here")


@workflow
def inner_wf(names: list[str]) -> str:
    """One level down."""
    return look(names=names)


@workflow
def nested_wf(names: list[str]) -> str:
    """A sub-workflow."""
    return inner_wf(names=names)


inner_plan = LaunchPlan.get_or_create(inner_wf, name="surroundings.inner_plan")


@workflow
def child_wf(names: list[str]) -> str:
    """A launch plan, which is an execution of its own."""
    return inner_plan(names=names)


@task
def fill(megabytes: int) -> int:
    """Memory that nobody asked for in advance."""
    hoard = []
    while len(hoard) < megabytes:
        hoard.append(b"x" * (1 << 20))
        time.sleep(0.002)
    return len(hoard)


@task(requests=Resources(mem="4Gi"))
def fill_with_leave(megabytes: int) -> int:
    """The same, asked for."""
    return fill.task_function(megabytes)


@workflow
def fill_wf(megabytes: int) -> int:
    """A task that says nothing about memory."""
    return fill(megabytes=megabytes)


@workflow
def fill_with_leave_wf(megabytes: int) -> int:
    """A task that says how much it needs."""
    return fill_with_leave(megabytes=megabytes)


@task
def stay(folder: str, seconds: float) -> int:
    """Leave a line when it begins and one when it ends."""
    _append(folder, "start")
    time.sleep(seconds)
    _append(folder, "end")
    return 1


@workflow
def crowd_wf(folder: str, seconds: float = 0.3) -> int:
    """Four tasks that do not need each other."""
    stay(folder=folder, seconds=seconds)
    stay(folder=folder, seconds=seconds)
    stay(folder=folder, seconds=seconds)
    return stay(folder=folder, seconds=seconds)


@task(interruptible=False)
def stubborn(names: list[str]) -> str:
    """Says itself that it cannot be interrupted."""
    return json.dumps({name: os.environ.get(name) for name in names})


@workflow
def stubborn_wf(names: list[str]) -> tuple[str, str]:
    """One that says nothing beside it."""
    return look(names=names), stubborn(names=names)


def _append(folder: str, what: str) -> None:
    descriptor = os.open(Path(folder) / _MARKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, f"{what}\n".encode())
    finally:
        os.close(descriptor)
