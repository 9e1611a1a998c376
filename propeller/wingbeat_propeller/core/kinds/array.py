"""Array nodes: one task, or one plan, for each item of the lists among the inputs.

Elements begin in the order of their indexes, as many at a time as the node's parallelism and the engine's own limits
allow, and the next ones as others end; so neither memory nor a commit grows with the length of the lists. The node
succeeds once every element has ended and enough have succeeded; it fails as soon as too many have failed, or, if it is
to run all, once every element has ended. Its outputs are collections in which a failed element is none.

In an execution that recovers another one, elements that succeeded there are read first, a page at a time, and end at
once with what they came to there; nothing begins before all of them are known.

After a restart the rows of elements tell what has ended and what ran. Tasks whose turn had come have no row until they
run: as the order is fixed, they are among the first that have not ended, and those are asked for in the runtime.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from wingbeat_propeller.core.array_run import ArrayRun
from wingbeat_propeller.core.caching import Result
from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.events import (
    ArrayOpened,
    CacheEvent,
    ElementsLookedUp,
    ElementsRecalled,
    Gathered,
    Kept,
    LookedUp,
    ReservationHeld,
    Reserved,
    TaskBecameDynamic,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
)
from wingbeat_propeller.core.ids import generated_name
from wingbeat_propeller.core.kinds.array_cache import held, hit, keep, kept, looked_up, reserved, rest, wake
from wingbeat_propeller.core.kinds.array_elements import Elements
from wingbeat_propeller.core.kinds.array_explanation import explain_array, inside_elements
from wingbeat_propeller.core.kinds.array_progress import ArrayProgress, inputs_uri, outputs_uri
from wingbeat_propeller.core.kinds.base import Kind
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import NodePhase, TaskPhase
from wingbeat_propeller.core.plan import START, Plan, TaskSpec
from wingbeat_propeller.core.references import record_outputs
from wingbeat_propeller.core.reuse import InheritedElements
from wingbeat_propeller.core.rows import NodeRow
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.values import Value, stored_values
from wingbeat_propeller.core.waiting.view import Place, View
from wingbeat_propeller.core.walk import Walk
from wingbeatidl.query.v1 import why_pb2


class ArrayKind(Kind):
    """`memo` is the number of elements in decimal digits, from the moment it is known."""

    counts = True

    def enter(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, values: dict[str, Value], inputs: bytes | None
    ) -> None:
        """Look at the lists. A slot of max_parallelism is given back if what runs inside of elements takes its own."""
        spec = frame.plan.array(node)
        _name(walk, run)
        if not spec.is_counted:
            walk.release(run)
        walk.timers(frame, run, node)
        input_uri = None if inputs is not None and not spec.shares_inputs else inputs_uri(run)
        run.phase = NodePhase.QUEUED
        walk.node_row(frame, run, node, inputs=inputs, input_uri=input_uri)
        ArrayProgress(walk, frame, run, node).look(values, inputs)

    def answered(
        self, walk: Walk, frame: Frame, run: NodeRun, event: ArrayOpened | Gathered | ElementsRecalled
    ) -> None:
        """The lists are known, the outputs are put together, or elements are found that need not run."""
        progress = ArrayProgress(walk, frame, run, event.ref.node)
        if isinstance(event, ElementsRecalled):
            if run.array is not None and run.array.recalling:
                progress.take_over(run.array, event.rows, is_last=event.is_last)
        elif isinstance(event, Gathered):
            if run.array is not None and run.array.gathering:
                progress.succeed(event.values, event.serialized, outputs_uri(run))
        elif run.array is None:
            progress.open(event.inputs)
        elif not run.array.is_open:
            progress.reopen(run.array, event.inputs)

    def unanswered(self, walk: Walk, frame: Frame, run: NodeRun, node: int, failure: Failure) -> None:
        """Inputs cannot be read, or outputs cannot be stored: permanent."""
        if run.array is None or not run.array.is_open or run.array.gathering:
            ArrayProgress(walk, frame, run, node).fail(failure)

    def inherits(self, row: NodeRow, checkpoint: str | None) -> str | None:
        """The elements that it had, if it had come so far."""
        return None if row.memo is None else str(InheritedElements(row.node_id))

    def stop(self, walk: Walk, frame: Frame, run: NodeRun, node: int, reason: str) -> None:
        """Abort the elements under way."""
        if run.array is not None:
            Elements(walk, frame, run, node).stop_all(reason)
            failure = Failure(ErrorKind.UNKNOWN, "Task Aborted", reason)
            walk.task_row(frame, run, node, TaskPhase.ABORTED, ended_at=walk.now, failure=failure)

    def restore(self, walk: Walk, frame: Frame, run: NodeRun, node: int, row: NodeRow) -> Sequence[Frame]:
        """The elements as their rows say; returns the frames of those under way."""
        spec = frame.plan.array(node)
        _name(walk, run)
        stored = walk.stored_elements.get(run.node_id, ())
        run.counted = spec.is_counted and not any(element.is_dynamic for element in stored)
        walk.state.active += run.counted
        run.memo = row.memo
        if row.memo is None:
            return ()
        run.task_created_at = run.task_started_at = row.started_at
        array = run.array = ArrayRun(spec, int(row.memo), walk.state.settings.cache)
        for element in stored:
            array.restore(element)
        return _restore_frames(walk, frame, run, node, row)

    def resume(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """Ask the runtime for the attempts that were under way, and go on."""
        walk.timers(frame, run, node)
        ArrayProgress(walk, frame, run, node).resume(inputs)

    def woken(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        """Pauses of elements are over, elements have come to their deadline, or more of them may begin."""
        array = run.array
        if array is None:
            return
        array.wake_at = None
        elements = Elements(walk, frame, run, node)
        timeout_s = array.spec.timeout_s
        for index, element in list(array.under_way.items()):
            if element.is_done:
                continue
            if timeout_s and element.deadline(timeout_s) <= walk.now:
                _command(walk, elements.expire(index, element))
            elif element.retry_at is not None and element.retry_at <= walk.now:
                _command(walk, elements.retry(index, element))
        ArrayProgress(walk, frame, run, node).advance(array)
        if run.array is array:
            for element in array.under_way.values():
                elements.watch(element)

    def task_started(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskStarted) -> None:
        """An element runs."""
        index = event.ref.element
        element = None if run.array is None else run.array.element(index, event.ref.attempt)
        if element is not None:
            Elements(walk, frame, run, event.ref.node).started(index, element, event.at, event.details)

    def task_succeeded(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskSucceeded) -> None:
        """An element is done."""
        index, node = event.ref.element, event.ref.node
        if run.array is None or run.array.element(index, event.ref.attempt) is None:
            return
        elements = Elements(walk, frame, run, node)
        uri = elements.outputs_uri(index)
        result = Result(
            event.at,
            event.outputs,
            event.serialized,
            uri,
            deck_uri=event.deck_uri,
            details=event.details,
            references=event.references,
        )
        if elements.array.under_way[index].cache is not None:
            keep(elements, index, result)
        else:
            self._end(elements, index, result)

    def _end(self, elements: Elements, index: int, result: Result) -> None:
        if not result.of_frame:
            elements.forget(index)
            task = elements.spec.element
            assert isinstance(task, TaskSpec), "attempts are of a task"
            record_outputs(
                elements.walk.effects, elements.run.node_id, result.values, task.referring_outputs, result.references
            )
        outputs = result.output_uri if result.outputs is None else result.outputs
        elements.succeed(index, outputs, result.at, deck_uri=result.deck_uri, details=result.details)
        ArrayProgress(elements.walk, elements.frame, elements.run, elements.node).advance(elements.array)

    def cache_answered(self, walk: Walk, frame: Frame, run: NodeRun, event: CacheEvent) -> None:
        """Elements are there or not, one may be made, or what one came to was put."""
        array, node, index = run.array, event.ref.node, event.ref.element
        if array is None:
            return
        elements = Elements(walk, frame, run, node)
        element = array.under_way.get(index)
        # One that waits for no reservation has ended, or runs, or will when there is a slot.
        waits = element is not None and element.cache is not None and element.cache.waits
        match event:
            case ElementsLookedUp() if array.looking:
                looked_up(elements, event)
                ArrayProgress(walk, frame, run, node).advance(array)
            case Kept() if (result := kept(elements, index, event)) is not None:
                self._end(elements, index, result)
            case LookedUp() if waits:
                hit(elements, [event])
                ArrayProgress(walk, frame, run, node).advance(array)
            case ReservationHeld() if waits:
                held(elements, index, event)
                rest(elements)
            case Reserved() if waits and reserved(elements, index, event):
                _launch_reserved(elements, index)
            case _:
                return

    def called_in(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        """There is a slot: elements that have their reservations run, unless they have ended meanwhile."""
        array = run.array
        if array is None or not array.lacking:
            walk.offer_slot()
            return
        elements = Elements(walk, frame, run, node)
        if wake(elements):
            lacking, array.lacking = array.lacking, []
            for index in lacking:
                _launch_reserved(elements, index)

    def task_failed(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskFailed) -> None:
        """An attempt of an element has failed."""
        index, node = event.ref.element, event.ref.node
        if run.array is None or run.array.element(index, event.ref.attempt) is None:
            return
        elements = Elements(walk, frame, run, node)
        elements.forget(index)
        launch = elements.fail_attempt(index, event.failure, event.at, deck_uri=event.deck_uri, details=event.details)
        _command(walk, launch)
        ArrayProgress(walk, frame, run, node).advance(elements.array)

    def task_became_dynamic(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskBecameDynamic) -> None:
        """An attempt of an element has made a workflow."""
        index, node = event.ref.element, event.ref.node
        element = None if run.array is None else run.array.element(index, event.ref.attempt)
        if element is not None:
            elements = Elements(walk, frame, run, node)
            elements.forget(index)
            element.started_at = element.started_at or event.at
            elements.became_dynamic(index, element, event.plan, event.futures_uri, event.details)

    def child_succeeded(
        self,
        walk: Walk,
        frame: Frame,
        run: NodeRun,
        node: int,
        child: Frame,
        values: dict[str, Value],
        outputs: bytes | None,
        output_uri: str | None,
    ) -> None:
        """The frame of an element is done."""
        elements = Elements(walk, frame, run, node)
        result = Result(walk.now, values, outputs, output_uri, of_frame=True)
        if elements.array.under_way[child.element].cache is not None:
            keep(elements, child.element, result)
        else:
            self._end(elements, child.element, result)

    def child_failed(self, walk: Walk, frame: Frame, run: NodeRun, node: int, child: Frame, failure: Failure) -> None:
        """The frame of an element has failed, and so has the element; a dynamic task alone is tried again, after a
        timeout inside of what it made."""
        elements = Elements(walk, frame, run, node)
        if elements.spec.runs_attempts and NodePhase.TIMED_OUT in child.phases:
            _command(walk, elements.fail_attempt(child.element, replace(failure, retryable=True), walk.now))
        else:
            elements.fail(child.element, failure, walk.now)
        ArrayProgress(walk, frame, run, node).advance(elements.array)

    def explain(self, view: View, frame: Frame, run: NodeRun, node: int, answer: why_pb2.NodeAnswer) -> None:
        """How many elements have ended, run and wait, and which run."""
        explain_array(view, frame, run, node, answer)

    def inside(self, view: View, frame: Frame, run: NodeRun, node: int) -> Iterable[Place]:
        """Nodes inside the frames of elements."""
        return inside_elements(view, run)


def _restore_frames(walk: Walk, frame: Frame, run: NodeRun, node: int, row: NodeRow) -> list[Frame]:
    """Frames of the elements under way. What was picked for them stands in the rows of their start nodes."""
    array = run.array
    assert array is not None, "the array is open"
    element_plan = array.spec.element
    values = stored_values(row.inputs, row.input_uri, array.spec.input_names)
    frames: list[Frame] = []
    for stored in walk.stored_elements.get(run.node_id, ()):
        element = array.under_way.get(stored.element)
        if element is None:
            continue
        if isinstance(element_plan, Plan):
            plan, inputs = element_plan, dict(values)
        elif stored.is_dynamic:
            plan, inputs = walk.dynamic_plans[stored.dynamic_id, stored.attempt], {}
        else:
            continue
        child = walk.state.open_frame(plan, parent=frame, parent_node=node, element=stored.element)
        child.outputs[START] = inputs
        element.child = child.number
        frames.append(child)
    return frames


def _name(walk: Walk, run: NodeRun) -> None:
    run.generated_name = generated_name(walk.state.name, run.node_id, run.attempt)


def _launch_reserved(elements: Elements, index: int) -> None:
    """The element has its reservation, and the array its slot."""
    element = elements.array.under_way[index]
    assert element.cache is not None, "it has a reservation"
    element.cache.lacks_slot = False
    elements.walk.effects.commands.append(elements.launch(index, is_repeat=element.may_have_begun))


def _command(walk: Walk, launch: Launch | None) -> None:
    if launch is not None:
        walk.effects.commands.append(launch)
