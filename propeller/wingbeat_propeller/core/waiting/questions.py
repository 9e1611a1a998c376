"""Which nodes of a state a question means."""

import re

from wingbeat_propeller.core.element_ids import parse_element_id, stored_parent_id
from wingbeat_propeller.core.plan import NodeKind, Plan
from wingbeat_propeller.core.state import Frame
from wingbeat_propeller.core.waiting.view import Place, View

_HASHED_ID = re.compile(r"^f[a-z1-6]{7}([a-z1-6]{6})?$")
"""See `ids.fixed_length`."""


def find_places(view: View, question: str) -> list[Place]:
    """The nodes meant: by unique id, else by id in their workflow, else by name. A node inside a sub-workflow that has
    not begun is not there yet: the node of that sub-workflow stands for it. An element of an array is told by the nodes
    inside it, or by its array."""
    if places := _of_element(view, question):
        return places
    by_spec_id: list[Place] = []
    by_name: list[Place] = []
    within: list[Place] = []
    for frame in view.state.frames.values():
        plan = frame.plan
        node = _by_unique_id(view, frame, question)
        if node is not None:
            return [Place(frame.number, node)]
        if question in plan.ids:
            by_spec_id.append(Place(frame.number, plan.ids.index(question)))
        if question in plan.names:
            by_name += [Place(frame.number, node) for node, name in enumerate(plan.names) if name == question]
        for node, target in enumerate(plan.targets):
            run = frame.runs.get(node)
            has_begun = frame.phases[node] or run is not None
            if isinstance(target, Plan) and not has_begun and _is_in(target, question):
                within.append(Place(frame.number, node))
    return by_spec_id or by_name or within


def _of_element(view: View, question: str) -> list[Place]:
    """Nodes inside an element of an array, else its array while that has not ended; none if no element is meant."""
    stored_id = stored_parent_id(question)
    element = parse_element_id(question)
    array: list[Place] = []
    for frame in view.state.frames.values():
        if frame.element >= 0 and frame.parent_id == stored_id and (inside := list(view.live_in(frame))):
            return inside
        node = None if element is None else _by_unique_id(view, frame, element.array_id)
        if element is None or node is None or frame.plan.kinds[node] is not NodeKind.ARRAY or frame.phases[node]:
            continue
        run = frame.runs.get(node)
        if run is None or run.array is None or element.element < run.array.size:
            array = [Place(frame.number, node)]
    return array


def _by_unique_id(view: View, frame: Frame, question: str) -> int | None:
    plan = frame.plan
    if frame.parent is None and question in plan.ids:
        node = plan.ids.index(question)
        if plan.owners[node] < 0:
            return node
    # Other ids are those of a parent and their own, joined, or a hash of that; arms have their branch's in front.
    has_parents = max(plan.owners) >= 0 if frame.parent is None else question.startswith(f"{frame.parent_id}-")
    if not has_parents and not _HASHED_ID.match(question):
        return None
    return next((node for node in range(plan.size) if view.node_id(Place(frame.number, node)) == question), None)


def _is_in(plan: Plan, question: str) -> bool:
    return (
        question in plan.ids
        or question in plan.names
        or any(isinstance(target, Plan) and _is_in(target, question) for target in plan.targets)
    )
