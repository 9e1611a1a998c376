"""Small plans made by hand."""

import itertools

from flyteidl.core import tasks_pb2

from wingbeat_propeller.core.bindings import BindingProgram, Promise
from wingbeat_propeller.core.plan import END, START, FailurePolicy, NodeKind, Plan, TaskSpec


def task(name: str) -> TaskSpec:
    """A task from `x` to `o0`."""
    template = tasks_pb2.TaskTemplate(type="test")
    return TaskSpec("p", "d", name, "v", "test", template, output_names=("o0",), wants_deck=False)


def line(
    *steps: TaskSpec | Plan,
    timeout_s: float = 0.0,
    attempts_max: int = 1,
    policy: FailurePolicy = FailurePolicy.FAIL_IMMEDIATELY,
) -> Plan:
    """A chain n0, n1, ... of tasks and sub-workflows; timeout and attempts are those of every step."""
    count = len(steps) + 2
    order = [START, *range(2, count), END]
    successors: list[tuple[int, ...]] = [()] * count
    bindings = [BindingProgram()] * count
    for before, after in itertools.pairwise(order):
        successors[before] = (after,)
        promise = Promise(before, "x" if before == START else "o0")
        bindings[after] = BindingProgram((("o0" if after == END else "x", promise),), (before,))
    ids = ("start-node", "end-node", *(f"n{i}" for i in range(len(steps))))
    return Plan(
        name="line",
        policy=policy,
        ids=ids,
        names=ids,
        kinds=(
            NodeKind.START,
            NodeKind.END,
            *(NodeKind.TASK if isinstance(step, TaskSpec) else NodeKind.WORKFLOW for step in steps),
        ),
        indegree=(0, *(1 for _ in range(count - 1))),
        successors=tuple(successors),
        bindings=tuple(bindings),
        uses=(1, 0, *(1 for _ in steps)),
        targets=(None, None, *steps),
        owners=(-1,) * count,
        failure_node=None,
        attempts_max=(1, 1, *(attempts_max for _ in steps)),
        timeout_s=(0.0, 0.0, *(timeout_s for _ in steps)),
        interruptible=(None,) * count,
        interruptible_default=False,
        input_names=("x",),
        output_names=("o0",),
    )


def fan(width: int) -> Plan:
    """Tasks side by side, of which the first gives the output."""
    count = width + 2
    tasks = tuple(range(2, count))
    ids = ("start-node", "end-node", *(f"n{i}" for i in range(width)))
    program = BindingProgram((("x", Promise(START, "x")),), (START,))
    return Plan(
        name="fan",
        policy=FailurePolicy.FAIL_IMMEDIATELY,
        ids=ids,
        names=ids,
        kinds=(NodeKind.START, NodeKind.END, *(NodeKind.TASK for _ in tasks)),
        indegree=(0, width, *(1 for _ in tasks)),
        successors=(tasks, (), *((END,) for _ in tasks)),
        bindings=(BindingProgram(), BindingProgram((("o0", Promise(2, "o0")),), (2,)), *(program for _ in tasks)),
        uses=(width, 0, 1, *(0 for _ in tasks[1:])),
        targets=(None, None, *(task("t") for _ in tasks)),
        owners=(-1,) * count,
        failure_node=None,
        attempts_max=(1,) * count,
        timeout_s=(0.0,) * count,
        interruptible=(None,) * count,
        interruptible_default=False,
        input_names=("x",),
        output_names=("o0",),
    )
