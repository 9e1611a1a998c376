"""The plan of a workflow version: what every execution of it shares, as dense arrays indexed by node.

Index 0 is the start node, index 1 the end node, as in a CompiledWorkflow; the workflow's nodes follow, then the arms of
its branches (each with the index of its branch in `owners`) and its failure node. A plan never changes;
`compiler.plan` builds it. Sub-workflows are plans of their own, run as frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from math import ceil
from types import MappingProxyType
from typing import TypeAlias

from flyteidl.core import tasks_pb2

from wingbeat_propeller.core.bindings import BindingProgram
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.conditions import Condition

START = 0
END = 1
ELEMENT_NODE_ID = "n0"
"""Id of the one node of a plan made for an element of an array: short, as it becomes part of other ids."""


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
    referring_outputs: frozenset[str] = frozenset()
    """Outputs whose type may refer to blobs."""
    makes_artifacts: bool = False
    """Whether an output is declared to be an artifact, or may be by the task that a map runs."""
    cached: CachedTask | None = None
    """What the cache knows it by, if its outputs may be kept; as an element of an array, what its elements are known
    by."""


@dataclass(frozen=True, slots=True, eq=False)
class BranchSpec:
    """What a branch node chooses from; arms are plan indexes of nodes that it owns."""

    cases: tuple[tuple[Condition, int], ...]
    """Condition and arm, in order; the first that holds is taken."""
    otherwise: int | None
    """The arm of `else_`."""
    error: str | None
    """What the branch fails with when no case holds and there is no else arm; None: the branch is malformed then."""
    output_names: tuple[str, ...]
    """Outputs of any arm."""

    @property
    def arms(self) -> tuple[int, ...]:
        """All arms."""
        arms = tuple(arm for _, arm in self.cases)
        return arms if self.otherwise is None else (*arms, self.otherwise)


@dataclass(frozen=True, slots=True, eq=False)
class LaunchPlanSpec:
    """The launch plan whose execution a node is."""

    project: str
    domain: str
    name: str
    version: str
    output_names: tuple[str, ...]
    """Outputs that other nodes of the workflow read."""


class GateKind(IntEnum):
    """What a gate node waits for."""

    SLEEP = 0
    SIGNAL = 1
    """A value that somebody gives; it becomes the node's output."""
    APPROVE = 2
    """A yes or no; the node's inputs become its outputs after a yes."""


