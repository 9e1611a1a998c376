"""What an execution may take over from the one that it recovers, its *source*.

(To rebuild an execution after a crash is another matter: `core.recovery`.)

A node that is ready is first looked up in the source, under the id that it has there: the walk sends a Recall before
anything else of the node happens. One that succeeded there ends RECOVERED with the inputs and outputs of then, and
nothing of it runs; of one that did not, what its kind can go on from is handed on. Nothing is reused below anything
that ran anew: a node with an upstream that ran in this execution is *fresh*, and neither it nor what is inside it is
looked up. So the rule holds whatever the source looked like, even if it still ran while it was read.

Where the source ran another version of the workflow, a Reuse also says which nodes mean something else in the new one.
Ids are deterministic, so nodes match at any depth; which ones were taken over stands in the rows, and a node that was
asked about in vain has no row yet and is asked about again after a crash.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from flyteidl.event import event_pb2

from wingbeat_propeller.core.ids import unique_node_id
from wingbeat_propeller.core.phases import NODE_SUCCESS, NodePhase
from wingbeat_propeller.core.plan import START, NodeKind, Plan
from wingbeat_propeller.core.rows import FLAG_DYNAMIC, NodeRow

if TYPE_CHECKING:
    from wingbeat_propeller.core.state import ExecutionState, Frame


@dataclass(frozen=True, slots=True, eq=False)
class Reuse:
    """Which nodes of one plan may be taken over, as far as their definition says; by index."""

    changed: frozenset[int] = frozenset()
    """These do something else than their namesakes in the source: they run."""
    rebound: frozenset[int] = frozenset()
    """These get their inputs from elsewhere: they run, and nothing inside them is reused."""
    inner: "Mapping[int, Reuse]" = field(default_factory=lambda: MappingProxyType({}))
    """Sub-workflow nodes inside of which something has changed."""


ALL: Final = Reuse()
"""The source ran the same code."""

_ASKED_THOUGH_CHANGED: Final = frozenset({NodeKind.LAUNCH_PLAN, NodeKind.TASK})
"""Kinds that may go on from something that the source left although they are not what they were: an execution that they
launched, a workflow that a dynamic task made."""


def question(frame: "Frame", node: int) -> str | None:
    """The node's unique id in the source if it is to be looked up there, else None."""
    reuse = frame.reuse
    if reuse is None or node == START or node in frame.recalled or not _has_same_inputs(frame, reuse, node):
        return None
    if node in reuse.changed and frame.plan.kinds[node] not in _ASKED_THOUGH_CHANGED:
        return None
    return source_id(frame, node)


def look_up(state: "ExecutionState", frame: "Frame", made: Reuse | None = None) -> None:
    """Settle what may be taken over in a frame whose parent is settled: what lies below `state.reuse`, and nothing
    inside a node that gets other inputs. `made` is for the workflow that a task has made."""
    parent, node = frame.parent, frame.parent_node
    if parent is None:
        frame.reuse = state.reuse
    elif parent.reuse is not None and _has_same_inputs(parent, parent.reuse, node):
        kind, inherited = parent.plan.kinds[node], parent.runs[node].inherited
        if kind is NodeKind.WORKFLOW:
            frame.reuse = parent.reuse.inner.get(node, ALL)
            frame.source = (source_id(parent, node), 0)
        elif kind is NodeKind.ARRAY:
            if isinstance(parent.plan.array(node).element, Plan) and inherited_elements(inherited) is not None:
                frame.reuse = ALL
                frame.source = (unique_node_id(source_id(parent, node), 0, f"n{frame.element}", frame.id_bits), 0)
        elif made is not None and (workflow := inherited_workflow(inherited)) is not None:
            frame.reuse = made
            frame.source = (source_id(parent, node), workflow.attempt)


def futures_uri_of(row: NodeRow) -> str:
    """Where the futures.pb of a dynamic node is; empty for a node that is not dynamic."""
    details = event_pb2.NodeExecutionEvent.FromString(row.details or b"")
    return details.task_node_metadata.dynamic_workflow.dynamic_job_spec_uri if row.flags & FLAG_DYNAMIC else ""


def workflow_of(row: NodeRow) -> str | None:
    """What a task inherits from a namesake that was dynamic; None: it was not."""
    futures_uri = futures_uri_of(row)
    return f"{row.attempt}:{futures_uri}" if futures_uri else None


class InheritedWorkflow(NamedTuple):
    """The workflow that a task had made in the source: in which attempt, and where its futures.pb is."""

    attempt: int
    futures_uri: str


def inherited_workflow(inherited: str | None) -> InheritedWorkflow | None:
    """What `NodeRun.inherited` of a task says, if it is that; else it is a folder with checkpoints."""
    attempt, colon, uri = (inherited or "").partition(":")
    return InheritedWorkflow(int(attempt), uri) if colon and attempt.isdigit() else None


class InheritedElements(NamedTuple):
    """The elements that an array had in the source: its unique id there, and whether those that succeeded are known,
    which all have rows then."""

    array_id: str
    are_known: bool = False

    def __str__(self) -> str:
        """As it stands in `NodeRun.inherited`."""
        return f"{_ELEMENTS}{self.array_id}{_KNOWN if self.are_known else ''}"


_ELEMENTS: Final = "elements of "
_KNOWN: Final = ", known"


def inherited_elements(inherited: str | None) -> InheritedElements | None:
    """What `NodeRun.inherited` of an array says."""
    if inherited is None or not inherited.startswith(_ELEMENTS):
        return None
    text = inherited.removeprefix(_ELEMENTS)
    return InheritedElements(text.removesuffix(_KNOWN), text.endswith(_KNOWN))


def inherited_checkpoint(inherited: str | None) -> str:
    """The folder with checkpoints that `NodeRun.inherited` of a task names, empty when it names none."""
    is_other = inherited_workflow(inherited) is not None or inherited_elements(inherited) is not None
    return "" if inherited is None or is_other else inherited


def fits(frame: "Frame", node: int, row: NodeRow | None) -> bool:
    """Whether `row` is about this node, and tells of something that happened."""
    plan = frame.plan
    return (
        row is not None
        and row.spec_node_id == plan.ids[node]
        and row.kind == plan.kinds[node]
        and row.phase not in (NodePhase.UNDEFINED, NodePhase.SKIPPED)
    )


def may_take_over(frame: "Frame", node: int, row: NodeRow) -> bool:
    """Whether the node ends with what its namesake in the source came to."""
    assert frame.reuse is not None, "only those that may be reused are looked up"
    return row.phase in NODE_SUCCESS and node not in frame.reuse.changed


def source_id(frame: "Frame", node: int) -> str:
    """Unique id in the source of a node of a frame that has one."""
    plan = frame.plan
    owner = plan.owners[node]
    if owner >= 0:
        return unique_node_id(source_id(frame, owner), 0, plan.ids[node], frame.id_bits)
    if frame.source is None:
        return unique_node_id(None, 0, plan.ids[node])
    return unique_node_id(*frame.source, plan.ids[node], frame.id_bits)


def _has_same_inputs(frame: "Frame", reuse: Reuse, node: int) -> bool:
    """Whether all that leads to the node was taken over; a failure node has this execution's failure to deal with."""
    while True:
        if node in frame.fresh or node in reuse.rebound or node == frame.plan.failure_node:
            return False
        owner = frame.plan.owners[node]
        if owner < 0:
            return True
        node = owner
