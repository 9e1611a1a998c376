"""Task nodes: attempts that the runtime runs, tried again while the budget of their errors lasts.

While a node pauses before an attempt it stays in its phase and keeps its slot of max_parallelism: clients see a node
that runs, and the pauses of all attempts together are short. When the pause ends is written down, so it survives a
crash.

Any task may turn out to be dynamic: its attempt ends well and leaves a workflow, which then runs as a frame inside the
node. While that frame is there, nothing of the attempt is left in the runtime, and the node holds no slot of
max_parallelism, which its inner nodes may need.
"""

from dataclasses import replace

from flyteidl.core import identifier_pb2
from flyteidl.event import event_pb2

from wingbeat_propeller.core.caching import ReservationStatus, Result, dynamic_details, restored
from wingbeat_propeller.core.effects import Abort, Launch, NodeRef, SetTimer
from wingbeat_propeller.core.events import (
    TaskBecameDynamic,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
    TimerKind,
)
from wingbeat_propeller.core.folders import DECK_FILE
from wingbeat_propeller.core.ids import attempt_name, generated_name
from wingbeat_propeller.core.kinds.node_cache import CachedKind, cached_node, explain_cached, has_waited, new_caching
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import NodePhase, TaskPhase
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.references import record_outputs
from wingbeat_propeller.core.retry import GiveUp, decide_retry, stays_interruptible
from wingbeat_propeller.core.reuse import Reuse, workflow_of
from wingbeat_propeller.core.rows import FLAG_DYNAMIC, FLAG_PARENT, NodeRow
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.waiting.view import View, moment
from wingbeat_propeller.core.walk import Walk, ref_of
from wingbeatidl.query.v1 import why_pb2


