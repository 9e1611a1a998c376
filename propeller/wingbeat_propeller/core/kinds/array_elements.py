"""Elements of array nodes, one by one: how they begin, are tried again and end. What follows for the array is for
`kinds.array` to say.

An element is a task, run as attempts, or a frame over a plan of its own. Either way its rows are few: one when it runs
and one when it ends, for each attempt.
"""

from wingbeat_propeller.core.array_inputs import element_inputs
from wingbeat_propeller.core.array_run import ArrayRun, ElementRun
from wingbeat_propeller.core.caching import Caching
from wingbeat_propeller.core.effects import Abort, Launch, NodeRef, SetTimer
from wingbeat_propeller.core.events import TimerKind
from wingbeat_propeller.core.folders import DECK_FILE
from wingbeat_propeller.core.ids import attempt_name, element_name, unique_node_id
from wingbeat_propeller.core.kinds.array_cache import begin_cached, let_go
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import TaskPhase
from wingbeat_propeller.core.plan import Plan, TaskSpec
from wingbeat_propeller.core.retry import GiveUp, decide_retry, stays_interruptible
from wingbeat_propeller.core.rows import ElementRow
from wingbeat_propeller.core.state import Frame, NodeRun
from wingbeat_propeller.core.walk import Walk, ref_of, serialized

INDEX_VARIABLE = "FLYTE_K8S_ARRAY_INDEX"
NAME_OF_INDEX_VARIABLE = "BATCH_JOB_ARRAY_INDEX_VAR_NAME"


