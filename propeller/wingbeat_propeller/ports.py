"""Protocols the engine needs from the world; the shells that satisfy them live in postgres/, blobs/ and runtimes/."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from flyteidl.core import tasks_pb2

from wingbeat_propeller.core.outcome import Failure


class BlobNotFoundError(LookupError):
    """No object at that URI."""


class BlobTooLargeError(ValueError):
    """The object is larger than the caller allowed."""


class BlobAccessError(ValueError):
    """The URI is outside the store or malformed. Nothing was touched."""


@dataclass(frozen=True, slots=True)
class BlobStat:
    """What a store knows of an object: its size in bytes and, where known, the raw MD5 of its content (16 bytes)."""

    size: int
    md5: bytes | None = None


class Blobs(Protocol):
    """Objects by URI (`file:///...` or `s3://bucket/key`). Writes are atomic: a reader sees all of an object or none.

    Every method raises BlobAccessError for a URI outside the store, OSError for a failing store (worth a retry).
    """

    @property
    def base(self) -> str:
        """URI prefix of the container, no slash at the end."""
        ...

    async def stat(self, uri: str) -> BlobStat | None:
        """Size and digest, None when absent."""
        ...

    async def get(self, uri: str, size_max: int | None = None) -> bytes:
        """The whole object. Raises BlobNotFoundError, or BlobTooLargeError above `size_max` bytes."""
        ...

    async def put(self, uri: str, data: bytes) -> None:
        """Write or replace an object."""
        ...

    def open(self, uri: str, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        """Stream an object. Raises BlobNotFoundError at the first chunk."""
        ...

    async def put_stream(self, uri: str, chunks: AsyncIterator[bytes], *, size_max: int | None = None) -> BlobStat:
        """Write an object from a stream, keeping at most a few chunks in memory; an aborted stream leaves nothing.

        Raises BlobTooLargeError as soon as `size_max` is passed.
        """
        ...

    async def list(self, prefix_uri: str) -> Sequence[str]:
        """URIs of all objects below a prefix, sorted."""
        ...


@dataclass(frozen=True, slots=True)
class TaskContext:
    """Everything about one attempt of a task node that a plugin needs to build its runtime request."""

    execution_project: str
    execution_domain: str
    execution_name: str
    workflow_name: str
    node_id: str
    attempt: int
    name: str
    """Deterministic name of this attempt (core.ids.generated_name)."""
    input_uri: str
    """inputs.pb; written before the request is launched."""
    input_prefix: str
    output_prefix: str
    raw_output_prefix: str
    checkpoint_prefix: str
    previous_checkpoint_prefix: str
    """Empty on the first attempt."""
    envs: Mapping[str, str] = field(default_factory=dict[str, str])
    """Environment asked for by the execution."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    interruptible: bool = False
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """One container to run. `argv` is rendered command and args; `env` is complete and ordered, later wins."""

    name: str
    image: str
    argv: Sequence[str]
    env: Mapping[str, str]
    memory_limit_bytes: int | None = None
    cpu_limit: float | None = None
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class InstantRequest:
    """A task that needs no process: it succeeds with `outputs` (a serialized LiteralMap), or fails."""

    name: str
    outputs: bytes = b""
    failure: Failure | None = None


RuntimeRequest: TypeAlias = ContainerRequest | InstantRequest


class BadTaskError(Exception):
    """A plugin cannot build a request from this template; the task fails for good with `failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class TaskPlugin(Protocol):
    """Turns (template, inputs, context) into a runtime request. Found by task type, entry point `wingbeat.tasks`."""

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


@dataclass(frozen=True, slots=True)
class LogLink:
    """Where a person finds a log of an attempt."""

    name: str
    uri: str


@dataclass(frozen=True, slots=True)
class Started:
    """The attempt runs now. `at` is seconds since the epoch."""

    name: str
    at: float
    logs: Sequence[LogLink] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt ended. `failure` None: the program said it is done (its outputs are still to be judged).

    `outputs` is set by runtimes that hand results over directly (a serialized LiteralMap) instead of writing files.
    """

    name: str
    at: float
    failure: Failure | None = None
    outputs: bytes | None = None
    logs: Sequence[LogLink] = ()


RuntimeEvent: TypeAlias = Started | Ended


class Runtime(Protocol):
    """Runs attempts of tasks. All calls are batched and idempotent by `name`: launching a known name again does nothing
    but report its state again."""

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Set the one receiver of events; it never blocks. Events may be late, doubled or out of order."""
        ...

    @property
    def capacity(self) -> int:
        """How many attempts may be under way at once."""
        ...

    async def run(self) -> None:
        """Live until cancelled; cancelling leaves running attempts alone, so that a later process can adopt them."""
        ...

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Start attempts; returns when they are handed over. A request that cannot start is reported as Ended."""
        ...

    async def abort(self, names: Sequence[str]) -> None:
        """Stop attempts and everything they started; unknown or ended names are ignored. No event follows."""
        ...

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """After a restart: those of `names` that this runtime knows, running or ended; their events follow. The others
        were never launched or are lost without trace, and may be launched."""
        ...

    async def forget(self, names: Sequence[str]) -> None:
        """The end of these attempts is journaled; whatever is kept only for `adopt` may go. Logs stay."""
        ...
