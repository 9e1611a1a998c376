"""The live state of one execution: frames over plans, and a small record for each node that is under way.

Finished nodes leave nothing behind but their phase and, while some node may still read them, their outputs. Only `step`
and `recovery` change a state.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

from wingbeat_propeller.core.array_run import ArrayRun
from wingbeat_propeller.core.caching import CacheMode, Caching
from wingbeat_propeller.core.ids import ExecutionKey, unique_node_id
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.core.plan import FailurePolicy, Plan
from wingbeat_propeller.core.retry import RetryPolicy
from wingbeat_propeller.core.reuse import Reuse
from wingbeat_propeller.core.values import Value

ELEMENTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What the engine fixes for an execution when it takes it up."""

    base_uri: str
    """Prefix of metadata paths, no slash at the end: `<container>/metadata/propeller`."""
    max_parallelism: int = 0
    """Task nodes queued or running at once; 0 is no limit."""
    interruptible: bool | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    cache: CacheMode = CacheMode.USE
    deadline_s: float | None = None
    """How long the execution may run, from its begin."""
    elements_max: int = ELEMENTS_MAX
    """Elements of one array node under way at once, whatever its parallelism allows: they are held in memory."""
    element_attempts_max: int = ELEMENTS_MAX
    """The same where elements are attempts, which wait in the line of their tenant with those of others."""


class Stage(IntEnum):
    """Where a node under way stands; finer than its phase, and not stored."""

    PREPARING = 0
    """Waiting for blobs to be read or written; nothing is durable yet."""
    ACTIVE = 1
    """Queued or running; the row says which."""
    ASKING = 2
    """It is looked up in the execution that is recovered; nothing is durable yet."""
    LOOKING = 3
    """It is looked up in the cache; nothing is durable yet."""


class NodeRun:
    """A node between readiness and its end."""

    __slots__ = (
        "array",
        "attempt",
        "attempt_started_at",
        "cache",
        "child",
        "counted",
        "created_at",
        "data_dir",
        "flags",
        "generated_name",
        "inherited",
        "memo",
        "name",
        "node_id",
        "parent_attempt",
        "parent_id",
        "phase",
        "retry_at",
        "seq",
        "stage",
        "started_at",
        "system_failures",
        "task_created_at",
        "task_started_at",
        "task_version",
        "values",
    )

    def __init__(
        self, node_id: str, parent_id: str | None, parent_attempt: int, seq: int, data_dir: str, created_at: float
    ) -> None:
        self.node_id = node_id
        self.parent_id = parent_id
        """Unique id of the node that this one is inside of; None at top level."""
        self.parent_attempt = parent_attempt
        self.seq = seq
        self.data_dir = data_dir
        self.name = ""
        """Name of the current attempt of a task node in the runtime (ids.attempt_name)."""
        self.generated_name = ""
        """What containers and clients know that attempt by (ids.generated_name)."""
        self.created_at = created_at
        self.stage = Stage.PREPARING
        self.phase = 0
        self.attempt = 0
        self.system_failures = 0
        self.retry_at: float | None = None
        """When the next attempt may begin, while the node pauses after a failure of the system."""
        self.started_at: float | None = None
        self.attempt_started_at: float | None = None
        self.values: dict[str, Value] | None = None
        """Inputs that the node hands on as its outputs later."""
        self.cache: Caching | None = None
        """Set while its outputs may come from the cache, or go there."""
        self.child: int | None = None
        """Number of the frame that runs inside this node."""
        self.flags = 0
        """rows.FLAG_*, on top of those of its kind."""
        self.array: ArrayRun | None = None
        """Elements of an array node, once their number is known."""
        self.counted = False
        """Whether it holds one of the execution's max_parallelism slots."""
        self.memo: bytes | None = None
        """What its kind must know again after a restart and cannot derive, such as the arm a branch has taken."""
        self.inherited: str | None = None
        """What it goes on from that its namesake left: a folder with checkpoints, an execution."""
        self.task_created_at: float | None = None
        """Set once the row of the current attempt exists."""
        self.task_started_at: float | None = None
        self.task_version = 0

    @property
    def output_dir(self) -> str:
        """Folder of the current attempt's outputs."""
        return f"{self.data_dir}/{self.attempt}"