@dataclass(frozen=True, slots=True, eq=False)
class GateSpec:
    """What a gate node waits for, and under which name."""

    kind: GateKind
    duration_s: float
    """Of a sleep, else 0."""
    signal_id: str
    """Empty for a sleep."""
    signal_type: bytes
    """Serialized flyteidl.core.LiteralType of the signal."""
    output_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ArraySpec:
    """What an array node does for each element of its lists, and how many of them must succeed."""

    project: str
    domain: str
    name: str
    version: str
    """Of what the elements run; the node's one task execution is shown under this name."""
    element: "TaskSpec | Plan"
    """A task runs as attempts of an element; everything else runs as a frame for each element."""
    bound_inputs: frozenset[str]
    """Inputs that every element gets whole, lists among them."""
    picks: bool
    """Whether an element is given the items at its index as inputs of its own; else its program reads the whole lists
    and picks for itself, by the index in its environment."""
    appends_index: bool
    """Whether the program adds its index to the output prefix that it is told: the older kind of map task, which to its
    clients is an ordinary task."""
    parallelism: int
    """Elements under way at once; 0 is no limit."""
    min_successes: int | None
    min_success_ratio: Fraction
    """Counts where `min_successes` is None."""
    runs_all: bool
    """Whether the other elements go on when too many have failed."""
    attempts_max: int
    """User attempts of an element, at least 1."""
    timeout_s: float
    """Per attempt of an element; 0 is none."""
    interruptible: bool | None
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    type: str = "container_array"
    """The task type that the node's task execution shows."""

    @property
    def runs_attempts(self) -> bool:
        """Whether an element is a task, run as attempts; else it is a frame."""
        return isinstance(self.element, TaskSpec)

    @property
    def cached(self) -> CachedTask | None:
        """What the cache knows an element by, if its outputs may be kept; elements that are frames see to it
        themselves."""
        return self.element.cached if isinstance(self.element, TaskSpec) else None

    @property
    def makes_artifacts(self) -> bool:
        """Whether outputs of elements may be artifacts; elements that are frames see to it themselves."""
        return isinstance(self.element, TaskSpec) and self.element.makes_artifacts

    @property
    def shares_inputs(self) -> bool:
        """Whether the programs of all elements read one inputs.pb, that of the array."""
        return self.runs_attempts and not self.picks

    @property
    def maps_launch_plan(self) -> bool:
        """Whether each element is an execution of its own."""
        return isinstance(self.element, Plan) and not self.element.is_counted

    @property
    def is_counted(self) -> bool:
        """Whether the array takes a slot of max_parallelism, and not what runs inside of its elements."""
        return self.runs_attempts or self.maps_launch_plan

    def successes_needed(self, size: int) -> int:
        """How many of `size` elements must succeed."""
        if self.min_successes is not None:
            return self.min_successes
        return ceil(self.min_success_ratio * size)


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
    targets: "tuple[Target | None, ...]"
    """What the node does, of the type that belongs to its kind; None for start, end and kinds that cannot run."""
    owners: tuple[int, ...]
    """The branch node that an arm belongs to, -1 for all other nodes."""
    failure_node: int | None
    """The node that runs when the workflow fails; nothing leads to it."""
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
    is_counted: bool = True
    """Whether nodes take slots of max_parallelism; launch plans that an array maps over do not, the array has one."""
    makes_artifacts: bool = False
    """Whether an output of the workflow is declared to be an artifact."""
    cached_workflows: Mapping[int, CachedTask] = field(default_factory=lambda: MappingProxyType({}))
    """Sub-workflow nodes whose outputs may be kept as a whole, and what the cache knows them by."""

    @property
    def size(self) -> int:
        """Number of nodes, start, end, arms and failure node included."""
        return len(self.ids)

    def task(self, node: int) -> TaskSpec:
        """The task of a task node."""
        target = self.targets[node]
        assert type(target) is TaskSpec, "a task node has a task"
        return target

    def cached(self, node: int) -> CachedTask | None:
        """What the cache knows a task or sub-workflow node by, if its outputs may be kept."""
        target = self.targets[node]
        return target.cached if type(target) is TaskSpec else self.cached_workflows.get(node)

    def sub_plan(self, node: int) -> "Plan":
        """The plan of a sub-workflow node."""
        target = self.targets[node]
        assert type(target) is Plan, "a sub-workflow node has a plan"
        return target

    def branch(self, node: int) -> BranchSpec:
        """The arms of a branch node."""
        target = self.targets[node]
        assert type(target) is BranchSpec, "a branch node has arms"
        return target

    def launch_plan(self, node: int) -> LaunchPlanSpec:
        """The launch plan of a launch plan node."""
        target = self.targets[node]
        assert type(target) is LaunchPlanSpec, "a launch plan node has a launch plan"
        return target

    def gate(self, node: int) -> GateSpec:
        """What a gate node waits for."""
        target = self.targets[node]
        assert type(target) is GateSpec, "a gate node waits for something"
        return target

    def array(self, node: int) -> ArraySpec:
        """The elements of an array node."""
        target = self.targets[node]
        assert type(target) is ArraySpec, "an array node has elements"
        return target

    def attempted(self, node: int) -> TaskSpec | ArraySpec:
        """What a node is that has task executions."""
        target = self.targets[node]
        assert isinstance(target, TaskSpec | ArraySpec), "the node has task executions"
        return target

    def node_output_names(self, node: int) -> tuple[str, ...]:
        """Names of the outputs that a node may produce."""
        kind = self.kinds[node]
        if kind is NodeKind.START:
            return self.input_names
        if kind is NodeKind.END:
            return self.output_names
        target = self.targets[node]
        return () if target is None else target.output_names


Target: TypeAlias = TaskSpec | Plan | BranchSpec | LaunchPlanSpec | GateSpec | ArraySpec
"""Everything a node may be told to do; each has `output_names`."""
