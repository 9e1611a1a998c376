"""The plan of a workflow version: what every execution of it shares, as dense arrays indexed by node.

Index 0 is the start node, index 1 the end node, as in a CompiledWorkflow. A plan never changes; `compiler.plan` builds
it. Sub-workflows are plans of their own, run as frames.
"""

from dataclasses import dataclass
from enum import IntEnum

from flyteidl.core import tasks_pb2

from wingbeat_propeller.core.bindings import BindingProgram

START = 0
END = 1


class NodeKind(IntEnum):
    """What a node does; the numbers are stored."""

    START = 0
    END = 1
    TASK = 2
    WORKFLOW = 3
    BRANCH = 4
    LAUNCH_PLAN = 5
    GATE = 6
    ARRAY = 7


class FailurePolicy(IntEnum):
    """flyteidl.core.WorkflowMetadata.OnFailurePolicy."""

    FAIL_IMMEDIATELY = 0
    FAIL_AFTER_EXECUTABLE_NODES_COMPLETE = 1


@dataclass(frozen=True, slots=True, eq=False)
class TaskSpec:
    """A task as its nodes use it: identity, template with the node's overrides applied, and its output names."""

    project: str
    domain: str
    name: str
    version: str
    type: str
    template: tasks_pb2.TaskTemplate
    output_names: tuple[str, ...]
    wants_deck: bool | None
    """None: a deck exists only if the task wrote one."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One workflow version. Arrays have one entry a node."""

    name: str
    policy: FailurePolicy
    ids: tuple[str, ...]
    names: tuple[str, ...]
    kinds: tuple[NodeKind, ...]
    indegree: tuple[int, ...]
    """Number of upstream nodes."""
    successors: tuple[tuple[int, ...], ...]
    bindings: tuple[BindingProgram, ...]
    uses: tuple[int, ...]
    """How many nodes read the outputs of this one."""
    tasks: tuple[TaskSpec | None, ...]
    sub_plans: "tuple[Plan | None, ...]"
    attempts_max: tuple[int, ...]
    """User attempts, at least 1."""
    timeout_s: tuple[float, ...]
    """Per attempt; 0 is none."""
    interruptible: tuple[bool | None, ...]
    """What the node says itself; None leaves it to the execution, then to `interruptible_default`."""
    interruptible_default: bool
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    """Workflow inputs and outputs."""

    @property
    def size(self) -> int:
        """Number of nodes, start and end included."""
        return len(self.ids)

    def node_output_names(self, node: int) -> tuple[str, ...]:
        """Names of the outputs that a node produces."""
        kind = self.kinds[node]
        if kind is NodeKind.START:
            return self.input_names
        if kind is NodeKind.END:
            return self.output_names
        task = self.tasks[node]
        if task is not None:
            return task.output_names
        sub_plan = self.sub_plans[node]
        return () if sub_plan is None else sub_plan.output_names