class Frame:
    """One run of a plan: the workflow itself, or a sub-workflow inside a node of another frame.

    An array node may have a frame for each of its elements under way.
    """

    __slots__ = (
        "element",
        "failed_node",
        "failing",
        "failure",
        "fresh",
        "id_bits",
        "number",
        "outputs",
        "parent",
        "parent_attempt",
        "parent_id",
        "parent_node",
        "path",
        "pending",
        "phases",
        "plan",
        "recalled",
        "reuse",
        "runs",
        "source",
        "tainted",
        "uses",
    )

    def __init__(
        self, number: int, plan: Plan, *, path: str, parent: "Frame | None", parent_node: int, element: int = -1
    ) -> None:
        self.number = number
        self.plan = plan
        self.path = path
        """Folder of the data of its nodes."""
        self.parent = parent
        self.parent_node = parent_node
        self.element = element
        """Of the array node that the frame is inside of; -1: the frame is the whole of its node."""
        parent_run = parent.runs[parent_node] if parent is not None else None
        self.parent_id: str | None = parent_run.node_id if parent_run is not None else None
        self.parent_attempt = parent_run.attempt if parent_run is not None else 0
        self.id_bits = parent.id_bits if parent is not None else 32
        if element >= 0 and parent_run is not None:
            assert parent_run.array is not None, "elements belong to an open array"
            self.id_bits = 64
            self.parent_id = unique_node_id(parent_run.node_id, parent_run.attempt, f"n{element}", 64)
            self.parent_attempt = parent_run.array.attempts[element]
        self.phases = bytearray(plan.size)
        self.pending = list(plan.indegree)
        self.uses = list(plan.uses)
        self.outputs: dict[int, dict[str, Value]] = {}
        self.runs: dict[int, NodeRun] = {}
        self.tainted: set[int] = set()
        """Nodes not yet reached that have a failed or skipped upstream, and so will be skipped."""
        self.failure: Failure | None = None
        """First failure of a node, kept while other nodes may still finish."""
        self.failed_node = ""
        """Unique id of that node."""
        self.failing = False
        """The frame cannot succeed any more; only its failure node may still run."""
        self.reuse: Reuse | None = None
        """Set while something may be taken over from the execution that is recovered."""
        self.source: tuple[str, int] | None = None
        """Unique id and attempt that the node around this frame has there; None at top level."""
        self.fresh: set[int] = set()
        """Nodes with an upstream that ran in this execution. Kept only where something may be taken over."""
        self.recalled: dict[int, str | None] = {}
        """Nodes that were looked up in vain and have not begun, with what they inherit."""

    def make_run(self, node: int, seq: int, created_at: float) -> NodeRun:
        """A node of this frame that is met now. An arm's branch must be under way."""
        plan = self.plan
        node_id = plan.ids[node]
        owner = plan.owners[node]
        if owner >= 0:
            branch = self.runs[owner]
            unique = unique_node_id(branch.node_id, branch.attempt, node_id, self.id_bits)
            return NodeRun(unique, branch.node_id, branch.attempt, seq, f"{branch.output_dir}/{node_id}", created_at)
        if self.parent is None:
            return NodeRun(unique_node_id(None, 0, node_id), None, 0, seq, f"{self.path}/{node_id}/data", created_at)
        unique = unique_node_id(self.parent_id, self.parent_attempt, node_id, self.id_bits)
        return NodeRun(unique, self.parent_id, self.parent_attempt, seq, f"{self.path}/{node_id}", created_at)


class ExecutionState:
    """One execution. Frame 0 is the workflow."""

    __slots__ = (
        "active",
        "domain",
        "ended",
        "frames",
        "held",
        "key",
        "name",
        "next_frame",
        "next_seq",
        "phase",
        "plan",
        "project",
        "ready",
        "reuse",
        "settings",
        "started_at",
    )

    def __init__(self, key: ExecutionKey, project: str, domain: str, name: str, plan: Plan, settings: Settings) -> None:
        self.key = key
        self.project = project
        self.domain = domain
        self.name = name
        self.plan = plan
        self.settings = settings
        self.phase = ExecutionPhase.UNDEFINED
        self.started_at: float | None = None
        self.ended = False
        self.frames: dict[int, Frame] = {}
        self.next_frame = 0
        self.next_seq = 0
        self.reuse: Reuse | None = None
        """What may be taken over from the execution that this one recovers, if it does."""
        self.active = 0
        """Nodes that hold a slot of max_parallelism now."""
        self.ready: deque[tuple[Frame, int]] = deque()
        """Nodes whose upstreams are all final and that no step has looked at yet."""
        self.held: deque[tuple[int, int]] = deque()
        """Ready (frame, node) pairs that wait for max_parallelism."""

    @property
    def policy(self) -> FailurePolicy:
        """The top workflow's policy rules every frame."""
        return self.plan.policy

    @property
    def path(self) -> str:
        """Folder of the execution's metadata."""
        return f"{self.settings.base_uri}/{self.project}-{self.domain}-{self.name}"

    def open_frame(self, plan: Plan, *, parent: Frame | None, parent_node: int = -1, element: int = -1) -> Frame:
        """Add a frame; `parent` must have `parent_node` under way, and `element` of it if that is an array."""
        path = self.path if parent is None else parent.runs[parent_node].output_dir
        if element >= 0 and parent is not None:
            array = parent.runs[parent_node].array
            assert array is not None, "elements belong to an open array"
            path = f"{path}/{element}/{array.attempts[element]}"
        frame = Frame(self.next_frame, plan, path=path, parent=parent, parent_node=parent_node, element=element)
        self.frames[frame.number] = frame
        self.next_frame += 1
        if parent is not None and element < 0:
            parent.runs[parent_node].child = frame.number
        return frame

    def take_seq(self) -> int:
        """Next place in the order in which nodes are met."""
        seq = self.next_seq
        self.next_seq += 1
        return seq
