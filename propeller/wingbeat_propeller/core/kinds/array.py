"""Array nodes: one task, or one plan, for each item of the lists among the inputs.

Elements begin in the order of their indexes, as many at a time as the node's parallelism and `Settings.elements_max`
allow, and the next ones as others end; so neither memory nor a commit grows with the length of the lists. The node
succeeds once every element has ended and enough have succeeded; it fails as soon as too many have failed, or, if it is
to run all, once every element has ended. Its outputs are collections in which a failed element is none.

After a restart the rows of elements tell what has ended and what ran. Tasks whose turn had come have no row until they
run: as the order is fixed, they are among the first that have not ended, and those are asked for in the runtime.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from flyteidl.admin import task_execution_pb2

from wingbeat_propeller.core.array_inputs import ArrayInputs, OffloadedError, take_apart
from wingbeat_propeller.core.array_outputs import small_collections
from wingbeat_propeller.core.array_run import ArrayRun
from wingbeat_propeller.core.bindings import NeedsContentError
from wingbeat_propeller.core.effects import Gather, Launch, OpenArray
from wingbeat_propeller.core.events import (
    ArrayOpened,
    Gathered,
    TaskBecameDynamic,
    TaskFailed,
    TaskStarted,
    TaskSucceeded,
)
from wingbeat_propeller.core.ids import generated_name, unique_node_id
from wingbeat_propeller.core.kinds.array_elements import Elements
from wingbeat_propeller.core.kinds.base import Kind
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import NodePhase, TaskPhase
from wingbeat_propeller.core.plan import START, ArraySpec, Plan
from wingbeat_propeller.core.rows import NodeRow
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.values import (
    INLINE_BYTES_MAX,
    Value,
    build_literal_map,
    stored_values,
)
from wingbeat_propeller.core.waiting import NAMED_MAX, Place, View, moment
from wingbeat_propeller.core.walk import AUTO_ABORT, Walk, ref_of
from wingbeatidl.query.v1 import why_pb2

BEGUN_MAX = 500
"""Elements that begin in one step, however many may be under way; more begin in the next, which a timer brings about at
once."""
_PLUGIN = "k8s-array"
"""What Flyte's clients know the plugin of arrays by."""


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
        input_uri = None if inputs is not None and not _shares(spec) else _inputs_uri(run)
        run.phase = NodePhase.QUEUED
        walk.node_row(frame, run, node, inputs=inputs, input_uri=input_uri)
        self._look(walk, frame, run, node, values, inputs)

    def answered(self, walk: Walk, frame: Frame, run: NodeRun, event: ArrayOpened | Gathered) -> None:
        """The lists are known, or the outputs are put together."""
        node = event.ref.node
        if isinstance(event, Gathered):
            if run.array is not None and run.array.gathering:
                self._succeed(walk, frame, run, node, event.values, event.serialized, f"{run.output_dir}/outputs.pb")
        elif run.array is None:
            self._open(walk, frame, run, node, event.inputs)
        elif not run.array.is_open:  # after a restart
            if isinstance(event.inputs.size, Failure):
                self._fail(walk, frame, run, node, event.inputs.size)
                return
            run.array.open(event.inputs)
            self._resume_elements(walk, frame, run, node, walk.effects.commands.append)

    def unanswered(self, walk: Walk, frame: Frame, run: NodeRun, node: int, failure: Failure) -> None:
        """Inputs cannot be read, or outputs cannot be stored: permanent."""
        if run.array is None or not run.array.is_open or run.array.gathering:
            self._fail(walk, frame, run, node, failure)

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
        array = run.array = ArrayRun(spec, int(row.memo))
        for element in stored:
            array.restore(element)
        return _restore_frames(walk, frame, run, node, row)

    def resume(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: bytes | None) -> None:
        """Ask the runtime for the attempts that were under way, and go on."""
        spec = frame.plan.array(node)
        walk.timers(frame, run, node)
        values = stored_values(inputs, _inputs_uri(run), spec.input_names)
        array = run.array
        if array is None:
            self._look(walk, frame, run, node, values, inputs)
        elif array.is_over:
            self._advance(walk, frame, run, node)
        elif spec.picks:
            opened = _take_apart(spec, values)
            if opened is None:
                walk.effects.reads.append(_open_array(frame, run, node, spec, values, None))
            else:
                array.open(opened)
                self._resume_elements(walk, frame, run, node, walk.effects.adopt.append)
        else:
            array.open(ArrayInputs(array.size, {}, {}))
            self._resume_elements(walk, frame, run, node, walk.effects.adopt.append)

    def woken(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        """Pauses of elements are over, elements have come to their deadline, or more of them may begin."""
        array = run.array
        if array is None:
            return
        array.wake_at = None
        elements = Elements(walk, frame, run, node)
        timeout_s = array.spec.timeout_s
        for index, element in list(array.under_way.items()):
            if timeout_s and element.deadline(timeout_s) <= walk.now:
                _command(walk, elements.expire(index, element))
            elif element.retry_at is not None and element.retry_at <= walk.now:
                _command(walk, elements.retry(index, element))
        self._advance(walk, frame, run, node)
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
        elements.forget(index)
        outputs = event.serialized
        elements.succeed(index, elements.outputs_uri(index) if outputs is None else outputs, event.at, event.details)
        self._advance(walk, frame, run, node)

    def task_failed(self, walk: Walk, frame: Frame, run: NodeRun, event: TaskFailed) -> None:
        """An attempt of an element has failed."""
        index, node = event.ref.element, event.ref.node
        if run.array is None or run.array.element(index, event.ref.attempt) is None:
            return
        elements = Elements(walk, frame, run, node)
        elements.forget(index)
        _command(walk, elements.fail_attempt(index, event.failure, event.at, event.details))
        self._advance(walk, frame, run, node)

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
        stored = output_uri if outputs is None else outputs
        Elements(walk, frame, run, node).succeed(child.element, stored, walk.now)
        self._advance(walk, frame, run, node)

    def child_failed(self, walk: Walk, frame: Frame, run: NodeRun, node: int, child: Frame, failure: Failure) -> None:
        """The frame of an element has failed, and so has the element; a dynamic task alone is tried again, after a
        timeout inside of what it made."""
        elements = Elements(walk, frame, run, node)
        if elements.spec.runs_attempts and NodePhase.TIMED_OUT in child.phases:
            _command(walk, elements.fail_attempt(child.element, replace(failure, retryable=True), walk.now))
        else:
            elements.fail(child.element, failure, walk.now)
        self._advance(walk, frame, run, node)

    def explain(self, view: View, frame: Frame, run: NodeRun, node: int, answer: why_pb2.NodeAnswer) -> None:
        """How many elements have ended, run and wait, and which run."""
        array = run.array
        if array is None:
            answer.standing = why_pb2.STANDING_PREPARING
            answer.reasons.add(preparation=why_pb2.Preparation())
            return
        running = [index for index, element in array.under_way.items() if element.started_at is not None]
        pauses = [element.retry_at for element in array.under_way.values() if element.retry_at is not None]
        answer.standing = why_pb2.STANDING_RUNNING if running or array.gathering else why_pb2.STANDING_QUEUED
        answer.reasons.add(
            elements=why_pb2.Elements(
                pausing=len(pauses),
                pause_ends=moment(min(pauses)) if pauses else None,
                gathering=array.gathering,
                total=array.size,
                succeeded=array.succeeded,
                failed=array.failed,
                under_way=len(array.under_way),
                waiting=array.size - array.succeeded - array.failed - len(array.under_way),
                concurrency=array.spec.parallelism,
                successes_min=array.needed,
                running=[_holder(view, frame, run, node, array, index) for index in running[:NAMED_MAX]],
            )
        )

    def inside(self, view: View, frame: Frame, run: NodeRun, node: int) -> Iterable[Place]:
        """Nodes inside the frames of elements."""
        for element in run.array.under_way.values() if run.array is not None else ():
            child = view.state.frames.get(element.child) if element.child is not None else None
            if child is not None:
                yield from view.live_in(child)

    # ---- what follows ----

    def _look(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, values: Mapping[str, Value], inputs: bytes | None
    ) -> None:
        """Find out how many elements there are; `inputs` must be stored first if their programs read them."""
        spec = frame.plan.array(node)
        opened = _take_apart(spec, values)
        to_store = inputs if _shares(spec) else None
        if opened is not None and (to_store is None or not isinstance(opened.size, int) or not opened.size):
            self._open(walk, frame, run, node, opened)
        else:
            walk.effects.reads.append(_open_array(frame, run, node, spec, values, to_store))

    def _open(self, walk: Walk, frame: Frame, run: NodeRun, node: int, inputs: ArrayInputs) -> None:
        size = inputs.size
        if isinstance(size, Failure):
            walk.fail(frame, run, node, size)
            return
        run.phase = NodePhase.RUNNING
        run.started_at = run.attempt_started_at = run.task_started_at = walk.now
        run.memo = b"%d" % size
        run.array = ArrayRun(frame.plan.array(node), size)
        run.array.open(inputs)
        walk.node_row(frame, run, node)
        walk.task_row(frame, run, node, TaskPhase.RUNNING, details=_details(run, run.array))
        self._advance(walk, frame, run, node)

    def _advance(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        """Something has changed: end the node, or begin as many elements as may be under way."""
        array = run.array
        assert array is not None, "the array is open"
        if array.is_lost and (array.is_over or not array.spec.runs_all):
            self._fail(walk, frame, run, node, _failure(array))
        elif not array.is_over:
            self._fill(walk, frame, run, node, walk.effects.commands.append)
        elif not array.gathering:
            self._gather(walk, frame, run, node, array)

    def _fill(
        self,
        walk: Walk,
        frame: Frame,
        run: NodeRun,
        node: int,
        launch: Callable[[Launch], None],
        *,
        is_repeat: bool = False,
    ) -> None:
        """Let elements begin while there is room. After a restart (`is_repeat`) as many as may have begun before."""
        array = run.array
        assert array is not None, "the array is open"
        if not array.is_open:
            return
        elements = Elements(walk, frame, run, node)
        elements_max = walk.state.settings.elements_max
        limit = min(elements_max, array.spec.parallelism or elements_max)
        while array.next < array.size and len(array.under_way) < limit:
            if walk.elements_begun >= min(BEGUN_MAX, elements_max) and not is_repeat:
                elements.wake(walk.now)
                return
            index = array.next
            array.next += 1
            if array.phases[index]:
                continue  # it had its turn before a restart
            walk.elements_begun += 1
            attempt = elements.begin(index, is_repeat=is_repeat)
            if attempt is not None:
                launch(attempt)

    def _gather(self, walk: Walk, frame: Frame, run: NodeRun, node: int, array: ArrayRun) -> None:
        names = array.spec.output_names
        values = small_collections(names, array.outputs, INLINE_BYTES_MAX)
        data = None if values is None else build_literal_map(values)
        if values is not None and data is not None and len(data) <= INLINE_BYTES_MAX:
            self._succeed(walk, frame, run, node, dict(values), data, None)
            return
        array.gathering = True
        uri = f"{run.output_dir}/outputs.pb"
        walk.effects.reads.append(Gather(ref_of(frame, run, node), names, array.outputs, uri))

    def _succeed(
        self,
        walk: Walk,
        frame: Frame,
        run: NodeRun,
        node: int,
        values: dict[str, Value],
        outputs: bytes | None,
        output_uri: str | None,
    ) -> None:
        walk.task_row(frame, run, node, TaskPhase.SUCCEEDED, ended_at=walk.now)
        walk.succeed(frame, run, node, values, outputs=outputs, output_uri=output_uri)

    def _fail(self, walk: Walk, frame: Frame, run: NodeRun, node: int, failure: Failure) -> None:
        if run.array is not None:
            Elements(walk, frame, run, node).stop_all(AUTO_ABORT)
            walk.task_row(frame, run, node, TaskPhase.FAILED, ended_at=walk.now, failure=failure)
        walk.fail(frame, run, node, failure)

    def _resume_elements(
        self, walk: Walk, frame: Frame, run: NodeRun, node: int, launch: Callable[[Launch], None]
    ) -> None:
        """After a restart: ask for every attempt that may have been under way."""
        array = run.array
        assert array is not None, "the array is open"
        elements = Elements(walk, frame, run, node)
        for index, element in array.under_way.items():
            if element.retry_at is not None and element.retry_at <= walk.now:
                element.retry_at = None
            elements.watch(element)
            if array.spec.runs_attempts and element.retry_at is None and element.child is None:
                launch(elements.launch(index, is_repeat=True))
        self._fill(walk, frame, run, node, launch, is_repeat=True)


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


def _take_apart(spec: ArraySpec, values: Mapping[str, Value]) -> ArrayInputs | None:
    """None when something must be read first."""
    try:
        return take_apart(spec, values)
    except (NeedsContentError, OffloadedError):
        return None


def _open_array(
    frame: Frame, run: NodeRun, node: int, spec: ArraySpec, values: Mapping[str, Value], inputs: bytes | None
) -> OpenArray:
    return OpenArray(ref_of(frame, run, node), spec, values, _inputs_uri(run), inputs)


def _failure(array: ArrayRun) -> Failure:
    if array.failed:
        return array.failures.failure()
    text = f"{array.needed} elements must succeed, but there are {array.size}"
    return Failure(ErrorKind.USER, "MinimumSuccessesNotPossible", text)


def _holder(view: View, frame: Frame, run: NodeRun, node: int, array: ArrayRun, index: int) -> why_pb2.Holder:
    """An element as who runs."""
    started_at = array.under_way[index].started_at
    holder = view.holder(run, frame.plan.names[node])
    holder.node_id = unique_node_id(run.node_id, run.attempt, f"n{index}")
    holder.attempt = array.attempts[index]
    if started_at is not None:
        holder.since.CopyFrom(moment(started_at))
    return holder


def _shares(spec: ArraySpec) -> bool:
    """Whether all elements read one inputs.pb, that of the array."""
    return spec.runs_attempts and not spec.picks


def _inputs_uri(run: NodeRun) -> str:
    return f"{run.data_dir}/inputs.pb"


def _name(walk: Walk, run: NodeRun) -> None:
    run.generated_name = generated_name(walk.state.name, run.node_id, run.attempt)


def _command(walk: Walk, launch: Launch | None) -> None:
    if launch is not None:
        walk.effects.commands.append(launch)


def _details(run: NodeRun, array: ArrayRun) -> bytes:
    """What readers of the node's task execution must know of an array, its size above all."""
    closure = task_execution_pb2.TaskExecutionClosure(event_version=1)
    closure.metadata.generated_name = run.generated_name
    closure.metadata.plugin_identifier = _PLUGIN
    closure.custom_info["size"] = array.size
    if array.spec.maps_launch_plan:
        closure.custom_info["launch_plan"] = array.spec.name
    return closure.SerializeToString()
