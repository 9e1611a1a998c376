"""What follows when something about an array node has changed: more elements begin, or the node ends.

`kinds.array` calls this for each event; `kinds.array_elements` carries out what concerns one element.
"""

from collections.abc import Callable, Mapping, Sequence

from flyteidl.admin import task_execution_pb2

from wingbeat_propeller.core.array_inputs import ArrayInputs, OffloadedError, take_apart
from wingbeat_propeller.core.array_outputs import small_collections
from wingbeat_propeller.core.array_run import ArrayRun
from wingbeat_propeller.core.bindings import NeedsContentError
from wingbeat_propeller.core.effects import Gather, Launch, OpenArray, RecallElements
from wingbeat_propeller.core.kinds.array_cache import look_up_next, rest, resume_cached
from wingbeat_propeller.core.kinds.array_elements import Elements
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import NodePhase, TaskPhase
from wingbeat_propeller.core.plan import ArraySpec
from wingbeat_propeller.core.reuse import inherited_elements
from wingbeat_propeller.core.rows import ElementRow
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.values import INLINE_BYTES_MAX, Value, build_literal_map, stored_values
from wingbeat_propeller.core.walk import AUTO_ABORT, Walk, ref_of

BEGUN_MAX = 500
"""Elements that begin in one step, however many may be under way; more begin in the next, which a timer brings about at
once."""
_PLUGIN = "k8s-array"
"""What Flyte's clients know the plugin of arrays by."""


