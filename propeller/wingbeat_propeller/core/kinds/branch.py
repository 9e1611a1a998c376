"""Branch nodes: the first case that holds decides which one of the node's arms runs.

Arms are nodes of the same plan that the branch owns; each waits for what it reads and for the decision. Arms not taken
end silently, without a row. The branch ends as its arm does, with the arm's outputs or error. The decision is kept in
the row, so it is made once.
"""

from collections.abc import Iterable

from wingbeat_propeller.core.conditions import MalformedConditionError, holds
from wingbeat_propeller.core.kinds.base import Kind
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import BranchSpec, NodeKind
from wingbeat_propeller.core.rows import NodeRow
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.values import Value
from wingbeat_propeller.core.waiting.view import Place, View
from wingbeat_propeller.core.walk import Walk


class BranchKind(Kind):
    """`memo` is the position of the arm taken in `BranchSpec.arms`, in decimal digits."""

    def enter(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, values: dict[str, Value], inputs: bytes | None
    ) -> None:
        """Decide, and let the chosen arm begin once its inputs are there."""
        run.phase = NodePhase.RUNNING
        run.started_at = run.attempt_started_at = walk.now
        input_uri = None if inputs is not None else f"{run.data_dir}/inputs.pb"
        spec = frame.plan.branch(node)
        decision = decide(spec, values)
        if isinstance(decision, int):
            run.memo = b"%d" % spec.arms.index(decision)
        walk.node_row(frame, run, node, inputs=inputs, input_uri=input_uri)
        if isinstance(decision, Failure):
            walk.fail(frame, run, node, decision)
            return
        walk.timers(frame, run, node)
        _discard_arms(walk, frame, node, keep=decision)
        frame.pending[decision] -= 1
        if not frame.pending[decision]:
            walk.work.append((frame, decision))

    def inside(self, view: View, frame: Frame, run: NodeRun, node: int) -> Iterable[Place]:
        """The arm taken, which may be waiting for what it reads."""
        arm = taken_arm(frame.plan.branch(node), run.memo)
        return () if arm is None or frame.phases[arm] else (Place(frame.number, arm),)

    def stop(self, walk: Walk, frame: Frame, run: NodeRun, node: int, reason: str) -> None:
        """Abort the arm under way."""
        for arm in frame.plan.branch(node).arms:
            inner = frame.runs.get(arm)
            if inner is not None:
                walk.abort(frame, inner, arm, reason)

    def restore(self, walk: Walk, frame: Frame, run: NodeRun, node: int, row: NodeRow) -> Frame:
        """Rows of the arm belong to the branch's own frame."""
        run.memo = row.memo
        return frame

    def resume(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """Only the deadlines: the arm resumes by itself."""
        walk.timers(frame, run, node)

    def close(self, walk: Walk, frame: Frame, node: int) -> None:
        """No arm will run any more."""
        _discard_arms(walk, frame, node, keep=-1)


def decide(spec: BranchSpec, values: dict[str, Value]) -> int | Failure:
    """The arm to run, or why there is none."""
    try:
        for condition, arm in spec.cases:
            if holds(condition, values):
                return arm
    except MalformedConditionError as error:
        return Failure(ErrorKind.USER, "MalformedBranchUserError", f"the condition cannot be evaluated: {error}")
    if spec.otherwise is not None:
        return spec.otherwise
    if spec.error is not None:
        return Failure(ErrorKind.USER, "UserProvidedError", spec.error)
    return Failure(ErrorKind.USER, "MalformedBranchUserError", "no case holds, and there is nothing else to do")


def taken_arm(spec: BranchSpec, memo: bytes | None) -> int | None:
    """The arm that a branch under way has taken, from what its row remembers."""
    return None if memo is None else spec.arms[int(memo)]


def unreached_arms(frame: Frame, node: int, *, keep: int) -> list[int]:
    """The arms of a branch that were not reached, but for `keep`, and those of branches among them."""
    plan = frame.plan
    pending = [arm for arm in plan.branch(node).arms if arm != keep]
    found: list[int] = []
    while pending:
        arm = pending.pop()
        if frame.phases[arm] or arm in frame.runs:
            continue
        found.append(arm)
        if plan.kinds[arm] is NodeKind.BRANCH:
            pending.extend(plan.branch(arm).arms)
    return found


def _discard_arms(walk: Walk, frame: Frame, node: int, *, keep: int) -> None:
    for arm in unreached_arms(frame, node, keep=keep):
        frame.phases[arm] = NodePhase.SKIPPED
        walk.drop_sources(frame, arm)
