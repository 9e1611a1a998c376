"""What a task plugin gets and what it builds: the runtime request of one attempt.

What is made for every attempt is a NamedTuple: a frozen dataclass costs five times as much to make.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, TypeAlias

from flyteidl.core import tasks_pb2

from wingbeat_propeller.compiler.resources import PlatformResources
from wingbeat_propeller.container_files import ContainerFiles
from wingbeat_propeller.core.outcome import Failure

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_NO_RESOURCES: Final = PlatformResources()


class AttemptOrigin(NamedTuple):
    """Which attempt of which node asked for a request: enough to find out whether it is still wanted."""

    project: str
    domain: str
    execution: str
    node_id: str
    """Of the array, for an element of one."""
    attempt: int
    element: int = -1


class TaskContext(NamedTuple):
    """Everything that a plugin needs to build the runtime request of one attempt, be it of a task node or of an element
    of an array node."""

    execution_project: str
    execution_domain: str
    execution_name: str
    workflow_name: str
    node_id: str
    attempt: int
    name: str
    """Deterministic name of this attempt in the runtime (core.ids.attempt_name)."""
    generated_name: str
    """The name that containers know the attempt by (core.ids.generated_name)."""
    input_uri: str
    """inputs.pb; written before the request is launched."""
    input_prefix: str
    output_prefix: str
    raw_output_prefix: str
    checkpoint_prefix: str
    previous_checkpoint_prefix: str
    """Empty when no earlier attempt left a checkpoint."""
    envs: Mapping[str, str] = _NOTHING
    """Environment asked for by the execution."""
    labels: Mapping[str, str] = _NOTHING
    annotations: Mapping[str, str] = _NOTHING
    interruptible: bool = False
    timeout_s: float | None = None
    resources: PlatformResources = _NO_RESOURCES
    """Defaults and limits that hold for the containers of the execution."""
    array_id: str = ""
    """Unique id of the array node, for an element."""
    element: int = -1

    @property
    def origin(self) -> AttemptOrigin:
        """What a request says about where it belongs."""
        return AttemptOrigin(
            self.execution_project,
            self.execution_domain,
            self.execution_name,
            self.array_id or self.node_id,
            self.attempt,
            self.element,
        )


class ContainerRequest(NamedTuple):
    """One container to run. `argv` is rendered command and args; `env` is complete and ordered, later wins."""

    name: str
    image: str
    argv: Sequence[str]
    env: Mapping[str, str]
    memory_limit_bytes: int | None = None
    cpu_limit: float | None = None
    timeout_s: float | None = None
    origin: AttemptOrigin | None = None
    """None: nobody but the caller can tell when this attempt is not wanted any more."""
    labels: Mapping[str, str] = _NOTHING
    """Of the execution; a runtime puts them where its attempts can be found by them."""
    annotations: Mapping[str, str] = _NOTHING
    interruptible: bool = False
    files: ContainerFiles | None = None
    """Set when inputs come and outputs go as files: the runtime copies them, and leaves outputs.pb or error.pb."""
    inputs: bytes | None = None
    """The content of inputs.pb, where the runtime is to hand it over and that file need not exist."""


class InstantRequest(NamedTuple):
    """A task that needs no process: it succeeds with `outputs` (a serialized LiteralMap), or fails."""

    name: str
    outputs: bytes = b""
    failure: Failure | None = None
    delay_s: float = 0.0
    """How long it takes; only the engine's own tasks may take time."""


RuntimeRequest: TypeAlias = ContainerRequest | InstantRequest


class BadTaskError(Exception):
    """A plugin cannot build a request from this template; the task fails for good with `failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class TaskPlugin(Protocol):
    """Turns (template, inputs, context) into a runtime request. Found by task type, entry point `wingbeat.tasks`.

    One with a true attribute `runs_in_engine` builds InstantRequests only, cheaply: the engine does what they say by
    itself, its tasks need no room and no runtime hears of them.
    """

    task_types: Sequence[str]

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> RuntimeRequest:
        """`inputs` are serialized literals by name, None when they were too large to load and the plugin did not say
        `needs_inputs(template)`. Raises BadTaskError."""
        ...

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """Whether `build` looks at input values (for instance `{{.inputs.x}}` in an argument)."""
        ...