class ArrayProgress:
    """One array node, for the time of a step."""

    __slots__ = ("frame", "node", "run", "spec", "walk")

    def __init__(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        self.walk = walk
        self.frame = frame
        self.run = run
        self.node = node
        self.spec = frame.plan.array(node)

    @property
    def elements(self) -> Elements:
        """Its elements; the array must be open."""
        return Elements(self.walk, self.frame, self.run, self.node)

    def look(self, values: Mapping[str, Value], inputs: bytes | None) -> None:
        """Find out how many elements there are. `inputs` are the same serialized, which must be stored first if the
        elements' programs read them."""
        opened = _take_apart(self.spec, values)
        to_store = inputs if self.spec.shares_inputs else None
        if opened is not None and (to_store is None or not isinstance(opened.size, int) or not opened.size):
            self.open(opened)
        else:
            self._ask(values, to_store)

    def open(self, inputs: ArrayInputs) -> None:
        """The lists are known: begin."""
        walk, run = self.walk, self.run
        size = inputs.size
        if isinstance(size, Failure):
            walk.fail(self.frame, run, self.node, size)
            return
        run.phase = NodePhase.RUNNING
        run.started_at = run.attempt_started_at = run.task_started_at = walk.now
        run.memo = b"%d" % size
        run.array = ArrayRun(self.spec, size, walk.state.settings.cache)
        run.array.open(inputs)
        walk.node_row(self.frame, run, self.node)
        walk.task_row(self.frame, run, self.node, TaskPhase.RUNNING, details=_details(run, run.array))
        if size:
            self._recall(run.array, after=-1)
        self.advance(run.array)

    def take_over(self, array: ArrayRun, rows: Sequence[ElementRow], *, is_last: bool) -> None:
        """Some elements that succeeded in the execution that is recovered; others are asked for unless `is_last`."""
        elements = self.elements
        for row in rows:
            if row.element < array.size and not array.phases[row.element]:
                elements.take_over(row)
        if not is_last:
            self._recall(array, after=rows[-1].element)
            return
        array.recalling = False
        inherited = inherited_elements(self.run.inherited)
        assert inherited is not None, "they were asked for"
        self.run.inherited = str(inherited._replace(are_known=True))
        self.walk.node_row(self.frame, self.run, self.node)
        self.advance(array)

    def reopen(self, array: ArrayRun, inputs: ArrayInputs) -> None:
        """After a restart the lists are known again."""
        if isinstance(inputs.size, Failure):
            self.fail(inputs.size)
            return
        array.open(inputs)
        self._ask_again(array, self.walk.effects.commands.append)

    def resume(self, inputs: bytes | None) -> None:
        """Go on after a restart; `inputs` as stored in the row."""
        values = stored_values(inputs, inputs_uri(self.run), self.spec.input_names)
        array = self.run.array
        if array is None:
            self.look(values, inputs)
        elif array.is_over:
            self.advance(array)
        else:
            self._recall(array, after=array.last_begun)
            # Programs that read whole lists need nothing more of them; other elements must be given theirs.
            reads = self.spec.picks or self.spec.cached is not None
            opened = _take_apart(self.spec, values) if reads else ArrayInputs(array.size, {}, {})
            if opened is None:
                self._ask(values, None)
            else:
                array.open(opened)
                self._ask_again(array, self.walk.effects.adopt.append)

    def advance(self, array: ArrayRun) -> None:
        """Something has changed: end the node, or begin as many elements as may be under way."""
        if array.is_lost and (array.is_over or not self.spec.runs_all):
            self.fail(_failure(array))
        elif not array.is_over:
            self._fill(array, self.walk.effects.commands.append)
            rest(self.elements)
        elif not array.gathering:
            self._gather(array)

    def succeed(self, values: dict[str, Value], outputs: bytes | None, output_uri: str | None) -> None:
        """The outputs are put together."""
        walk, frame, run, node = self.walk, self.frame, self.run, self.node
        walk.task_row(frame, run, node, TaskPhase.SUCCEEDED, ended_at=walk.now)
        walk.succeed(frame, run, node, values, outputs=outputs, output_uri=output_uri)

    def fail(self, failure: Failure) -> None:
        """The array has failed; what is under way is aborted."""
        walk, frame, run, node = self.walk, self.frame, self.run, self.node
        if run.array is not None:
            self.elements.stop_all(AUTO_ABORT)
            walk.task_row(frame, run, node, TaskPhase.FAILED, ended_at=walk.now, failure=failure)
        walk.fail(frame, run, node, failure)

    def _ask(self, values: Mapping[str, Value], to_store: bytes | None) -> None:
        ref = ref_of(self.frame, self.run, self.node)
        self.walk.effects.reads.append(OpenArray(ref, self.spec, values, inputs_uri(self.run), to_store))

    def _ask_again(self, array: ArrayRun, launch: Callable[[Launch], None]) -> None:
        """After a restart: ask for every attempt that may have been under way."""
        elements = self.elements
        for index, element in array.under_way.items():
            if element.retry_at is not None and element.retry_at <= self.walk.now:
                element.retry_at = None
            elements.watch(element)
            resume_cached(elements, index, element)
            if self.spec.runs_attempts and element.retry_at is None and element.child is None:
                launch(elements.launch(index, is_repeat=True))
        array.repeats = max(0, self._concurrency() * (1 + array.caches) - len(array.under_way))
        self._fill(array, launch, is_restart=True)

    def _fill(self, array: ArrayRun, launch: Callable[[Launch], None], *, is_restart: bool = False) -> None:
        """Let elements begin while there is room. The first ones after a restart may have begun before."""
        if not array.is_open or array.recalling:
            return
        walk, elements = self.walk, self.elements
        limit = self._concurrency()
        while array.next < array.looked_up and array.has_room(limit):
            if walk.elements_begun >= min(BEGUN_MAX, self._elements_max()) and not is_restart:
                elements.wake(walk.now)
                return
            index = array.next
            array.next += 1
            if array.phases[index]:
                continue  # it had its turn before a restart, or needs none
            walk.elements_begun += 1
            is_repeat = array.repeats > 0
            array.repeats -= is_repeat
            attempt = elements.begin(index, is_repeat=is_repeat)
            if attempt is not None:
                launch(attempt)
        if array.next == array.looked_up:
            look_up_next(elements)

    def _concurrency(self) -> int:
        """Elements that may be under way at once."""
        return min(self._elements_max(), self.spec.parallelism or self._elements_max())

    def _elements_max(self) -> int:
        settings = self.walk.state.settings
        return settings.element_attempts_max if self.spec.runs_attempts else settings.elements_max

    def _recall(self, array: ArrayRun, *, after: int) -> None:
        """Ask for the elements of the array in the execution that is recovered, unless they are known."""
        inherited = inherited_elements(self.run.inherited)
        if inherited is not None and not inherited.are_known:
            array.recalling = True
            ref = ref_of(self.frame, self.run, self.node)
            self.walk.effects.reads.append(RecallElements(ref, inherited.array_id, after))

    def _gather(self, array: ArrayRun) -> None:
        names = self.spec.output_names
        values = small_collections(names, array.outputs, INLINE_BYTES_MAX)
        data = None if values is None else build_literal_map(values)
        if values is not None and data is not None and len(data) <= INLINE_BYTES_MAX:
            self.succeed(dict(values), data, None)
            return
        array.gathering = True
        ref = ref_of(self.frame, self.run, self.node)
        self.walk.effects.reads.append(Gather(ref, names, array.outputs, outputs_uri(self.run)))


def inputs_uri(run: NodeRun) -> str:
    """Where an array's inputs lie, if they are stored."""
    return f"{run.data_dir}/inputs.pb"


def outputs_uri(run: NodeRun) -> str:
    """Where its collections lie, if they are stored."""
    return f"{run.output_dir}/outputs.pb"


def _take_apart(spec: ArraySpec, values: Mapping[str, Value]) -> ArrayInputs | None:
    """None when something must be read first."""
    try:
        return take_apart(spec, values)
    except (NeedsContentError, OffloadedError):
        return None


def _failure(array: ArrayRun) -> Failure:
    if array.failed:
        return array.failures.failure()
    text = f"{array.needed} elements must succeed, but there are {array.size}"
    return Failure(ErrorKind.USER, "MinimumSuccessesNotPossible", text)


def _details(run: NodeRun, array: ArrayRun) -> bytes:
    """What readers of the node's task execution must know of an array, its size above all."""
    closure = task_execution_pb2.TaskExecutionClosure(event_version=1)
    closure.metadata.generated_name = run.generated_name
    closure.metadata.plugin_identifier = _PLUGIN
    closure.custom_info["size"] = array.size
    if array.spec.maps_launch_plan:
        closure.custom_info["launch_plan"] = array.spec.name
    return closure.SerializeToString()