class Elements:
    """The elements of one array node under way, for the time of a step."""

    __slots__ = ("array", "frame", "node", "run", "spec", "walk")

    def __init__(self, walk: Walk, frame: Frame, run: NodeRun, node: int) -> None:
        assert run.array is not None, "the array is open"
        self.walk = walk
        self.frame = frame
        self.run = run
        self.node = node
        self.array: ArrayRun = run.array
        self.spec = self.array.spec

    def begin(self, index: int, *, is_repeat: bool = False) -> Launch | None:
        """The element's turn has come. Returns the launch of its first attempt, if it is made of attempts."""
        now = self.walk.now
        element = self.array.under_way[index] = ElementRun(now, may_have_begun=is_repeat)
        plan = self.spec.element
        if isinstance(plan, TaskSpec):
            self.array.phases[index] = TaskPhase.QUEUED
            self.watch(element)
            if begin_cached(self, index, element):
                return None
            return self.launch(index, is_repeat=is_repeat)
        element.started_at = now
        self.array.phases[index] = TaskPhase.RUNNING
        self.watch(element)
        self._write(index, TaskPhase.RUNNING)
        self._open_frame(index, element, plan)
        return None

    def _open_frame(self, index: int, element: ElementRun, plan: Plan) -> None:
        picked = {var: items[index] for var, items in self.array.inputs.items.items()}
        child = self.walk.open_frame(
            plan,
            element_inputs(self.array.inputs, index),
            parent=self.frame,
            parent_node=self.node,
            element=index,
            outputs=serialized(dict(picked)),
        )
        element.child = child.number

    def launch(self, index: int, *, is_repeat: bool = False) -> Launch:
        """The current attempt of an element."""
        run, spec, array = self.run, self.spec, self.array
        settings = self.walk.state.settings
        task = spec.element
        assert isinstance(task, TaskSpec), "the element is made of attempts"
        attempt = array.attempts[index]
        name = element_name(run.generated_name, index, attempt)
        asked = spec.interruptible if spec.interruptible is not None else settings.interruptible
        interruptible = asked if asked is not None else self.frame.plan.interruptible_default
        interruptible = interruptible and stays_interruptible(
            attempt=attempt,
            system_failures=array.system_failures[index],
            attempts_max=spec.attempts_max,
            policy=settings.retry,
        )
        return Launch(
            ref=NodeRef(self.frame.number, self.node, attempt, index),
            name=attempt_name(self.walk.state.key, name),
            generated_name=name,
            node_id=unique_node_id(run.node_id, run.attempt, f"n{index}"),
            task=task,
            previous_generated_name=element_name(run.generated_name, index, attempt - 1) if attempt else None,
            inputs=serialized(element_inputs(array.inputs, index)) if spec.picks else None,
            data_dir=f"{run.output_dir}/{index}" if spec.picks else run.data_dir,
            output_dir=self._output_dir(index),
            timeout_s=spec.timeout_s or None,
            interruptible=interruptible,
            array_id=run.node_id,
            output_prefix=f"{run.output_dir}/{attempt}" if spec.appends_index else "",
            env={NAME_OF_INDEX_VARIABLE: INDEX_VARIABLE, INDEX_VARIABLE: str(index)},
            is_repeat=is_repeat,
            inherited=run.inherited,
        )

    def started(self, index: int, element: ElementRun, at: float, details: bytes | None) -> None:
        """First or renewed sign of life."""
        if element.started_at is None:
            element.started_at = at
            self.array.phases[index] = TaskPhase.RUNNING
            self.watch(element)
        task = self.spec.element
        announced = isinstance(task, TaskSpec) and task.wants_deck
        deck_uri = f"{self._output_dir(index)}/{DECK_FILE}" if announced else None
        self._write(index, TaskPhase.RUNNING, deck_uri=deck_uri, details=details)

    def became_dynamic(
        self, index: int, element: ElementRun, plan: Plan, futures_uri: str, details: bytes | None
    ) -> None:
        """The attempt has made a workflow, which runs in its place; its inner nodes take slots for themselves."""
        element.futures_uri = futures_uri
        self._write(index, TaskPhase.RUNNING, futures_uri=futures_uri, details=details)
        self.walk.release(self.run)
        child = self.walk.open_frame(plan, {}, parent=self.frame, parent_node=self.node, element=index)
        element.child = child.number

    def succeed(
        self,
        index: int,
        outputs: bytes | str | None,
        at: float,
        *,
        deck_uri: str | None = None,
        futures_uri: str | None = None,
        details: bytes | None = None,
    ) -> None:
        """The element is done. `outputs`: a serialized LiteralMap, or where it is stored."""
        is_inline = isinstance(outputs, bytes)
        self._write(
            index,
            TaskPhase.SUCCEEDED,
            ended_at=at,
            outputs=outputs if is_inline else None,
            output_uri=None if is_inline else outputs,
            deck_uri=deck_uri,
            futures_uri=futures_uri,
            details=details,
        )
        self.array.succeed(index, outputs)

    def take_over(self, source: ElementRow) -> None:
        """The element ends as it did in the execution that is recovered: well, with the same outputs."""
        index, now = source.element, self.walk.now
        cache = Caching(None, source.cache_status)
        self.array.under_way[index] = ElementRun(now, started_at=now, cache=cache)
        outputs = source.outputs if source.outputs is not None else source.output_uri
        self.walk.recovered_from(self.run.node_id, source.execution, source.node_id)
        self.succeed(
            index, outputs, now, deck_uri=source.deck_uri, futures_uri=source.futures_uri, details=source.details
        )

    def fail(
        self, index: int, failure: Failure, at: float, *, deck_uri: str | None = None, details: bytes | None = None
    ) -> None:
        """The element has failed for good."""
        let_go(self, index)
        self._write(index, TaskPhase.FAILED, ended_at=at, deck_uri=deck_uri, details=details, failure=failure)
        self.array.fail(index, failure)

    def fail_attempt(
        self, index: int, failure: Failure, at: float, *, deck_uri: str | None = None, details: bytes | None = None
    ) -> Launch | None:
        """An attempt has failed: returns the launch of the next one while the element's budgets last."""
        array = self.array
        is_system = failure.kind is ErrorKind.SYSTEM
        array.system_failures[index] += is_system
        decision = decide_retry(
            failure,
            attempt=array.attempts[index],
            system_failures=array.system_failures[index],
            attempts_max=self.spec.attempts_max,
            policy=self.walk.state.settings.retry,
            name=element_name(self.run.generated_name, index, array.attempts[index]),
        )
        if isinstance(decision, GiveUp):
            self.fail(index, decision.failure, at, deck_uri=deck_uri, details=details)
            return None
        retry_at = self.walk.now + decision.delay_s if decision.delay_s else None
        self._write(
            index,
            TaskPhase.RETRYABLE_FAILED,
            ended_at=at,
            retry_at=retry_at,
            deck_uri=deck_uri,
            details=details,
            failure=failure,
        )
        array.retry(index, retry_at)
        self.watch(array.under_way[index])
        if retry_at is not None or not array.is_open:
            return None  # later: after the pause, or once its inputs are known again
        return self.launch(index)

    def retry(self, index: int, element: ElementRun) -> Launch | None:
        """The pause before an attempt is over."""
        element.retry_at = None
        self.watch(element)
        return self.launch(index) if self.array.is_open else None

    def outputs_uri(self, index: int) -> str:
        """Where the current attempt leaves its outputs."""
        return f"{self._output_dir(index)}/outputs.pb"

    def forget(self, index: int) -> None:
        """The runtime may forget the current attempt once the rows of this step are durable."""
        self.walk.effects.ended.append(self._name(index))

    def expire(self, index: int, element: ElementRun) -> Launch | None:
        """The element has run for too long: its attempt, which may be followed by another, or all of them together."""
        now = self.walk.now
        reason = "Timeout in node"
        over_all = now >= element.queued_at + 2 * self.spec.timeout_s
        self._stop(index, element, reason)
        if over_all or not self.spec.runs_attempts:
            code = "Timeout" if over_all else "TimeoutExpired"
            self.fail(index, Failure(ErrorKind.USER, code, reason if over_all else self._expired()), now)
            return None
        failure = Failure(ErrorKind.USER, "TimeoutExpired", self._expired(), retryable=True)
        return self.fail_attempt(index, failure, now)

    def stop_all(self, reason: str) -> None:
        """Abort what is under way."""
        for index, element in self.array.under_way.items():
            is_waiting = element.waits
            let_go(self, index)
            self._stop(index, element, reason)
            if element.retry_at is not None or is_waiting:
                continue  # the attempt has not begun
            failure = Failure(ErrorKind.UNKNOWN, "Task Aborted", reason)
            self._write(index, TaskPhase.ABORTED, ended_at=self.walk.now, failure=failure)
        self.array.under_way.clear()

    def wake(self, at: float) -> None:
        """Let the array be woken at `at`, unless it will be earlier."""
        array = self.array
        if array.wake_at is None or at < array.wake_at:
            array.wake_at = at
            self.walk.effects.timers.append(SetTimer(ref_of(self.frame, self.run, self.node), at, TimerKind.WAKE))

    def watch(self, element: ElementRun) -> None:
        """Let the array be woken when the element's pause is over, or when it will have taken too long."""
        due_at = element.due_at(self.spec.timeout_s)
        if due_at is not None:
            self.wake(due_at)

    def abort(self, index: int) -> None:
        """Stop the current attempt, if there is one."""
        ref = NodeRef(self.frame.number, self.node, self.array.attempts[index], index)
        self.walk.effects.commands.append(Abort(ref, self._name(index)))

    def _stop(self, index: int, element: ElementRun, reason: str) -> None:
        if element.child is not None:
            self.walk.stop_frame(element.child, reason)
        elif element.retry_at is None:
            self.abort(index)

    def _output_dir(self, index: int) -> str:
        base, attempt = self.run.output_dir, self.array.attempts[index]
        return f"{base}/{attempt}/{index}" if self.spec.appends_index else f"{base}/{index}/{attempt}"

    def _name(self, index: int) -> str:
        name = element_name(self.run.generated_name, index, self.array.attempts[index])
        return attempt_name(self.walk.state.key, name)

    def _expired(self) -> str:
        return f"task execution timeout [{self.spec.timeout_s:g}s] expired"

    def _write(
        self,
        index: int,
        phase: TaskPhase,
        *,
        ended_at: float | None = None,
        retry_at: float | None = None,
        outputs: bytes | None = None,
        output_uri: str | None = None,
        deck_uri: str | None = None,
        futures_uri: str | None = None,
        details: bytes | None = None,
        failure: Failure | None = None,
    ) -> None:
        array = self.array
        element = array.under_way[index]
        self.walk.effects.elements.append(
            ElementRow(
                self.walk.state.key,
                self.run.node_id,
                index,
                array.attempts[index],
                phase,
                array.system_failures[index],
                element.queued_at,
                element.started_at if element.started_at is not None else ended_at,
                ended_at,
                retry_at,
                outputs,
                output_uri,
                deck_uri,
                futures_uri,
                details,
                0 if element.cache is None else element.cache.status,
                failure,
            )
        )
