"""What tasks of the simulation are and do: the plugin that builds their requests, and the programs the machine runs."""

import hashlib
from collections.abc import Mapping, Sequence

from flyteidl.core import errors_pb2, literals_pb2, tasks_pb2

from tests.property.workflows import task_result, total
from tests.simulation.faults import FaultPlan
from tests.simulation.programs import INPUT, OUTPUT, Style, Task
from tests.simulation.render import futures, integer
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.values import split_literal_map
from wingbeat_propeller.ports.runtime import Ended
from wingbeat_propeller.ports.tasks import AttemptOrigin, ContainerRequest, InstantRequest, RuntimeRequest, TaskContext

_NAME_OF_INDEX = "BATCH_JOB_ARRAY_INDEX_VAR_NAME"
LARGE_BYTES = 70_000
"""More than a row takes."""
_PADDING = literals_pb2.Literal(
    scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value="x" * LARGE_BYTES))
)


class SimulatedTasks:
    """Tasks by name, and how their attempts end: as their behaviour says, or by the system's fault as `plan` and `seed`
    say. Satisfies ports.TaskPlugin and machine.Programs."""

    task_types: Sequence[str] = (Style.CONTAINER, Style.INSTANT)

    def __init__(self, seed: int, plan: FaultPlan, objects: dict[str, bytes]) -> None:
        self._seed = seed
        self._plan = plan
        self._objects = objects
        self._started = 0
        self.tasks: dict[str, Task] = {}
        self.origins: dict[str, AttemptOrigin] = {}
        """Where attempts belong, by name."""
        self._instant: dict[str, str] = {}

    def outcome(self, execution: str, node_id: str, task: Task, attempt: int) -> str:
        """How an attempt ends: always the same. `node_id`: of an element of an array `element_id` of it."""
        if task.hangs:
            return "hang"
        if self._plan.attempt_failed_by_system and not task.is_safe:
            place = f"{self._seed}/{execution}/{node_id}/{attempt}".encode()
            roll = int.from_bytes(hashlib.blake2b(place, digest_size=4).digest(), "big") / 2**32
            if roll < self._plan.attempt_failed_by_system:
                return "system"
        return task.behaviour.of(attempt)

    # ---- the plugin ----

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """Tasks that start no program compute their outputs here."""
        return template.type == Style.INSTANT

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> RuntimeRequest:
        """The request of an attempt."""
        self.origins[context.name] = context.origin
        task = self.tasks[template.id.name]
        if task.style is Style.CONTAINER:
            argv = [task.name, context.input_uri, context.output_prefix]
            return ContainerRequest(context.name, "image", argv, context.envs, origin=context.origin)
        self._instant[context.name] = task.name
        end = self.outcome(context.execution_name, _place(context.origin), task, context.attempt)
        if end == "ok":
            assert inputs is not None, "asked for"
            delay_s = task.duration_s if task.style is Style.ENGINE else 0.0
            return InstantRequest(context.name, _outputs(task, total(inputs[INPUT])), delay_s=delay_s)
        return InstantRequest(context.name, failure=_failure(end))

    # ---- the programs ----

    def duration_s(self, request: RuntimeRequest, origin: AttemptOrigin) -> float | None:
        """Longer or shorter from attempt to attempt, by chance of its place."""
        task = self._task(request)
        if task.hangs:
            return None
        if task.style is not Style.CONTAINER:
            return 0.0
        self._started += 1
        return task.duration_s * (0.5 + self._started % 7 / 7)

    def finish(self, request: RuntimeRequest, origin: AttemptOrigin, at: float) -> Ended:
        """The end of an attempt, with its files in place."""
        if isinstance(request, InstantRequest):
            return Ended(request.name, at, request.failure, None if request.failure else request.outputs)
        task = self._task(request)
        _, inputs, output_prefix = request.argv
        end = self.outcome(origin.execution, _place(origin), task, origin.attempt)
        if end == "system":
            return Ended(request.name, at, _failure(end))
        if end == "ok":
            literal = split_literal_map(self._objects[inputs])[INPUT]
            if task.reads_lists:
                items = literals_pb2.Literal.FromString(literal).collection.literals
                literal = items[int(request.env[request.env[_NAME_OF_INDEX]])].SerializeToString()
            self._leave(task, total(literal), output_prefix)
        else:
            kind = errors_pb2.ContainerError.RECOVERABLE if end == "user" else errors_pb2.ContainerError.NON_RECOVERABLE
            error = errors_pb2.ContainerError(code="E", message=end, kind=kind, origin=1)
            self._objects[f"{output_prefix}/error.pb"] = errors_pb2.ErrorDocument(error=error).SerializeToString()
        return Ended(request.name, at)

    def is_serialized(self, request: RuntimeRequest) -> bool:
        """Whether of the calls of its task one runs at a time."""
        task = self._task(request)
        return task.is_cached and task.is_serialized

    def _leave(self, task: Task, given: int, output_prefix: str) -> None:
        if task.makes is None:
            self._objects[f"{output_prefix}/outputs.pb"] = _outputs(task, given)
        else:
            self._objects[f"{output_prefix}/futures.pb"] = futures(task.makes, given).SerializeToString()

    def _task(self, request: RuntimeRequest) -> Task:
        name = request.argv[0] if isinstance(request, ContainerRequest) else self._instant[request.name]
        return self.tasks[name]


def element_id(node_id: str, element: int) -> str:
    """How an element of an array is called here."""
    return f"{node_id}[{element}]"


def _place(origin: AttemptOrigin) -> str:
    return origin.node_id if origin.element < 0 else element_id(origin.node_id, origin.element)


class EngineTasksPlugin:
    """The same for tasks that the engine carries out itself."""

    task_types: Sequence[str] = (Style.ENGINE,)
    runs_in_engine = True

    def __init__(self, tasks: SimulatedTasks) -> None:
        self.build = tasks.build

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """Always."""
        return True


def _outputs(task: Task, given: int) -> bytes:
    literal = integer(task_result(task.name, given))
    if task.is_large:
        literal = literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=[literal, _PADDING]))
    return literals_pb2.LiteralMap(literals={OUTPUT: literal}).SerializeToString()


def _failure(end: str) -> Failure:
    kind = ErrorKind.SYSTEM if end == "system" else ErrorKind.USER
    return Failure(kind, "E", end, retryable=end != "fatal")
