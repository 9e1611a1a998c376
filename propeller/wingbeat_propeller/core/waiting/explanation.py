"""Why the nodes of an execution do not run: read off its state, nothing is changed.

`explain` walks from the nodes asked about along what each waits for, down to nodes that wait for no other: the root
causes. What differs between kinds of nodes is told by the kinds themselves (`Kind.explain`, `Kind.inside`). What only
the process knows (queues, the runtime, who else holds what) is added by `engine.explainer`; sentences are written by
whoever asks. A question about one node costs what lies between it and the root causes, and at most a look at each edge
of the plans that are open.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from wingbeat_propeller.core.state import ExecutionState, Frame
from wingbeat_propeller.core.waiting.answers import answer_of
from wingbeat_propeller.core.waiting.questions import find_places
from wingbeat_propeller.core.waiting.root_causes import Way, choose, walk_to_roots
from wingbeat_propeller.core.waiting.view import Place, View
from wingbeatidl.query.v1 import why_pb2

if TYPE_CHECKING:
    from wingbeat_propeller.core.kinds.base import Kind


class Explanation(NamedTuple):
    """The nodes of an answer: those asked about, then what they wait for, nearest first, then further root causes."""

    nodes: list[tuple[Place, why_pb2.NodeAnswer]]
    asked: int
    """How many of `nodes`, from the first, were asked about."""
    roots: list[str]
    """Ids of root causes among `nodes`."""
    root_count: int
    node_count: int
    """How many nodes were walked over; of the execution as a whole, how many have not finished."""


def explain(state: ExecutionState, kinds: "Sequence[Kind]", question: str, *, nodes_max: int) -> Explanation | None:
    """Why the nodes that `question` means do not run; empty: why the execution does not end.

    `question` is a unique id, an id in a workflow, or a name. None: no node of the state is meant by it.
    """
    view = View(state, kinds)
    if question:
        asked = find_places(view, question)
        if not asked:
            return None
        way = walk_to_roots(view, asked)
        node_count = way.node_count
    else:
        asked = []
        roots = [place for place in view.under_way() if not any(True for _ in view.waits_for(place))]
        way = Way([roots[:nodes_max]], roots[:nodes_max], len(roots), len(roots))
        node_count = sum(_unfinished(frame) for frame in state.frames.values())
    shown = choose(asked, way, nodes_max)
    answers = [(place, answer_of(view, place)) for place in shown]
    for place, answer in answers:
        answer.waits_for.extend(view.node_id(other) for other in view.waits_for_among(place, shown))
    return Explanation(
        nodes=answers,
        asked=sum(1 for place in asked if place in shown),
        roots=[view.node_id(root) for root in way.roots if root in shown],
        root_count=way.root_count,
        node_count=node_count,
    )


def _unfinished(frame: Frame) -> int:
    plan = frame.plan
    waits = plan.failure_node is not None and not frame.phases[plan.failure_node] and not frame.failing
    return frame.phases.count(0) - waits
