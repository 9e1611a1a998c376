"""A workflow of the simulation as text, for people who read a trace."""

from collections.abc import Iterator

from tests.simulation.programs import (
    ApproveNode,
    BranchNode,
    LaunchPlanNode,
    MapNode,
    Node,
    SignalNode,
    SleepNode,
    Task,
    TaskNode,
    Workflow,
    WorkflowNode,
)
from tests.simulation.render import FAILURE, arm_id, node_id


def describe(workflow: Workflow, indent: str = "") -> Iterator[str]:
    """One line a node."""
    yield f"{indent}{workflow.name} [{workflow.policy.name}] -> {workflow.result}"
    for number, node in enumerate(workflow.nodes, 1):
        yield from _node(node, node_id(number), indent + "  ")
    if workflow.failure is not None:
        yield from _node(workflow.failure, FAILURE, indent + "  ")


def _node(node: Node, spec_id: str, indent: str) -> Iterator[str]:
    after = f" after {sorted(node.after)}" if node.after else ""
    match node:
        case TaskNode():
            yield f"{indent}{spec_id}: {_task(node.task)} x{node.attempts_max} of {node.given}{after}"
            if node.task.makes is not None:
                yield from describe(node.task.makes, indent + "  ")
        case MapNode():
            own = _task(node.element) if isinstance(node.element, Task) else node.element.name
            limits = f"parallelism {node.parallelism}, {node.needed} must succeed, {node.runs_all=}"
            yield f"{indent}{spec_id}: {own} x{node.attempts_max} for each of {node.given}{after}, {limits}"
            inner = node.element.makes if isinstance(node.element, Task) else node.element
            if inner is not None:
                yield from describe(inner, indent + "  ")
        case SleepNode() | SignalNode() | ApproveNode():
            yield f"{indent}{spec_id}: {node}"
        case LaunchPlanNode():
            yield f"{indent}{spec_id}: execution of {node.given}{after}"
            yield from describe(node.workflow, indent + "  ")
        case WorkflowNode():
            yield f"{indent}{spec_id}:{' cached' * node.is_cached} workflow of {node.given}{after}"
            yield from describe(node.workflow, indent + "  ")
        case BranchNode():
            yield f"{indent}{spec_id}: branch on {node.given}{after}"
            for position, (condition, arm) in enumerate(node.cases):
                yield f"{indent}  {condition}:"
                yield from _node(arm, arm_id(spec_id, position), indent + "    ")
            if node.otherwise is not None:
                yield f"{indent}  else:"
                yield from _node(node.otherwise, arm_id(spec_id, len(node.cases)), indent + "    ")


def _task(task: Task) -> str:
    kind = f"{task.style}{' large' * task.is_large}{' dynamic' * (task.makes is not None)}"
    return f"{kind} task {'/'.join(task.behaviour.outcomes)} {task.duration_s:.3f} s, deadline {task.timeout_s:.1f} s"
