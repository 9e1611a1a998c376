"""The engine's one state machine: `step(state, event) -> Effects`.

The same state and event give the same effects on any machine. The state is changed in place; the caller makes the rows
of the effects durable before it carries out their commands, and submits the effects of one execution in the order in
which they were returned. A step costs what changed: a finished node touches its successors and nothing else, and a
cascade (skipped nodes, finished sub-workflows) runs over a work list, never by recursion over the graph.

Events may be late, doubled or about an attempt that is over: those change nothing. Rules come from Flyte v1's
behaviour: failure policies and node phases, retry budgets in `core.retry`.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import cast

from wingbeat_propeller.core.bindings import BindingResolutionError, NeedsContentError, evaluate
from wingbeat_propeller.core.effects import Abort, Effects, Launch, NodeRef, Prepare, SetTimer
from wingbeat_propeller.core.events import (
    AbortRequested,
    Begin,
    Event,
    Prepared,
    PrepareFailed,
    Quarantine,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
    TimerFired,
    TimerKind,
)
from wingbeat_propeller.core.ids import attempt_name, generated_name
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import END, START, FailurePolicy, NodeKind
from wingbeat_propeller.core.recording import Recording
from wingbeat_propeller.core.retry import GiveUp, decide_retry
from wingbeat_propeller.core.state import ExecutionState, Frame, NodeRun, Stage
from wingbeat_propeller.core.values import INLINE_BYTES_MAX, Value, build_literal_map, inline_size

_AUTO_ABORT = "Some node execution failed, auto-abort."
_USER_ABORT = "Workflow aborted."


def step(state: ExecutionState, event: Event) -> Effects:
    """Apply one event. An execution that has ended ignores everything."""
    run = Step(state, event.now)
    if not state.ended:
        _HANDLERS[type(event)](run, event)
        run.drain()
    return run.effects


class Step(Recording):
    """One application of an event; `recovery` uses it too, to go on from rebuilt state."""

    __slots__ = ("work",)

    def __init__(self, state: ExecutionState, now: float) -> None:
        super().__init__(state, now)
        self.work: deque[tuple[Frame, int]] = deque()
        """Nodes whose upstreams are all final and that have not been looked at."""

    def drain(self) -> None:
        """Start or skip every node on the work list, and those that become ready meanwhile."""
        work = self.work
        while work and not self.state.ended:
            frame, node = work.popleft()
            if self.state.frames.get(frame.number) is frame:
                self._reach(frame, node)

    def resume(self, frame: Frame, inputs: Mapping[int, bytes]) -> None:
        """Go on with a frame rebuilt from rows: adopt what was under way, reach what is ready.

        `inputs` are those of nodes under way that are not known to stand in the blob store yet.
        """
        for node, run in list(frame.runs.items()):
            self._timers(frame, run, node)
            if frame.plan.kinds[node] is NodeKind.TASK:
                self.effects.adopt.append(self._launch(frame, run, node, inputs.get(node)))
        self.work.extend(
            (frame, node)
            for node, pending in enumerate(frame.pending)
            if not pending and not frame.phases[node] and node not in frame.runs and node != START
        )

    # ---- events ----

    def begin(self, event: Begin) -> None:
        """A new execution: it runs at once, and so does everything that depends on nothing."""
        state = self.state
        state.phase = ExecutionPhase.RUNNING
        state.started_at = self.now
        self.execution_row()
        self._open(state.open_frame(state.plan, parent=None), event.inputs)

    def prepared(self, event: Prepared) -> None:
        """Inputs are stored; the node goes on as if they had been at hand."""
        found = self._find(event.ref)
        if found is not None and found[1].stage is Stage.PREPARING:
            self._enter(*found, event.ref.node, event.values, stored=True)

    def prepare_failed(self, event: PrepareFailed) -> None:
        """Inputs cannot be had: permanent."""
        found = self._find(event.ref)
        if found is not None and found[1].stage is Stage.PREPARING:
            self._drop_sources(found[0], event.ref.node)
            self._fail(*found, event.ref.node, event.failure)

    def task_started(self, event: TaskStarted) -> None:
        """First sign of life of an attempt; a later one only renews the details."""
        found = self._find(event.ref)
        if found is None or found[1].stage is not Stage.ACTIVE:
            return
        frame, run = found
        node = event.ref.node
        if run.task_started_at is None:
            run.task_started_at = event.at
            run.attempt_started_at = event.at
            if run.started_at is None:
                run.started_at = event.at
            run.phase = NodePhase.RUNNING
            self.node_row(frame, run, node)
            self._timers(frame, run, node)
        else:
            run.task_version += 1
        self.task_row(frame, run, node, TaskPhase.RUNNING, details=event.details)

    def task_succeeded(self, event: TaskSucceeded) -> None:
        """An attempt is done and its outputs are known."""
        found = self._find(event.ref)
        if found is None or found[1].stage is not Stage.ACTIVE:
            return
        frame, run = found
        node = event.ref.node
        self.task_over(frame, run, node, TaskPhase.SUCCEEDED, event.at, details=event.details)
        self._free_slot()
        self._succeed(
            frame,
            run,
            node,
            event.outputs,
            outputs=event.serialized,
            output_uri=f"{run.output_dir}/outputs.pb",
            deck_uri=event.deck_uri,
        )

    def task_failed(self, event: TaskFailed) -> None:
        """An attempt has failed: try again while the budget of its kind lasts."""
        found = self._find(event.ref)
        if found is not None and found[1].stage is Stage.ACTIVE:
            self._attempt_failed(*found, event.ref.node, event.failure, event.at, details=event.details)

    def timer_fired(self, event: TimerFired) -> None:
        """A deadline of a node that is still under way."""
        found = self._find(event.ref, any_attempt=event.kind is TimerKind.NODE)
        if found is None or found[1].stage is not Stage.ACTIVE:
            return
        frame, run = found
        node = event.ref.node
        self._stop_inner(frame, run, node, _AUTO_ABORT)
        if event.kind is TimerKind.NODE:
            self._close_attempt(frame, run, node)
            self._fail(frame, run, node, Failure(ErrorKind.USER, "Timeout", "Timeout in node"), NodePhase.TIMED_OUT)
            return
        timeout_s = frame.plan.timeout_s[node]
        message = f"task execution timeout [{timeout_s:g}s] expired"
        failure = Failure(ErrorKind.USER, "TimeoutExpired", message, retryable=True)
        if frame.plan.kinds[node] is NodeKind.TASK:
            self.effects.commands.append(Abort(_ref(frame, run, node), run.name))
            self._attempt_failed(frame, run, node, failure, self.now)
        else:
            self._fail(frame, run, node, failure)

    def abort_requested(self, event: AbortRequested) -> None:
        """Terminate: everything under way is aborted, inner nodes before their parents."""
        self._end(ExecutionPhase.ABORTED, None, _USER_ABORT)

    def quarantine(self, event: Quarantine) -> None:
        """The engine gives the execution up."""
        self._end(ExecutionPhase.FAILED, event.failure, _AUTO_ABORT)

    # ---- a node's way ----

    def _reach(self, frame: Frame, node: int) -> None:
        if node in frame.tainted:
            self._skip(frame, node)
            return
        state = self.state
        counts = frame.plan.kinds[node] is NodeKind.TASK
        if counts:
            limit = state.settings.max_parallelism
            if limit and state.active >= limit:
                state.held.append((frame.number, node))
                return
            state.active += 1
        run = NodeRun(frame.node_id(node), state.take_seq(), frame.data_dir(node), self.now)
        frame.runs[node] = run
        program = frame.plan.bindings[node]
        try:
            values = evaluate(program, frame.outputs)
        except BindingResolutionError as error:
            self._drop_sources(frame, node)
            self._fail(frame, run, node, Failure(ErrorKind.SYSTEM, "BindingResolutionFailure", str(error)))
            return
        except NeedsContentError:
            pass
        else:
            size = inline_size(values)
            if size is not None and size <= INLINE_BYTES_MAX:
                self._enter(frame, run, node, values, stored=False)
                return
        sources = {source: frame.outputs[source] for source in program.sources}
        self.effects.reads.append(Prepare(_ref(frame, run, node), program, sources, _values_uri(run, node)))

    def _enter(self, frame: Frame, run: NodeRun, node: int, values: dict[str, Value], *, stored: bool) -> None:
        self._drop_sources(frame, node)
        kind = frame.plan.kinds[node]
        run.stage = Stage.ACTIVE
        if kind is NodeKind.END:
            outputs, uri = (None, _values_uri(run, node)) if stored else (_serialized(values), None)
            run.started_at = self.now
            self._succeed(frame, run, node, values, outputs=outputs, output_uri=uri)
            return
        inputs = None if stored else _serialized(values)
        input_uri = f"{run.data_dir}/inputs.pb"
        if kind is NodeKind.TASK:
            run.phase = NodePhase.QUEUED
            self.node_row(frame, run, node, inputs=inputs, input_uri=input_uri)
            self.effects.commands.append(self._launch(frame, run, node, inputs))
            self._timers(frame, run, node)
        elif kind is NodeKind.WORKFLOW:
            sub_plan = frame.plan.sub_plans[node]
            assert sub_plan is not None, "the plan of a sub-workflow node has its plan"
            run.phase = NodePhase.RUNNING
            run.started_at = run.attempt_started_at = self.now
            self.node_row(frame, run, node, inputs=inputs, input_uri=input_uri if stored else None)
            self._timers(frame, run, node)
            self._open(self.state.open_frame(sub_plan, parent=frame, parent_node=node), values)
        else:
            text = f"node '{frame.plan.ids[node]}' is a {kind.name.lower()} node, which this release cannot run"
            self._fail(frame, run, node, Failure(ErrorKind.SYSTEM, "NodeKindNotSupported", text))

    def _open(self, frame: Frame, inputs: dict[str, Value]) -> None:
        run = NodeRun(frame.node_id(START), self.state.take_seq(), frame.data_dir(START), self.now)
        run.started_at = self.now
        self._succeed(frame, run, START, inputs)

    def _launch(self, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> Launch:
        own = frame.plan.interruptible[node]
        asked = self.state.settings.interruptible
        interruptible = own if own is not None else asked if asked is not None else frame.plan.interruptible_default
        # The last system attempt runs where it is not interrupted.
        interruptible = interruptible and run.system_failures < self.state.settings.system_retries_max
        task = frame.plan.tasks[node]
        assert task is not None, "the plan of a task node has its task"
        run.generated_name = generated_name(self.state.name, run.node_id, run.attempt)
        run.name = attempt_name(self.state.key, run.generated_name)
        return Launch(
            ref=_ref(frame, run, node),
            name=run.name,
            generated_name=run.generated_name,
            node_id=run.node_id,
            task=task,
            previous_generated_name=(
                generated_name(self.state.name, run.node_id, run.attempt - 1) if run.attempt else None
            ),
            inputs=inputs,
            data_dir=run.data_dir,
            output_dir=run.output_dir,
            timeout_s=frame.plan.timeout_s[node] or None,
            interruptible=interruptible,
        )

    def _attempt_failed(
        self, frame: Frame, run: NodeRun, node: int, failure: Failure, at: float, *, details: bytes | None = None
    ) -> None:
        self.task_over(frame, run, node, TaskPhase.FAILED, at, failure=failure, details=details)
        if failure.kind is ErrorKind.SYSTEM:
            run.system_failures += 1
        decision = decide_retry(
            failure,
            attempt=run.attempt,
            system_failures=run.system_failures,
            attempts_max=frame.plan.attempts_max[node],
            system_retries_max=self.state.settings.system_retries_max,
        )
        if isinstance(decision, GiveUp):
            self._free_slot()
            self._fail(frame, run, node, decision.failure)
            return
        run.attempt += 1
        run.attempt_started_at = None
        run.task_created_at = None
        run.task_started_at = None
        run.task_version = 0
        self.node_row(frame, run, node)
        self.effects.commands.append(self._launch(frame, run, node, None))

    def _succeed(
        self,
        frame: Frame,
        run: NodeRun,
        node: int,
        values: dict[str, Value],
        *,
        outputs: bytes | None = None,
        output_uri: str | None = None,
        deck_uri: str | None = None,
    ) -> None:
        run.phase = NodePhase.SUCCEEDED
        row = self.node_row(frame, run, node, ended=True)
        row.outputs = outputs
        row.output_uri = output_uri
        row.deck_uri = deck_uri
        frame.runs.pop(node, None)
        frame.phases[node] = NodePhase.SUCCEEDED
        if frame.uses[node]:
            frame.outputs[node] = values
        if node == END:
            self._frame_succeeded(frame, values, outputs, output_uri)
        else:
            self._advance(frame, node)

    def _frame_succeeded(
        self, frame: Frame, values: dict[str, Value], outputs: bytes | None, output_uri: str | None
    ) -> None:
        del self.state.frames[frame.number]
        if frame.parent is None:
            self._end(ExecutionPhase.SUCCEEDED, None, _AUTO_ABORT, outputs=outputs, outputs_uri=output_uri)
            return
        run = frame.parent.runs[frame.parent_node]
        self._succeed(frame.parent, run, frame.parent_node, values, outputs=outputs, output_uri=output_uri)

    def _fail(
        self, frame: Frame, run: NodeRun, node: int, failure: Failure, phase: NodePhase = NodePhase.FAILED
    ) -> None:
        """End a node for good. Under FAIL_IMMEDIATELY that ends the execution, else what does not need it goes on."""
        if run.stage is Stage.PREPARING and frame.plan.kinds[node] is NodeKind.TASK:
            self._free_slot()
        run.phase = phase
        self.node_row(frame, run, node, ended=True, failure=failure)
        del frame.runs[node]
        frame.phases[node] = phase
        if self.state.policy is FailurePolicy.FAIL_IMMEDIATELY:
            self._end(ExecutionPhase.FAILED, failure, _AUTO_ABORT, failing=frame)
            return
        frame.failure = frame.failure or failure
        if node == END:
            self._frame_failed(frame, frame.failure)
        else:
            self._advance(frame, node, taint=True)

    def _frame_failed(self, frame: Frame, failure: Failure) -> None:
        del self.state.frames[frame.number]
        if frame.parent is None:
            self._end(ExecutionPhase.FAILED, failure, _AUTO_ABORT)
            return
        run = frame.parent.runs[frame.parent_node]
        self._fail(frame.parent, run, frame.parent_node, failure)

    def _skip(self, frame: Frame, node: int) -> None:
        run = NodeRun(frame.node_id(node), self.state.take_seq(), frame.data_dir(node), self.now)
        run.phase = NodePhase.SKIPPED
        self.node_row(frame, run, node, ended=True)
        frame.phases[node] = NodePhase.SKIPPED
        self._drop_sources(frame, node)
        if node != END:
            self._advance(frame, node, taint=True)
        elif frame.failure is not None:
            self._frame_failed(frame, frame.failure)
        else:
            self._frame_succeeded(frame, {}, None, None)

    def _advance(self, frame: Frame, node: int, *, taint: bool = False) -> None:
        pending = frame.pending
        for successor in frame.plan.successors[node]:
            pending[successor] -= 1
            if taint:
                frame.tainted.add(successor)
            if not pending[successor]:
                self.work.append((frame, successor))

    # ---- ends ----

    def _end(
        self,
        phase: ExecutionPhase,
        failure: Failure | None,
        reason: str,
        *,
        outputs: bytes | None = None,
        outputs_uri: str | None = None,
        failing: Frame | None = None,
    ) -> None:
        """End the execution. Nodes still under way are aborted; those around the frame `failing` fail with it."""
        parents: set[tuple[int, int]] = set()
        while failing is not None and failing.parent is not None:
            parents.add((failing.parent.number, failing.parent_node))
            failing = failing.parent
        for number in sorted(self.state.frames, reverse=True):
            frame = self.state.frames[number]
            for node, run in list(frame.runs.items()):
                if (number, node) in parents:
                    run.phase = NodePhase.FAILED
                    self.node_row(frame, run, node, ended=True, failure=failure)
                else:
                    self._abort_node(frame, run, node, reason)
        self.state.frames.clear()
        self.state.held.clear()
        self.state.ended = True
        self.state.phase = phase
        row = self.execution_row()
        row.ended_at = self.now
        row.outputs = outputs
        row.outputs_uri = outputs_uri
        row.failure = failure

    def _stop_inner(self, frame: Frame, run: NodeRun, node: int, reason: str) -> None:
        """Abort the frames inside a node that ends early, innermost first."""
        if run.child is None:
            return
        inside = {run.child}
        for number in sorted(self.state.frames):
            parent = self.state.frames[number].parent
            if parent is not None and parent.number in inside:
                inside.add(number)
        self.state.held = deque(entry for entry in self.state.held if entry[0] not in inside)
        for number in sorted(inside, reverse=True):
            child = self.state.frames.pop(number)
            for inner_node, inner_run in list(child.runs.items()):
                if child.plan.kinds[inner_node] is NodeKind.TASK:
                    self._free_slot()
                self._abort_node(child, inner_run, inner_node, reason)

    def _abort_node(self, frame: Frame, run: NodeRun, node: int, reason: str) -> None:
        if run.stage is Stage.PREPARING:
            return  # nothing was written, nothing was launched
        if frame.plan.kinds[node] is NodeKind.TASK:
            if run.task_created_at is not None:
                failure = Failure(ErrorKind.UNKNOWN, "Task Aborted", reason)
                self.task_row(frame, run, node, TaskPhase.ABORTED, ended_at=self.now, failure=failure)
            self.effects.commands.append(Abort(_ref(frame, run, node), run.name))
        run.phase = NodePhase.ABORTED
        self.node_row(frame, run, node, ended=True, failure=Failure(ErrorKind.UNKNOWN, "NodeAborted", reason))

    def _close_attempt(self, frame: Frame, run: NodeRun, node: int) -> None:
        """Abort the attempt of a task node that ends by its deadline."""
        if frame.plan.kinds[node] is not NodeKind.TASK:
            return
        self._free_slot()
        if run.task_created_at is not None:
            failure = Failure(ErrorKind.USER, "Timeout", "Timeout in node")
            self.task_row(frame, run, node, TaskPhase.ABORTED, ended_at=self.now, failure=failure)
        self.effects.commands.append(Abort(_ref(frame, run, node), run.name))

    # ---- small parts ----

    def _find(self, ref: NodeRef, *, any_attempt: bool = False) -> tuple[Frame, NodeRun] | None:
        frame = self.state.frames.get(ref.frame)
        run = frame.runs.get(ref.node) if frame is not None else None
        if frame is None or run is None or (run.attempt != ref.attempt and not any_attempt):
            return None
        return frame, run

    def _free_slot(self) -> None:
        state = self.state
        state.active -= 1
        while state.held:
            number, node = state.held.popleft()
            frame = state.frames.get(number)
            if frame is not None:
                self.work.append((frame, node))
                return

    def _drop_sources(self, frame: Frame, node: int) -> None:
        uses = frame.uses
        for source in frame.plan.bindings[node].sources:
            uses[source] -= 1
            if not uses[source]:
                frame.outputs.pop(source, None)

    def _timers(self, frame: Frame, run: NodeRun, node: int) -> None:
        """Deadlines that follow from the phase just entered."""
        timeout_s = frame.plan.timeout_s[node]
        if not timeout_s:
            return
        ref = _ref(frame, run, node)
        if run.attempt_started_at is not None:
            self.effects.timers.append(SetTimer(ref, run.attempt_started_at + timeout_s, TimerKind.ATTEMPT))
        self.effects.timers.append(SetTimer(ref, run.created_at + 2 * timeout_s, TimerKind.NODE))


def _ref(frame: Frame, run: NodeRun, node: int) -> NodeRef:
    return NodeRef(frame.number, node, run.attempt)


def _values_uri(run: NodeRun, node: int) -> str:
    return f"{run.output_dir}/outputs.pb" if node == END else f"{run.data_dir}/inputs.pb"


def _serialized(values: dict[str, Value]) -> bytes:
    return build_literal_map(cast("dict[str, bytes]", values))


_HANDLERS: dict[type[Event], Callable[[Step, Event], None]] = cast(
    "dict[type[Event], Callable[[Step, Event], None]]",
    {
        Begin: Step.begin,
        Prepared: Step.prepared,
        PrepareFailed: Step.prepare_failed,
        TaskStarted: Step.task_started,
        TaskSucceeded: Step.task_succeeded,
        TaskFailed: Step.task_failed,
        TimerFired: Step.timer_fired,
        AbortRequested: Step.abort_requested,
        Quarantine: Step.quarantine,
    },
)
