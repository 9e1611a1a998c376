"""Rebuilding the state of an execution from its rows, after a crash or when a shard changes hands.

Every step is written in one transaction, so the rows are those between two steps: a node that is ready but has no row
was held back or had its inputs prepared, and is simply reached again. Attempts that were under way come back as Launch
commands; launching is idempotent by name, and the shell first asks the runtime what it knows of them.
"""

from collections.abc import Iterable

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.phases import NODE_FINAL, NODE_SUCCESS, ExecutionPhase, NodePhase
from wingbeat_propeller.core.plan import START, NodeKind
from wingbeat_propeller.core.rows import NodeRow
from wingbeat_propeller.core.state import ExecutionState, Frame, NodeRun, Stage
from wingbeat_propeller.core.step import Step
from wingbeat_propeller.core.values import Ref, Value, split_literal_map


class MalformedRowsError(ValueError):
    """The stored rows do not belong to the plan; the execution cannot be taken up."""


def rebuild(
    state: ExecutionState, rows: Iterable[NodeRow], inputs: dict[str, Value], *, started_at: float | None, now: float
) -> Effects:
    """Bring a fresh `state` to where `rows` (in `seq` order) say the execution was, and go on from there.

    `inputs` are the execution's. The effects hold the launches of attempts under way, their timers, and whatever is
    ready now. Raises MalformedRowsError.
    """
    step = Step(state, now)
    state.phase = ExecutionPhase.RUNNING
    state.started_at = started_at
    frame = state.open_frame(state.plan, parent=None)
    frame.outputs[START] = inputs
    places: dict[tuple[str | None, int], Frame] = {(None, 0): frame}
    indexes: dict[int, dict[str, int]] = {}
    unstored: dict[int, dict[int, bytes]] = {}
    for row in rows:
        state.next_seq = max(state.next_seq, row.seq + 1)
        found = places.get((row.parent_id, row.parent_attempt or 0))
        if found is None:
            continue  # inside an attempt that is over
        node = _index(indexes, found).get(row.spec_node_id)
        if node is None:
            raise MalformedRowsError(f"node '{row.spec_node_id}' is not in workflow '{found.plan.name}'")
        if row.phase in NODE_FINAL:
            _restore_final(found, node, row)
        else:
            _restore_active(state, found, node, row, places)
            if row.inputs is not None:
                unstored.setdefault(found.number, {})[node] = row.inputs
    for restored in list(state.frames.values()):
        _restore_counts(restored)
    for restored in list(state.frames.values()):
        step.resume(restored, unstored.get(restored.number, {}))
    step.drain()
    return step.effects


def _index(indexes: dict[int, dict[str, int]], frame: Frame) -> dict[str, int]:
    known = indexes.get(id(frame.plan))
    if known is None:
        known = indexes[id(frame.plan)] = {node_id: position for position, node_id in enumerate(frame.plan.ids)}
    return known


def _restore_final(frame: Frame, node: int, row: NodeRow) -> None:
    frame.phases[node] = row.phase
    if row.phase in NODE_SUCCESS:
        if node != START:
            frame.outputs[node] = _outputs(frame, node, row)
    elif row.phase != NodePhase.SKIPPED:
        frame.failure = frame.failure or row.failure


def _outputs(frame: Frame, node: int, row: NodeRow) -> dict[str, Value]:
    if row.outputs is not None:
        return dict(split_literal_map(row.outputs))
    if row.output_uri is not None:
        return {var: Ref(row.output_uri, var) for var in frame.plan.node_output_names(node)}
    return {}


def _restore_active(
    state: ExecutionState, frame: Frame, node: int, row: NodeRow, places: dict[tuple[str | None, int], Frame]
) -> None:
    run = NodeRun(row.node_id, row.seq, frame.data_dir(node), row.created_at)
    run.stage = Stage.ACTIVE
    run.phase = row.phase
    run.attempt = row.attempt
    run.system_failures = row.system_failures
    run.started_at = row.started_at
    run.attempt_started_at = row.attempt_started_at
    frame.runs[node] = run
    kind = frame.plan.kinds[node]
    if kind is NodeKind.TASK:
        state.active += 1
        if row.attempt_started_at is not None:
            run.task_created_at = run.task_started_at = row.attempt_started_at
    elif kind is NodeKind.WORKFLOW:
        sub_plan = frame.plan.sub_plans[node]
        assert sub_plan is not None, "the plan of a sub-workflow node has its plan"
        child = state.open_frame(sub_plan, parent=frame, parent_node=node)
        child.outputs[START] = _inputs(row, sub_plan.input_names)
        places[row.node_id, row.attempt] = child


def _inputs(row: NodeRow, names: tuple[str, ...]) -> dict[str, Value]:
    if row.inputs is not None:
        return dict(split_literal_map(row.inputs))
    if row.input_uri is not None:
        return {var: Ref(row.input_uri, var) for var in names}
    return {}


def _restore_counts(frame: Frame) -> None:
    """Recompute what steps keep incrementally: pending upstreams, taint, and which outputs are still needed."""
    plan = frame.plan
    for node in range(plan.size):
        phase = frame.phases[node]
        reached = phase in NODE_FINAL
        if reached:
            for successor in plan.successors[node]:
                frame.pending[successor] -= 1
                if phase not in NODE_SUCCESS:
                    frame.tainted.add(successor)
        if reached or node in frame.runs:
            for source in plan.bindings[node].sources:
                frame.uses[source] -= 1
    for source in list(frame.outputs):
        if not frame.uses[source]:
            del frame.outputs[source]
