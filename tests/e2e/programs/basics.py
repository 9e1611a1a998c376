"""How tasks are put together: names, order, defaults, decorators, workflows without a function, shell scripts."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flytekit import FlyteContextManager, LaunchPlan, Workflow, current_context, kwtypes, task, workflow
from flytekit.core.node_creation import create_node
from flytekit.extras.tasks.shell import OutputLocation, ShellTask
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile


class Line(NamedTuple):
    slope: float
    offset: float


@task
def fit(x: list[int], y: list[int]) -> NamedTuple("Fit", slope=float, offset=float):
    """A line through the first and the last point."""
    slope = (y[-1] - y[0]) / (x[-1] - x[0])
    return slope, y[0] - slope * x[0]


@task
def value_at(x: int, slope: float, offset: float) -> float:
    """A value of the line."""
    return slope * x + offset


@workflow
def line_wf(x: list[int] = [-3, 0, 3], y: list[int] = [7, 4, -2]) -> Line:  # noqa: B006 - flytekit reads it once
    """Outputs with names.

    :param x: where
    :param y: how much
    """
    line = fit(x=x, y=y)
    return Line(slope=line.slope, offset=line.offset)


@workflow
def nested_wf(at: int, x: list[int], y: list[int]) -> float:
    """A workflow with named outputs inside another one."""
    line = line_wf(x=x, y=y)
    return value_at(x=at, slope=line.slope, offset=line.offset)


half_fixed_plan = LaunchPlan.get_or_create(
    nested_wf, name="basics.half_fixed_plan", default_inputs={"at": 10}, fixed_inputs={"x": [0, 1], "y": [0, 2]}
)


imperative_wf = Workflow(name="basics.imperative_wf")
imperative_wf.add_workflow_input("x", list[int])
imperative_wf.add_workflow_input("y", list[int])
_line = imperative_wf.add_entity(fit, x=imperative_wf.inputs["x"], y=imperative_wf.inputs["y"])
imperative_wf.add_workflow_output("both", [_line.outputs["slope"], _line.outputs["offset"]], python_type=list[float])


def traced(function: Callable[..., int]) -> Callable[..., int]:
    """Says when a function begins."""

    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> int:
        print(f"begin {function.__name__}")
        return function(*args, **kwargs)

    return wrapper


def at_least(floor: int) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Refuses small results."""

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(function)
        def wrapper(*args: object, **kwargs: object) -> int:
            result = function(*args, **kwargs)
            if result < floor:
                raise ValueError(f"{result} is less than {floor}")
            return result

        return wrapper

    return decorate


@task
@traced
@at_least(floor=10)
def add_ten(x: int) -> int:
    """A task under two decorators."""
    return x + 10


@workflow
def decorated_task_wf(x: int) -> int:
    """Decorators stay on the way through the task host."""
    return add_ten(x=add_ten(x=x))


@task
def mark(path: str, text: str) -> None:
    """Leaves a line."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def between(function: Callable[..., None]) -> Callable[..., None]:
    """Puts a node before and a node after whatever a workflow holds."""

    @functools.wraps(function)
    def wrapper(path: str) -> None:
        before = create_node(mark, path=path, text="before")
        function(path)
        after = create_node(mark, path=path, text="after")
        state = FlyteContextManager.current_context().compilation_state
        if state is not None:
            before >> state.nodes[1]
            state.nodes[-2] >> after

    return wrapper


@workflow
@between
def decorated_wf(path: str) -> None:
    """A workflow under a decorator."""
    mark(path=path, text="within")


@workflow
def chained_wf(path: str) -> None:
    """Nodes that pass no values, in an order that is not the one they are written in."""
    third = mark(path=path, text="third")
    second = decorated_wf(path=path)
    first = mark(path=path, text="first")
    first >> second
    second >> third


grow = ShellTask(
    name="basics.grow",
    script="""
    set -e
    cp {inputs.text} {outputs.longer}
    printf '%s\\n' more >> {outputs.longer}
    """,
    inputs=kwtypes(text=FlyteFile),
    output_locs=[OutputLocation(var="longer", var_type=FlyteFile, location="longer.txt")],
)

pack = ShellTask(
    name="basics.pack",
    script="""
    set -e
    cp {inputs.text} {inputs.folder}/added.txt
    tar -czf {outputs.archive} -C {inputs.folder} .
    mkdir unpacked
    tar -xzf {outputs.archive} -C unpacked
    ls unpacked > {outputs.names}
    """,
    inputs=kwtypes(text=FlyteFile, folder=FlyteDirectory),
    output_locs=[
        OutputLocation(var="archive", var_type=FlyteFile, location="{inputs.folder}.tar.gz"),
        OutputLocation(var="unpacked", var_type=FlyteDirectory, location="unpacked"),
        OutputLocation(var="names", var_type=FlyteFile, location="names.txt"),
    ],
)


@task
def make_entities() -> tuple[FlyteFile, FlyteDirectory]:
    """A file and a folder."""
    folder = Path(current_context().working_directory) / "folder"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept", encoding="utf-8")
    file = folder.parent / "text.txt"
    file.write_text("some\n", encoding="utf-8")
    return FlyteFile(str(file)), FlyteDirectory(str(folder))


@task
def read_entities(unpacked: FlyteDirectory, names: FlyteFile) -> tuple[str, list[str]]:
    """What the scripts made of them."""
    added = Path(unpacked) / "added.txt"
    return added.read_text(encoding="utf-8"), Path(names).read_text(encoding="utf-8").split()


@workflow
def shell_wf() -> tuple[str, list[str]]:
    """Shell scripts with files and folders, in and out."""
    text, folder = make_entities()
    _, unpacked, names = pack(text=grow(text=text), folder=folder)
    return read_entities(unpacked=unpacked, names=names)