class TaskKind(CachedKind):
    """One attempt at a time; names and folders of attempts are deterministic."""

    counts = True

    def begin(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """Launch the first attempt once the row is durable."""
        run.phase = NodePhase.QUEUED
        walk.node_row(frame, run, node, inputs=inputs, input_uri=f"{run.data_dir}/inputs.pb")
        walk.effects.commands.append(_launch(walk, frame, run, node, inputs))
        walk.timers(frame, run, node)

    def begin_reserved(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """Likewise."""
        walk.node_row(frame, run, node)
        walk.effects.commands.append(_launch(walk, frame, run, node, inputs))

    def stop(self, walk: Walk, frame: Frame, run: NodeRun, node: int, reason: str) -> None:
        """Abort the attempt, or the workflow that it has made; in a pause between two there is nothing."""
        waits = run.cache is not None and (run.cache.waits or run.cache.lacks_slot)
        self.close(walk, frame, node)
        if run.child is not None:
            walk.stop_frame(run.child, reason)
            return
        if waits or run.retry_at is not None:
            return
        if run.task_created_at is not None:
            failure = Failure(ErrorKind.UNKNOWN, "Task Aborted", reason)
            walk.task_row(frame, run, node, TaskPhase.ABORTED, ended_at=walk.now, failure=failure)
        walk.effects.commands.append(Abort(ref_of(frame, run, node), run.name))

    def restore(self, walk: Walk, frame: Frame, run: NodeRun, node: int, row: NodeRow) -> Frame | None:
        """The attempt under way and the slot it holds, or the frame of what it has made."""
        _name(walk, run)
        run.flags = row.flags
        if new_caching(walk.state.settings, frame.plan.cached(node), None) is not None:
            run.cache = restored(row)
        if row.phase == NodePhase.DYNAMIC_RUNNING:
            plan = walk.dynamic_plans[row.node_id, row.attempt]
            return walk.state.open_frame(plan, parent=frame, parent_node=node)
        if run.cache is not None and has_waited(frame, run, node, run.cache):
            run.cache.waits = True
            if run.cache.reservation == ReservationStatus.EXISTS:
                return None  # it has given its slot back
        run.counted = True
        walk.state.active += 1
        if row.attempt_started_at is not None:
            run.task_created_at = run.task_started_at = row.attempt_started_at
        return None

    def resume(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """Let the runtime say whether the attempt lives, launch it if not; or pause on."""
        walk.timers(frame, run, node)
        call = cached_node(walk, frame, run, node)
        if call is not None and (call.caching.waits or call.caching.reservation == ReservationStatus.ACQUIRED):
            call.reserve(runs=not call.caching.waits)
            if call.caching.waits:
                return
        if run.retry_at is not None:
            walk.effects.timers.append(SetTimer(ref_of(frame, run, node), run.retry_at, TimerKind.RETRY))
        elif run.child is None:
            walk.effects.adopt.append(_launch(walk, frame, run, node, inputs))

    def expire(self, walk: Walk, frame: Frame, run: NodeRun, node: int, failure: Failure) -> None:
        """Abort the attempt; it has failed in a way that may be retried."""
        if run.child is not None:
            walk.stop_frame(run.child, failure.message)
            self._retry(walk, frame, run, node, failure)
            return
        walk.effects.commands.append(Abort(ref_of(frame, run, node), run.name))
        self._failed(walk, frame, run, node, failure, walk.now)

    def inherits(self, row: NodeRow, checkpoint: str | None) -> str | None:
        """The workflow that it had made, else the checkpoints."""
        return workflow_of(row) or checkpoint

    def go_on(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, source: NodeRow, plan: Plan, reuse: Reuse | None
    ) -> bool:
        """The task does not run again: the workflow that it had made does, as far as it had not."""
        walk.activate(frame, run, node)
        run.phase = NodePhase.DYNAMIC_RUNNING
        run.flags = FLAG_PARENT | FLAG_DYNAMIC
        run.started_at = run.attempt_started_at = walk.now
        run.inherited = workflow_of(source)
        if new_caching(walk.state.settings, frame.plan.cached(node), None) is not None:
            run.cache = restored(source)
            run.cache.reservation = ReservationStatus.DISABLED
        _name(walk, run)
        row = walk.node_row(frame, run, node, inputs=source.inputs, input_uri=f"{run.data_dir}/inputs.pb")
        row.details = row.details or source.details
        walk.timers(frame, run, node)
        walk.open_frame(plan, {}, parent=frame, parent_node=node, reuse=reuse)
        return True

    def retry(self, walk: Walk, frame: Frame, run: NodeRun, ref: NodeRef) -> None:
        """Launch the attempt that was put off."""
        if run.retry_at is not None:
            run.retry_at = None
            walk.node_row(frame, run, ref.node)
            walk.effects.commands.append(_launch(walk, frame, run, ref.node, None))

    def task_started(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskStarted) -> None:
        """The first sign of life makes the node run; a later one only renews the details."""
        node = event.ref.node
        if run.task_started_at is None:
            _has_begun(run, event.at)
            run.phase = NodePhase.RUNNING
            row = walk.node_row(frame, run, node)
            if frame.plan.task(node).wants_deck:
                row.deck_uri = f"{run.output_dir}/{DECK_FILE}"  # people may look at it while the task writes it
            walk.timers(frame, run, node)
        else:
            run.task_version += 1
        walk.task_row(frame, run, node, TaskPhase.RUNNING, details=event.details)

    def task_succeeded(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskSucceeded) -> None:
        """The node has succeeded with the attempt's outputs, which go into the cache first if they may."""
        node, uri = event.ref.node, f"{run.output_dir}/outputs.pb"
        if event.started_at is not None and run.task_started_at is None:
            _has_begun(run, event.started_at)
        result = Result(event.at, event.outputs, event.serialized, uri, event.deck_uri, event.details, event.references)
        self.succeeded(walk, frame, run, node, result)

    def end(self, walk: Walk, frame: Frame, run: NodeRun, node: int, result: Result) -> None:
        """With the end of the attempt, unless that came before a workflow that the task has made."""
        if not result.of_frame:
            walk.task_over(frame, run, node, TaskPhase.SUCCEEDED, result.at, details=result.details)
            referring = frame.plan.task(node).referring_outputs
            record_outputs(walk.effects, run.node_id, result.values, referring, result.references)
        walk.succeed(
            frame,
            run,
            node,
            dict(result.values),
            outputs=result.outputs,
            output_uri=result.output_uri,
            deck_uri=result.deck_uri,
        )

    def task_became_dynamic(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskBecameDynamic) -> None:
        """The attempt is over; the workflow it has made runs inside the node."""
        node = event.ref.node
        walk.task_over(frame, run, node, TaskPhase.SUCCEEDED, event.at, details=event.details)
        walk.release(run)
        run.phase = NodePhase.DYNAMIC_RUNNING
        run.flags = FLAG_PARENT | FLAG_DYNAMIC
        dynamic = event_pb2.DynamicWorkflowNodeMetadata(
            id=identifier_pb2.Identifier.FromString(event.identifier), dynamic_job_spec_uri=event.futures_uri
        )
        details = dynamic_details(dynamic)
        if run.cache is not None:
            run.cache.dynamic = details
        row = walk.node_row(frame, run, node)
        row.details = row.details or details
        walk.open_frame(event.plan, {}, parent=frame, parent_node=node, reuse=event.reuse)

    def child_failed(self, walk: Walk, frame: Frame, run: NodeRun, node: int, child: Frame, failure: Failure) -> None:
        """The workflow has failed, and so has the node; only after a timeout inside it is the task tried again."""
        if NodePhase.TIMED_OUT in child.phases:
            self._retry(walk, frame, run, node, replace(failure, retryable=True))
        else:
            walk.fail(frame, run, node, failure)

    def task_failed(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskFailed) -> None:
        """Try again while the budget lasts."""
        failure, node = event.failure, event.ref.node
        self._failed(walk, frame, run, node, failure, event.at, details=event.details, deck_uri=event.deck_uri)

    def explain(self, view: View, frame: Frame, run: NodeRun, node: int, answer: why_pb2.NodeAnswer) -> None:
        """It runs, or pauses, or its attempt is somewhere on the way to the runtime; where, the process knows."""
        if run.retry_at is not None:
            answer.standing = why_pb2.STANDING_WAITING
            answer.reasons.add(back_off=why_pb2.BackOff(until=moment(run.retry_at), next_attempt=run.attempt))
            return
        if run.cache is not None and explain_cached(view, frame, run, node, run.cache, answer):
            return
        if run.task_started_at is None:
            answer.standing = why_pb2.STANDING_QUEUED
            return
        answer.standing = why_pb2.STANDING_RUNNING
        if run.child is None:
            answer.reasons.add(running=why_pb2.Running(attempt=run.attempt, since=moment(run.task_started_at)))

    def _failed(
        self,
        walk: Walk,
        frame: Frame,
        run: NodeRun,
        node: int,
        failure: Failure,
        at: float,
        *,
        details: bytes | None = None,
        deck_uri: str | None = None,
    ) -> None:
        walk.task_over(frame, run, node, TaskPhase.FAILED, at, failure=failure, details=details)
        self._retry(walk, frame, run, node, failure, deck_uri=deck_uri)

    def _retry(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, failure: Failure, *, deck_uri: str | None = None
    ) -> None:
        """The next attempt, if there is one left."""
        run.child = None
        if failure.kind is ErrorKind.SYSTEM:
            run.system_failures += 1
        decision = decide_retry(
            failure,
            attempt=run.attempt,
            system_failures=run.system_failures,
            attempts_max=frame.plan.attempts_max[node],
            policy=walk.state.settings.retry,
            name=run.generated_name,
        )
        if isinstance(decision, GiveUp):
            walk.fail(frame, run, node, decision.failure, deck_uri=deck_uri)
            return
        run.attempt += 1
        run.attempt_started_at = None
        run.task_created_at = None
        run.task_started_at = None
        run.task_version = 0
        run.retry_at = walk.now + decision.delay_s if decision.delay_s else None
        if not run.counted:  # a dynamic node had given its slot back; it does not wait for another
            run.counted = True
            walk.state.active += 1
            run.phase = NodePhase.RUNNING
        walk.node_row(frame, run, node).deck_uri = deck_uri
        if run.retry_at is not None:
            walk.effects.timers.append(SetTimer(ref_of(frame, run, node), run.retry_at, TimerKind.RETRY))
        else:
            walk.effects.commands.append(_launch(walk, frame, run, node, None))


def _has_begun(run: NodeRun, at: float) -> None:
    run.task_started_at = run.attempt_started_at = at
    if run.started_at is None:
        run.started_at = at


def _launch(walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> Launch:
    plan = frame.plan
    state = walk.state
    own = plan.interruptible[node]
    asked = state.settings.interruptible
    interruptible = own if own is not None else asked if asked is not None else plan.interruptible_default
    interruptible = interruptible and stays_interruptible(
        attempt=run.attempt,
        system_failures=run.system_failures,
        attempts_max=plan.attempts_max[node],
        policy=state.settings.retry,
    )
    _name(walk, run)
    return Launch(
        ref=ref_of(frame, run, node),
        name=run.name,
        generated_name=run.generated_name,
        node_id=run.node_id,
        task=plan.task(node),
        previous_generated_name=generated_name(state.name, run.node_id, run.attempt - 1) if run.attempt else None,
        inputs=inputs,
        data_dir=run.data_dir,
        output_dir=run.output_dir,
        timeout_s=plan.timeout_s[node] or None,
        interruptible=interruptible,
        inherited=run.inherited,
    )


def _name(walk: Walk, run: NodeRun) -> None:
    run.generated_name = generated_name(walk.state.name, run.node_id, run.attempt)
    run.name = attempt_name(walk.state.key, run.generated_name)
