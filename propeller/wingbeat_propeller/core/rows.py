"""What `step` asks to be written: the state of the rows that changed. Times are seconds since the epoch.

A row holds the whole current state, so writing it twice is harmless and of several versions only the last needs to be
written. Two kinds of fields are exceptions, to spare bytes: where a row says None for `inputs`, `input_uri`, `outputs`,
`output_uri`, `deck_uri`, `details`, `memo` or `inherited`, what is stored already stays; of elements `deck_uri`,
`futures_uri` and `details`.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.phases import TaskPhase

FLAG_PARENT = 1
FLAG_DYNAMIC = 2
FLAG_ARRAY = 4


@dataclass(slots=True)
class ExecutionRow:
    """Progress of one execution."""

    execution: ExecutionKey
    phase: int
    updated_at: float
    started_at: float | None = None
    ended_at: float | None = None
    outputs: bytes | None = None
    outputs_uri: str | None = None
    failure: Failure | None = None


@dataclass(slots=True)
class NodeRow:
    """Progress of one node. `node_id` is unique in the execution, `spec_node_id` in its compiled workflow."""

    execution: ExecutionKey
    node_id: str
    seq: int
    spec_node_id: str
    parent_id: str | None
    parent_attempt: int | None
    node_name: str
    kind: int
    flags: int
    phase: int
    attempt: int
    system_failures: int
    created_at: float
    updated_at: float
    started_at: float | None = None
    attempt_started_at: float | None = None
    ended_at: float | None = None
    inputs: bytes | None = None
    input_uri: str | None = None
    outputs: bytes | None = None
    output_uri: str | None = None
    deck_uri: str | None = None
    """Empty: there is none any more."""
    details: bytes | None = None
    """Serialized flyteidl.event.NodeExecutionEvent with nothing but the metadata of the target."""
    memo: bytes | None = None
    """NodeRun.memo: the engine's own, in the form of the node's kind."""
    retry_at: float | None = None
    """When the next attempt may begin; None: the current one is under way."""
    cache_status: int = 0
    """flyteidl.core.CatalogCacheStatus."""
    inherited: str | None = None
    """What a node that runs again takes over from the execution that this one recovers, in the form of its kind."""
    failure: Failure | None = None


@dataclass(slots=True)
class TaskRow:
    """One attempt of a task node."""

    execution: ExecutionKey
    node_id: str
    attempt: int
    task_project: str
    task_domain: str
    task_name: str
    task_version: str
    task_type: str
    name: str
    phase: int
    phase_version: int
    created_at: float
    updated_at: float
    started_at: float | None = None
    ended_at: float | None = None
    input_uri: str | None = None
    output_uri: str | None = None
    failure: Failure | None = None
    details: bytes | None = None


class ElementRow(NamedTuple):
    """One attempt of an element of an array node; written when it starts and when it ends, not while it waits."""

    execution: ExecutionKey
    node_id: str
    """Of the array."""
    element: int
    attempt: int
    phase: int
    """TaskPhase; RETRYABLE_FAILED when another attempt follows."""
    system_failures: int
    """Of the element so far, this attempt included."""
    queued_at: float
    """When the element's turn came; the same for all its attempts."""
    started_at: float | None = None
    ended_at: float | None = None
    retry_at: float | None = None
    """With RETRYABLE_FAILED: when the next attempt begins; None: at once."""
    outputs: bytes | None = None
    """Serialized LiteralMap when it is small (ELEMENT_INLINE_BYTES_MAX), else `output_uri`."""
    output_uri: str | None = None
    deck_uri: str | None = None
    """Empty: there is none any more."""
    futures_uri: str | None = None
    """futures.pb of an attempt that has turned out to be dynamic."""
    details: bytes | None = None
    """Serialized flyteidl.admin.TaskExecutionClosure with logs and reasons."""
    cache_status: int = 0
    """flyteidl.core.CatalogCacheStatus."""
    failure: Failure | None = None

    @property
    def dynamic_id(self) -> str:
        """What a dynamic element is known by where nodes are known by their unique id."""
        return f"{self.node_id}/{self.element}"

    @property
    def is_dynamic(self) -> bool:
        """Whether a workflow that the attempt has made runs."""
        return self.phase == TaskPhase.RUNNING and self.futures_uri is not None


class LineageKind(IntEnum):
    """What a LineageRow says; the numbers are stored."""

    MADE = 1
    """The node made, as output `var`, a value that is known by `token` outside of its execution."""
    CACHED = 2
    """The node's outputs, or those of `run_length` elements of it, are those of a node of the execution that `token`
    names, as project:domain:name."""
    RECOVERED = 3
    """The node's outputs are, in whole or in part, those of a node of `source_execution`."""
    ARTIFACTS = 4
    """Outputs of the node (of the execution, where `node_id` is empty) are to become artifacts."""


class LineageRow(NamedTuple):
    """What ties a node to other executions and cannot be told from its row and the plan; written once."""

    kind: LineageKind
    execution: ExecutionKey
    node_id: str
    attempt: int = 0
    var: str | None = None
    token: str | None = None
    source_execution: ExecutionKey | None = None
    source_node_id: str | None = None
    first: int = -1
    """Element of the node; -1: it is no array."""
    run_length: int = 1
    source_first: int = -1
    """Element of the source's node, likewise."""


class Transition(NamedTuple):
    """One line of the append-only log; `node_id` None is the execution itself."""

    execution: ExecutionKey
    node_id: str | None
    attempt: int
    phase: int
    at: float


@dataclass(frozen=True, slots=True)
class ExecutionRecord:
    """An execution as the engine takes it up, new or after a crash."""

    execution: ExecutionKey
    project: str
    domain: str
    name: str
    shard: int
    workflow_id: int
    config: bytes
    """Serialized flyteidl.admin.WorkflowExecutionConfig: the effective settings."""
    inputs: bytes | None
    inputs_uri: str | None
    phase: int
    created_at: float
    started_at: float | None
    abort_cause: str | None
    """Set when somebody asked to terminate it (possibly to the empty string)."""
    task_resources: bytes | None = None
    """Serialized flyteidl.admin.TaskResourceAttributes: defaults and limits of its containers; None: none."""
    recovery: bytes | None = None
    """Serialized wingbeatidl.recovery.v1.Recovery: what it recovers; None: nothing."""
    nodes: tuple[NodeRow, ...] = ()
    """Everything written so far, in `seq` order; empty for a new execution."""
    launch_plan_id: int | None = None
    """Row id of the launch plan; None for a single task."""
    waiting: bool = False
    """It waits for its turn among the executions of its launch plan, and may not begin."""
    begin_by: float | None = None
    """When it ends if it has not begun by then."""
    deadline_s: float | None = None
    """How long after its begin it ends if it has not by itself."""
    priority: int = 0
    """Its attempts wait before those of its tenant's executions with a lower one."""
    elements: tuple[ElementRow, ...] = ()
    """The last attempt of each element of the arrays under way, in order of the array's id and the element."""
