"""How nodes and frames move, whatever their kind: readiness, inputs, ends, failure policies, failure nodes.

`step` and `recovery` drive a Walk through one event; the kinds (`core.kinds`) are called back for what differs between
them. A walk costs what changed: a finished node touches its successors and nothing else. What becomes ready goes to a
work list, so that neither chains nor wide graphs recurse; only nesting of frames does.

A frame that cannot succeed any more is *failing*: what is under way in it is aborted, its failure node runs if it has
one, then the frame has failed and fails the node around it. Rules come from Flyte v1's behaviour; its failure policy is
that of the top workflow, at every depth.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from wingbeat_propeller.core.bindings import BindingResolutionError, NeedsContentError, evaluate
from wingbeat_propeller.core.effects import NodeRef, Prepare, Recall, SetTimer
from wingbeat_propeller.core.events import Recalled, TimerKind
from wingbeat_propeller.core.failure_input import with_error_input
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase
from wingbeat_propeller.core.plan import END, START, ArraySpec, FailurePolicy, Plan, TaskSpec
from wingbeat_propeller.core.recording import Recording
from wingbeat_propeller.core.reuse import Reuse, fits, look_up, may_take_over, question
from wingbeat_propeller.core.rows import ElementRow, LineageKind, LineageRow, NodeRow
from wingbeat_propeller.core.state import ExecutionState, Frame, NodeRun, Stage
from wingbeat_propeller.core.values import (
    ELEMENT_INLINE_BYTES_MAX,
    INLINE_BYTES_MAX,
    Value,
    build_literal_map,
    inline_size,
    stored_values,
)

if TYPE_CHECKING:
    from wingbeat_propeller.core.kinds.base import Kind

AUTO_ABORT = "Some node execution failed, auto-abort."
STEP_NODES_MAX = 1_000
"""Nodes that one step starts or skips."""
USER_ABORT = "Workflow aborted."
NO_ELEMENTS: Final[Mapping[str, Sequence[ElementRow]]] = MappingProxyType({})


class Walk(Recording):
    """One application of an event to a state. `kinds` has one entry for each NodeKind."""

    __slots__ = ("dynamic_plans", "elements_begun", "kinds", "stored_elements", "work")

    def __init__(
        self,
        state: ExecutionState,
        now: float,
        kinds: "Sequence[Kind]",
        dynamic_plans: Mapping[tuple[str, int], Plan] | None = None,
    ) -> None:
        super().__init__(state, now)
        self.kinds = kinds
        self.dynamic_plans = dynamic_plans or {}
        """While rows are restored: workflows made by dynamic tasks, by unique node id and attempt."""
        self.work = state.ready
        """Nodes whose upstreams are all final and that have not been looked at."""
        self.elements_begun = 0
        """Elements of arrays that began in this step."""
        self.stored_elements: Mapping[str, Sequence[ElementRow]] = NO_ELEMENTS
        """After a restart: rows of the elements of arrays under way, by the array's unique id."""

    def drain(self) -> None:
        """Start or skip the nodes on the work list, and those that become ready meanwhile.

        No more than STEP_NODES_MAX, so that a step is short and its rows fit one commit; the rest waits in the state
        for the next event, which the effects ask for. After a crash it is found again like all that is ready.
        """
        work = self.work
        left = STEP_NODES_MAX
        while work and not self.state.ended:
            if not left:
                self.effects.unfinished = True
                return
            left -= 1
            frame, node = work.popleft()
            if self._may_reach(frame, node):
                self._reach(frame, node)
            else:
                self.offer_slot()  # it may have been called in for a slot that is free now

    # ---- a node's way ----

    def _may_reach(self, frame: Frame, node: int) -> bool:
        if self.state.frames.get(frame.number) is not frame or frame.phases[node]:
            return False  # a node that waited for a slot a second time may have ended meanwhile
        if not frame.failing:
            return True
        plan = frame.plan
        while plan.owners[node] >= 0:  # a failure node may be a branch
            node = plan.owners[node]
        return node == plan.failure_node

    def _reach(self, frame: Frame, node: int) -> None:
        if node in frame.runs:  # it had given its slot back
            self.kinds[frame.plan.kinds[node]].called_in(self, frame, frame.runs[node], node)
            return
        if node in frame.tainted:
            self._skip(frame, node)
            return
        if frame.reuse is not None and (node_id := question(frame, node)) is not None:
            run = frame.runs[node] = frame.make_run(node, 0, self.now)
            run.stage = Stage.ASKING
            is_changed = node in frame.reuse.changed
            recall = Recall(ref_of(frame, run, node), node_id, f"{run.data_dir}/inputs.pb", is_changed)
            self.effects.reads.append(recall)
            return
        state = self.state
        plan = frame.plan
        counts = self.kinds[plan.kinds[node]].counts and plan.is_counted
        if counts and not self.take_slot(frame, node):
            return
        run = frame.make_run(node, state.take_seq(), self.now)
        run.counted = counts
        run.inherited = frame.recalled.pop(node, None)
        frame.runs[node] = run
        program = plan.bindings[node]
        if frame.failing and frame.failure is not None:
            program = with_error_input(program, frame.failure, frame.failed_node)
        try:
            values = evaluate(program, frame.outputs)
        except BindingResolutionError as error:
            self.drop_sources(frame, node)
            self.fail(frame, run, node, Failure(ErrorKind.SYSTEM, "BindingResolutionFailure", str(error)))
            return
        except NeedsContentError:
            pass
        else:
            size = inline_size(values)
            if size is not None and size <= _inline_max(frame, node):
                self.enter(frame, run, node, values, stored=False)
                return
        sources = {source: frame.outputs[source] for source in program.sources}
        self.effects.reads.append(Prepare(ref_of(frame, run, node), program, sources, _values_uri(run, node)))

    def recalled(self, frame: Frame, run: NodeRun, node: int, found: Recalled) -> None:
        """The node was looked up in the execution that is recovered: take it over, or go on as if nobody had asked."""
        kind = self.kinds[frame.plan.kinds[node]]
        row = found.row if found.row is not None and fits(frame, node, found.row) else None
        if row is not None and may_take_over(frame, node, row):
            self._take_over(frame, run, node, row)
            return
        plan = found.dynamic_plan
        if row is not None and plan is not None and kind.go_on(self, frame, run, node, row, plan, found.dynamic_reuse):
            return
        del frame.runs[node]
        frame.recalled[node] = None if row is None else kind.inherits(row, found.checkpoint)
        self.work.append((frame, node))

    def activate(self, frame: Frame, run: NodeRun, node: int) -> None:
        """A node that was looked up goes on without inputs of its own."""
        self.drop_sources(frame, node)
        run.stage = Stage.ACTIVE
        run.seq = self.state.take_seq()

    def _take_over(self, frame: Frame, run: NodeRun, node: int, source: NodeRow) -> None:
        plan = frame.plan
        self.drop_sources(frame, node)
        self.kinds[plan.kinds[node]].close(self, frame, node)
        run.seq = self.state.take_seq()
        run.phase = NodePhase.RECOVERED
        run.started_at = self.now
        row = self.node_row(frame, run, node, inputs=source.inputs, input_uri=source.input_uri, ended=True)
        row.flags, row.details, row.cache_status = source.flags, source.details, source.cache_status
        row.outputs, row.output_uri, row.deck_uri = source.outputs, source.output_uri, source.deck_uri
        self.recovered_from(run.node_id, source.execution, source.node_id)
        values = stored_values(source.outputs, source.output_uri, plan.node_output_names(node))
        self._ended_well(frame, node, NodePhase.RECOVERED, values, source.outputs, source.output_uri)

    def enter(self, frame: Frame, run: NodeRun, node: int, values: dict[str, Value], *, stored: bool) -> None:
        """The inputs are there: the node begins, in the manner of its kind."""
        self.drop_sources(frame, node)
        run.stage = Stage.ACTIVE
        inputs = None if stored else serialized(values)
        self.kinds[frame.plan.kinds[node]].enter(self, frame, run, node, values, inputs)

    def succeed(
        self,
        frame: Frame,
        run: NodeRun,
        node: int,
        values: dict[str, Value],
        *,
        outputs: bytes | None = None,
        output_uri: str | None = None,
        deck_uri: str | None = None,
        phase: NodePhase = NodePhase.SUCCEEDED,
        inputs: bytes | None = None,
        input_uri: str | None = None,
    ) -> None:
        """End a node well. `outputs` is the same as `values`, serialized, when it fits a row; else `output_uri`. Inputs
        are given for a node that has no row yet."""
        self.release(run)
        run.phase = phase
        row = self.node_row(frame, run, node, inputs=inputs, input_uri=input_uri, ended=True)
        row.outputs = outputs
        row.output_uri = output_uri
        row.deck_uri = deck_uri
        target = frame.plan.targets[node]
        if (type(target) is TaskSpec or type(target) is ArraySpec) and target.makes_artifacts:
            effects = self.effects
            effects.lineage.append(LineageRow(LineageKind.ARTIFACTS, effects.execution, run.node_id, run.attempt))
        self._ended_well(frame, node, phase, values, outputs, output_uri)

    def _ended_well(
        self,
        frame: Frame,
        node: int,
        phase: NodePhase,
        values: dict[str, Value],
        outputs: bytes | None,
        output_uri: str | None,
    ) -> None:
        frame.runs.pop(node, None)
        frame.phases[node] = phase
        if frame.uses[node]:
            frame.outputs[node] = values
        plan = frame.plan
        if node == END:
            self.frame_succeeded(frame, values, outputs, output_uri)
        elif node == plan.failure_node:
            assert frame.failure is not None, "a failure node runs after a failure"
            self._frame_failed(frame, frame.failure)
        elif plan.owners[node] >= 0:
            branch = plan.owners[node]
            run = frame.runs[branch]  # which has decided as it had before, if its arm was taken over
            self.succeed(frame, run, branch, values, outputs=outputs, output_uri=output_uri, phase=phase)
        else:
            self._advance(frame, node)

    def fail(
        self,
        frame: Frame,
        run: NodeRun,
        node: int,
        failure: Failure,
        phase: NodePhase = NodePhase.FAILED,
        *,
        deck_uri: str | None = None,
    ) -> None:
        """End a node for good. Under FAIL_IMMEDIATELY its frame fails, else what does not need the node goes on."""
        self.release(run)
        plan = frame.plan
        self.kinds[plan.kinds[node]].close(self, frame, node)
        run.phase = phase
        self.node_row(frame, run, node, ended=True, failure=failure).deck_uri = deck_uri
        del frame.runs[node]
        frame.phases[node] = phase
        if plan.owners[node] >= 0:
            branch = plan.owners[node]
            self.fail(frame, frame.runs[branch], branch, failure)
            return
        if node == plan.failure_node:
            self._frame_failed(frame, failure)
            return
        if frame.failure is None:
            frame.failure = failure
            frame.failed_node = run.node_id
        if node == END or self.state.policy is FailurePolicy.FAIL_IMMEDIATELY:
            self.frame_failing(frame)
        else:
            self._advance(frame, node, taint=True)

    def _skip(self, frame: Frame, node: int) -> None:
        plan = frame.plan
        owner = plan.owners[node]
        run = frame.runs.pop(node, None) or frame.make_run(node, self.state.take_seq(), self.now)
        self.kinds[plan.kinds[node]].close(self, frame, node)
        run.phase = NodePhase.SKIPPED
        self.node_row(frame, run, node, ended=True)
        frame.phases[node] = NodePhase.SKIPPED
        if run.stage is Stage.PREPARING:  # else it is a branch that has begun, and dropped them
            self.drop_sources(frame, node)
        if owner >= 0:
            self._skip(frame, owner)  # nothing can come of the branch either
            return
        if node != END:
            self._advance(frame, node, taint=True)
        elif frame.failure is not None:
            self.frame_failing(frame)
        else:
            self.frame_succeeded(frame, {}, None, None)

    def abort(self, frame: Frame, run: NodeRun, node: int, reason: str) -> None:
        """End a node that is under way because something else has ended, with everything inside it."""
        self.release(run)
        if run.stage is Stage.ACTIVE:  # else nothing was written, nothing was launched
            self.kinds[frame.plan.kinds[node]].stop(self, frame, run, node, reason)
            run.phase = NodePhase.ABORTED
            failure = Failure(ErrorKind.UNKNOWN, "NodeAborted", reason)
            self.node_row(frame, run, node, ended=True, failure=failure)
        del frame.runs[node]
        frame.phases[node] = NodePhase.ABORTED

    def _advance(self, frame: Frame, node: int, *, taint: bool = False) -> None:
        pending = frame.pending
        if frame.reuse is not None and node != START and frame.phases[node] != NodePhase.RECOVERED:
            frame.fresh.update(frame.plan.successors[node])
        for successor in frame.plan.successors[node]:
            pending[successor] -= 1
            if taint:
                frame.tainted.add(successor)
            if not pending[successor]:
                self.work.append((frame, successor))

    # ---- frames ----

    def open_frame(
        self,
        plan: Plan,
        inputs: dict[str, Value],
        *,
        parent: Frame | None,
        parent_node: int = -1,
        element: int = -1,
        outputs: bytes | None = None,
        reuse: Reuse | None = None,
    ) -> Frame:
        """Begin a run of a plan, inside a node under way or (`parent` None) as the execution itself.

        In an array node it is the run of one `element`; `outputs` is what the row of its start node keeps of the
        inputs, serialized. `reuse` is what may be taken over in a workflow that a task has made.
        """
        frame = self.state.open_frame(plan, parent=parent, parent_node=parent_node, element=element)
        look_up(self.state, frame, reuse)
        run = frame.make_run(START, self.state.take_seq(), self.now)
        run.stage = Stage.ACTIVE
        run.started_at = self.now
        self.succeed(frame, run, START, inputs, outputs=outputs)
        return frame

    def stop_frame(self, number: int, reason: str) -> None:
        """Abort everything in a frame and forget it; the node around it is the caller's."""
        frame = self.state.frames.pop(number, None)
        if frame is not None:
            self._stop_nodes(frame, reason)

    def frame_failing(self, frame: Frame) -> None:
        """A frame cannot succeed any more, for `frame.failure`."""
        failure = frame.failure
        assert failure is not None, "a frame fails for a reason"
        frame.failing = True
        self._stop_nodes(frame, AUTO_ABORT)
        handler = frame.plan.failure_node
        if handler is None:
            self._frame_failed(frame, failure)
            return
        if frame.parent is None:
            self.state.phase = ExecutionPhase.FAILING
            self.execution_row().failure = failure
        self.work.append((frame, handler))

    def _stop_nodes(self, frame: Frame, reason: str) -> None:
        for node in reversed(list(frame.runs)):  # the arm of a branch before the branch
            run = frame.runs.get(node)
            if run is not None:
                self.abort(frame, run, node, reason)

    def frame_succeeded(
        self, frame: Frame, values: dict[str, Value], outputs: bytes | None, output_uri: str | None
    ) -> None:
        """The end node of a frame has ended well."""
        del self.state.frames[frame.number]
        parent = frame.parent
        if parent is None:
            self.end(ExecutionPhase.SUCCEEDED, None, AUTO_ABORT, outputs=outputs, outputs_uri=output_uri)
            return
        node = frame.parent_node
        kind = self.kinds[parent.plan.kinds[node]]
        kind.child_succeeded(self, parent, parent.runs[node], node, frame, values, outputs, output_uri)

    def _frame_failed(self, frame: Frame, failure: Failure) -> None:
        del self.state.frames[frame.number]
        parent = frame.parent
        if parent is None:
            self.end(ExecutionPhase.FAILED, failure, AUTO_ABORT)
            return
        node = frame.parent_node
        self.kinds[parent.plan.kinds[node]].child_failed(self, parent, parent.runs[node], node, frame, failure)

    def end(
        self,
        phase: ExecutionPhase,
        failure: Failure | None,
        reason: str,
        *,
        outputs: bytes | None = None,
        outputs_uri: str | None = None,
    ) -> None:
        """End the execution; nodes still under way are aborted, inner ones before those around them."""
        state = self.state
        top = state.frames.get(0)
        if top is not None:
            self._stop_nodes(top, reason)
        state.frames.clear()
        state.held.clear()
        state.ready.clear()
        state.ended = True
        state.phase = phase
        row = self.execution_row()
        row.ended_at = self.now
        if state.plan.makes_artifacts and phase is ExecutionPhase.SUCCEEDED:
            self.effects.lineage.append(LineageRow(LineageKind.ARTIFACTS, state.key, ""))
        row.outputs = outputs
        row.outputs_uri = outputs_uri
        row.failure = failure

    # ---- small parts ----

    def find(self, ref: NodeRef, *, any_attempt: bool = False) -> tuple[Frame, NodeRun] | None:
        """The node that `ref` means, while it is under way in that attempt."""
        frame = self.state.frames.get(ref.frame)
        run = frame.runs.get(ref.node) if frame is not None else None
        if frame is None or run is None or (run.attempt != ref.attempt and not any_attempt):
            return None
        return frame, run

    def take_slot(self, frame: Frame, node: int) -> bool:
        """Take a slot of max_parallelism; without a free one the node waits in line, and is reached again."""
        state = self.state
        limit = state.settings.max_parallelism
        if limit and state.active >= limit:
            state.held.append((frame.number, node))
            return False
        state.active += 1
        return True

    def release(self, run: NodeRun) -> None:
        """Give back the node's slot of max_parallelism, if it holds one."""
        if run.counted:
            run.counted = False
            self.state.active -= 1
            self.offer_slot()

    def offer_slot(self) -> None:
        """Call in the node that waits longest for a slot; should there be none after all, it waits again."""
        held = self.state.held
        while held:
            number, node = held.popleft()
            frame = self.state.frames.get(number)
            if frame is not None and self._may_reach(frame, node):
                self.work.append((frame, node))
                return

    def drop_sources(self, frame: Frame, node: int) -> None:
        """The node will not read its upstreams again: outputs that nobody else waits for are let go."""
        uses = frame.uses
        for source in frame.plan.bindings[node].sources:
            uses[source] -= 1
            if not uses[source]:
                frame.outputs.pop(source, None)

    def timers(self, frame: Frame, run: NodeRun, node: int) -> None:
        """Deadlines that follow from the phase just entered."""
        timeout_s = frame.plan.timeout_s[node]
        if not timeout_s:
            return
        ref = ref_of(frame, run, node)
        if run.attempt_started_at is not None:
            self.effects.timers.append(SetTimer(ref, run.attempt_started_at + timeout_s, TimerKind.ATTEMPT))
        self.effects.timers.append(SetTimer(ref, run.created_at + 2 * timeout_s, TimerKind.NODE))

    def deadline(self) -> None:
        """Set the timer of the whole run; it follows from when the execution began, so a restart sets the same one."""
        state = self.state
        if state.settings.deadline_s is not None and state.started_at is not None:
            at = state.started_at + state.settings.deadline_s
            self.effects.timers.append(SetTimer(_WHOLE, at, TimerKind.EXECUTION))


_WHOLE = NodeRef(0, START, 0)
"""Stands where a timer of the execution names a node."""


def deadline_exceeded(state: ExecutionState) -> Failure:
    """What an execution ends with that has run for too long."""
    text = f"the execution ran for longer than its deadline allows ({state.settings.deadline_s:.15g} s)"
    return Failure(ErrorKind.USER, "DeadlineExceeded", text)


def ref_of(frame: Frame, run: NodeRun, node: int) -> NodeRef:
    """Address of a node's current attempt."""
    return NodeRef(frame.number, node, run.attempt)


def _inline_max(frame: Frame, node: int) -> int:
    """Size of inputs that need no blob; outputs of an element of an array are one of many."""
    return ELEMENT_INLINE_BYTES_MAX if node == END and frame.element >= 0 else INLINE_BYTES_MAX


def _values_uri(run: NodeRun, node: int) -> str:
    return f"{run.output_dir}/outputs.pb" if node == END else f"{run.data_dir}/inputs.pb"


def serialized(values: dict[str, Value]) -> bytes:
    """A LiteralMap of values that are all inline."""
    return build_literal_map(cast("dict[str, bytes]", values))
