"""Rebuilding the state of an execution from its rows, after a crash or when a shard changes hands.

(What an execution takes over from another one that it recovers is another matter: `core.reuse`.)

Every step is written in one transaction, so the rows are those between two steps: a node that is ready but has no row
was held back, had its inputs prepared or was looked up in the cache, and is simply reached again; a frame that was
failing fails again, as far as it had not; one that has succeeded inside a node that goes on was being put into the
cache. Attempts that were under way come back as Launch commands; launching is idempotent by name, and the shell first
asks the runtime what it knows of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from wingbeat_propeller.core.effects import Abort, Effects
from wingbeat_propeller.core.kinds import KINDS
from wingbeat_propeller.core.kinds.branch import taken_arm, unreached_arms
from wingbeat_propeller.core.phases import NODE_FINAL, NODE_SUCCESS, ExecutionPhase, NodePhase
from wingbeat_propeller.core.plan import END, START, FailurePolicy, NodeKind, Plan
from wingbeat_propeller.core.reuse import Reuse, look_up
from wingbeat_propeller.core.rows import ElementRow, NodeRow
from wingbeat_propeller.core.state import ExecutionState, Frame, Stage
from wingbeat_propeller.core.values import Value, stored_values
from wingbeat_propeller.core.walk import Walk


class MalformedRowsError(ValueError):
    """The stored rows do not belong to the plan; the execution cannot be taken up."""


def rebuild(
    state: ExecutionState,
    rows: Iterable[NodeRow],
    inputs: dict[str, Value],
    *,
    elements: Iterable[ElementRow] = (),
    started_at: float | None,
    now: float,
    dynamic_plans: Mapping[tuple[str, int], Plan] | None = None,
    dynamic_reuses: Mapping[tuple[str, int], Reuse] | None = None,
) -> Effects:
    """Bring a fresh `state` to where `rows` (in `seq` order) say the execution was, and go on from there.

    `inputs` are the execution's, `elements` the last attempts of the elements of arrays, `dynamic_plans` the workflows
    that dynamic tasks under way have made, by unique node id (ElementRow.dynamic_id for elements) and attempt, and
    `dynamic_reuses` what these may take over from an execution that is recovered. The effects hold the launches of
    attempts under way, their timers, and whatever is ready now. Raises MalformedRowsError.
    """
    walk = Walk(state, now, KINDS, dynamic_plans)
    by_array: defaultdict[str, list[ElementRow]] = defaultdict(list)
    for element in elements:
        by_array[element.node_id].append(element)
    walk.stored_elements = by_array
    state.phase = ExecutionPhase.RUNNING
    state.started_at = started_at
    frame = state.open_frame(state.plan, parent=None)
    frame.outputs[START] = inputs
    places: dict[tuple[str | None, int], Frame] = {(None, 0): frame}
    indexes: dict[int, dict[str, int]] = {}
    unstored: dict[int, dict[int, bytes]] = {}
    done: dict[int, NodeRow] = {}
    failed_at: dict[int, float] = {}
    for row in rows:
        state.next_seq = max(state.next_seq, row.seq + 1)
        found = places.get((row.parent_id, row.parent_attempt or 0))
        if found is None:
            continue  # inside an attempt that is over
        node = _index(indexes, found).get(row.spec_node_id)
        if node is None:
            raise MalformedRowsError(f"node '{row.spec_node_id}' is not in workflow '{found.plan.name}'")
        if row.phase in NODE_FINAL:
            _restore_final(found, node, row, failed_at)
            if node == END and row.phase in NODE_SUCCESS:
                done[found.number] = row
        else:
            inner = _restore_active(walk, found, node, row)
            if isinstance(inner, Frame):
                places[row.node_id, row.attempt] = inner
            elif inner is not None:
                places.update({(each.parent_id, each.parent_attempt): each for each in inner})
            if row.inputs is not None:
                unstored.setdefault(found.number, {})[node] = row.inputs
    restored = list(state.frames.values())
    for each in restored:
        made = None if each.parent_id is None else (dynamic_reuses or {}).get((each.parent_id, each.parent_attempt))
        look_up(state, each, made)
        _restore_branches(each)
        _restore_counts(each)
    for each in restored:
        if state.frames.get(each.number) is each:
            _resume(walk, each, unstored.get(each.number, {}))
            if (end := done.get(each.number)) is not None:  # what it came to was being put into the cache
                values = stored_values(end.outputs, end.output_uri, each.plan.output_names)
                walk.frame_succeeded(each, values, end.outputs, end.output_uri)
    walk.deadline()
    walk.drain()
    _withdraw_aborted(walk.effects)
    return walk.effects


def _withdraw_aborted(effects: Effects) -> None:
    """What became ready may have failed at once, and ended what was to be adopted: then only the abort counts."""
    aborted = {command.name for command in effects.commands if isinstance(command, Abort)}
    if aborted:
        effects.adopt = [launch for launch in effects.adopt if launch.name not in aborted]


def _index(indexes: dict[int, dict[str, int]], frame: Frame) -> dict[str, int]:
    known = indexes.get(id(frame.plan))
    if known is None:
        known = indexes[id(frame.plan)] = {node_id: position for position, node_id in enumerate(frame.plan.ids)}
    return known


def _restore_final(frame: Frame, node: int, row: NodeRow, failed_at: dict[int, float]) -> None:
    frame.phases[node] = row.phase
    plan = frame.plan
    if row.phase in NODE_SUCCESS:
        if node != START:
            frame.outputs[node] = stored_values(row.outputs, row.output_uri, plan.node_output_names(node))
        elif row.outputs is not None:  # what an array has picked for this frame
            frame.outputs.setdefault(START, {}).update(stored_values(row.outputs, None, ()))
    elif row.phase in (NodePhase.FAILED, NodePhase.TIMED_OUT) and row.failure is not None and plan.owners[node] < 0:
        # The first failure counts, and rows come in the order in which nodes were met.
        at = row.ended_at or row.updated_at
        if frame.failure is None or at < failed_at[frame.number]:
            frame.failure, frame.failed_node, failed_at[frame.number] = row.failure, row.node_id, at


def _restore_active(walk: Walk, frame: Frame, node: int, row: NodeRow) -> Frame | Sequence[Frame] | None:
    run = frame.make_run(node, row.seq, row.created_at)
    run.stage = Stage.ACTIVE
    run.phase = row.phase
    run.attempt = row.attempt
    run.system_failures = row.system_failures
    run.started_at = row.started_at
    run.attempt_started_at = row.attempt_started_at
    run.inherited = row.inherited
    if row.retry_at is not None and row.attempt_started_at is None:
        # A clock that was set back makes no pause longer than it may be.
        run.retry_at = min(row.retry_at, walk.now + walk.state.settings.retry.backoff_s_max)
    frame.runs[node] = run
    return walk.kinds[frame.plan.kinds[node]].restore(walk, frame, run, node, row)


def _restore_branches(frame: Frame) -> None:
    """Arms not taken have no rows: end them again, and tell the arm that was taken of the decision."""
    plan = frame.plan
    for node, kind in enumerate(plan.kinds):
        if kind is not NodeKind.BRANCH:
            continue
        run = frame.runs.get(node)
        if run is not None:
            arm = taken_arm(plan.branch(node), run.memo)
            assert arm is not None, "a branch under way has decided"
            frame.pending[arm] -= 1
            discarded = unreached_arms(frame, node, keep=arm)
        elif frame.phases[node]:
            discarded = unreached_arms(frame, node, keep=-1)
        else:
            continue
        for arm in discarded:
            frame.phases[arm] = NodePhase.SKIPPED


def _restore_counts(frame: Frame) -> None:
    """Recompute what steps keep incrementally: pending upstreams, taint, freshness, which outputs are still needed."""
    plan = frame.plan
    for node in range(plan.size):
        phase = frame.phases[node]
        reached = phase in NODE_FINAL
        if reached:
            if frame.reuse is not None and node != START and phase != NodePhase.RECOVERED:
                frame.fresh.update(plan.successors[node])
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


def _resume(walk: Walk, frame: Frame, inputs: Mapping[int, bytes]) -> None:
    """Go on with a frame: adopt what was under way, reach what is ready.

    `inputs` are those of nodes under way that are not known to stand in the blob store yet.
    """
    plan = frame.plan
    for node, run in list(frame.runs.items()):
        walk.kinds[plan.kinds[node]].resume(walk, frame, run, node, inputs.get(node))
    if frame.failure is not None and (
        walk.state.policy is FailurePolicy.FAIL_IMMEDIATELY or frame.phases[END] or plan.failure_node in frame.runs
    ):
        if plan.failure_node not in frame.runs:
            walk.frame_failing(frame)
            return
        frame.failing = True
    walk.work.extend(
        (frame, node)
        for node, pending in enumerate(frame.pending)
        if not pending and not frame.phases[node] and node not in frame.runs and node != START
    )
