"""Protocols the engine needs from the world; the shells that satisfy them live in postgres/, blobs/ and runtimes/.

What is made for every attempt is a NamedTuple: a frozen dataclass costs five times as much to make.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol, TypeAlias

from flyteidl.core import identifier_pb2, tasks_pb2

from wingbeat_propeller.compiler.references import KnownReferences
from wingbeat_propeller.compiler.resources import PlatformResources
from wingbeat_propeller.container_files import ContainerFiles
from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.plan import LaunchPlanSpec
from wingbeat_propeller.core.rows import ElementRow, ExecutionRecord, NodeRow


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
    """Objects by URI (`/folder/...` or `s3://bucket/key`). Writes are atomic: a reader sees all of an object or none.

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

    async def delete(self, uri: str) -> None:
        """Remove an object; one that is absent is no error."""
        ...


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
    origin: AttemptOrigin | None = None
    """None: nobody but the caller can tell when this attempt is not wanted any more."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the execution; a runtime puts them where its attempts can be found by them."""
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    interruptible: bool = False
    files: ContainerFiles | None = None
    """Set when inputs come and outputs go as files: the runtime copies them, and leaves outputs.pb or error.pb."""


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


@dataclass(frozen=True, slots=True)
class LogLink:
    """Where a person finds a log of an attempt."""

    name: str
    uri: str


class Started(NamedTuple):
    """The attempt runs now. `at` is seconds since the epoch."""

    name: str
    at: float
    logs: Sequence[LogLink] = ()
    reason: str = ""


class Ended(NamedTuple):
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
        """The end of these attempts is journaled; whatever is kept only for `adopt` may go. Logs stay.

        An attempt that is still ending (after `abort`) keeps its record; `recorded` goes on naming it.
        """
        ...

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """Attempts by name that anything is kept of for `adopt`, running or ended, whichever process launched them."""
        ...


class Places(Protocol):
    """Room that the engines of one machine share, beside what `Runtime.capacity` says of one of them."""

    def take(self, name: str, origin: AttemptOrigin) -> bool:
        """Whether there is room for the attempt, which then has it until it is freed by whoever drives it. False: ask
        again in a moment, and keep asking or `rest`, since others leave room for who asks."""
        ...

    def keep(self, origins: Mapping[str, AttemptOrigin]) -> None:
        """These attempts run, and this engine drives them from now on."""
        ...

    def free(self, names: Sequence[str]) -> None:
        """These attempts do not run; names without room are ignored."""
        ...

    def leave(self, names: Sequence[str]) -> None:
        """Another engine drives these attempts from now on, or nobody waits for them; they keep their room."""
        ...

    def rest(self) -> None:
        """Nothing waits for room."""
        ...

    @property
    def of_others(self) -> int:
        """How many attempts of other engines take room."""
        ...


class LeaseLostError(Exception):
    """This process's term has ended: another may own its shards. Nothing it had not committed will be written."""


class Journal(Protocol):
    """Makes effects durable by group commit. Effects of one execution commit in the order they were submitted."""

    def submit(self, effects: Effects, committed: Callable[[Effects], None]) -> None:
        """Queue rows for the next commit; `committed` is called on the event loop once they are durable. Never blocks:
        callers watch `backlog` and stop taking in work when it passes `backlog_max`."""
        ...

    @property
    def backlog(self) -> int:
        """Effects submitted and not yet durable."""
        ...

    async def drained(self) -> None:
        """Wait until everything submitted so far is durable (its callbacks have run)."""
        ...

    async def run(self) -> None:
        """Commit until cancelled; a cancel flushes what was submitted first. Raises LeaseLostError."""
        ...


@dataclass(frozen=True, slots=True)
class ShardChange:
    """Result of a lease round: shards newly owned, and shards to hand over once their work is at rest."""

    acquired: frozenset[int]
    to_release: frozenset[int]


@dataclass(frozen=True, slots=True)
class TenantShare:
    """What a project (domain empty) or one domain of it gets; None: nothing is said here."""

    project: str
    domain: str
    weight: int | None = None
    running_max: int | None = None
    """Attempts under way at once, over all engines of the installation."""


@dataclass(frozen=True, slots=True)
class ShareBook:
    """All shares, and the number of the last change."""

    revision: int
    shares: Sequence[TenantShare]


class SlotAsk(NamedTuple):
    """One attempt that asks for a slot; `running`: it runs already and is to be counted, limit or not."""

    project: str
    domain: str
    execution: int
    name: str
    node_id: str
    attempt: int
    running: bool = False


class Slots(Protocol):
    """Slots of tenants' limits, exact over all engines. An attempt's slot goes with the commit of `Effects.freed`, and
    all slots of an execution with the commit of its end."""

    async def open(self, term: int) -> None:
        """Serve this term from now on. Raises LeaseLostError."""
        ...

    async def shares(self) -> ShareBook:
        """All shares as of one moment."""
        ...

    async def admit(self, asks: Sequence[SlotAsk], *, seen: int) -> frozenset[str]:
        """Give slots in the order of `asks` as far as limits reach; returns the names of those that have one now,
        whenever they got it. Harmless to repeat. One call at a time.

        `seen` is the revision of shares that the caller goes by: all its attempts under way that need a slot by that
        revision have one, or are among `asks` as running. Raises LeaseLostError.
        """
        ...

    async def of_executions(self, executions: Sequence[int]) -> frozenset[str]:
        """Names of the attempts of these executions that have a slot."""
        ...


class Leases(Protocol):
    """Ownership of shards between engine processes."""

    async def join(self, name: str, lease_s: float) -> int:
        """Become a member; returns the term, an identity that is never used again."""
        ...

    async def round(self, term: int, lease_s: float, *, take: bool = True) -> ShardChange:
        """Renew the lease, end the terms of others whose lease expired, take free shards that fall to this term.

        `take` False renews only (while leaving). Raises LeaseLostError when the term has ended.
        """
        ...

    async def announce(self, term: int, address: str) -> None:
        """Make known where this process answers questions, as gRPC names addresses. Raises LeaseLostError."""
        ...

    async def release(self, term: int, shards: Sequence[int]) -> None:
        """Give up shards whose executions are at rest and wake the others."""
        ...

    async def leave(self, term: int) -> None:
        """End the term at once; its shards become free."""
        ...


@dataclass(frozen=True, slots=True)
class Room:
    """What there is room for in an engine's memory: `free` executions of any tenant, and however full it is as many of
    each tenant that it then has `tenant_min`, and `awaited` ones that others wait for. `live` says how many of each
    tenant there are, by project and domain."""

    free: int
    tenant_min: int = 0
    awaited: int = 0
    live: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])


@dataclass(frozen=True, slots=True)
class NewExecutions:
    """One look for new executions, at some of the tenants."""

    records: Sequence[ExecutionRecord]
    after: tuple[str, str] | None
    """Where the next look is to go on; None: there are no tenants behind those."""
    any_left: bool
    """Whether these tenants may have more: that were too many for one look, or that there is no room for."""


NO_TENANT = ("", "")
"""Before all tenants."""


class ExecutionStore(Protocol):
    """Where executions come from."""

    async def new_executions(
        self,
        shards: Sequence[int],
        *,
        known: Sequence[int],
        limit: int,
        room: Room,
        after: tuple[str, str] = NO_TENANT,
    ) -> NewExecutions:
        """Executions of `shards` that no engine has begun and that there is room for, without those in `known`; of the
        tenants behind `after`, in turns: those with the fewest in memory first, and each tenant's oldest first.

        One that waits for its turn is among them only to be ended: it was aborted, or its time to begin is over. Those
        come whether there is room or not.
        """
        ...

    async def live_executions(self, shards: Sequence[int], *, after: int, limit: int) -> Sequence[ExecutionRecord]:
        """Executions of `shards` begun and not ended, with their nodes, by id above `after`: used when shards are
        taken over."""
        ...

    async def abort_requests(self, shards: Sequence[int]) -> Sequence[tuple[int, str]]:
        """(execution, cause) of executions of `shards` that somebody wants terminated and that have not ended."""
        ...

    async def unwanted(self, attempts: Mapping[str, AttemptOrigin]) -> Sequence[str]:
        """Names of those attempts that nobody waits for: their execution or node has ended or does not exist, or the
        node is at a later attempt."""
        ...

    async def workflow_closure(self, workflow_id: int) -> bytes:
        """Serialized CompiledWorkflowClosure."""
        ...

    async def references(
        self,
        tasks: Sequence[identifier_pb2.Identifier],
        launch_plans: Sequence[identifier_pb2.Identifier],
    ) -> KnownReferences:
        """Registered entities, as far as they exist."""
        ...

    async def listen(self, wake: Callable[[str, str], None]) -> None:
        """Live until cancelled: call `wake(reason, payload)` at each notification. Reasons are "new", "abort",
        "queue", "shards", "shares", "slots" (these carry nothing to go by), "child" (row id of an execution that has
        ended and has a parent) and "signal" (`project:domain:execution` whose signal was set). After each (re)connect
        each reason comes once with an empty payload, since notifications may have been lost meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class SourceExecution:
    """An execution that another one recovers."""

    execution: int
    """Row id."""
    name: str
    workflow_id: int
    config: bytes
    """Serialized flyteidl.admin.WorkflowExecutionConfig: the settings that it ran with."""


class Sources(Protocol):
    """What executions have done that others recover. All methods raise OSError for an outage."""

    async def execution(self, execution: int) -> SourceExecution | None:
        """The execution with that row id; None when it is not there any more."""
        ...

    async def nodes(self, asked: Sequence[tuple[int, str]]) -> Mapping[tuple[int, str], NodeRow]:
        """Nodes by row id of their execution and unique id, those that exist."""
        ...

    async def elements(self, execution: int, array_id: str, *, after: int, limit: int) -> Sequence[ElementRow]:
        """Elements of an array that succeeded with indexes above `after`, in order, no more than `limit`."""
        ...

    async def last_attempt(self, execution: int, array_id: str, element: int) -> int | None:
        """Number of the last attempt of an element that had begun; None when there is none."""
        ...


class SignalKey(NamedTuple):
    """A signal of an execution."""

    project: str
    domain: str
    execution: str
    signal_id: str


class Signals(Protocol):
    """Values that clients hand to waiting gates."""

    async def open(self, wanted: Mapping[SignalKey, bytes]) -> Mapping[SignalKey, bytes]:
        """Make sure that the signals exist (by key their type, a serialized LiteralType) and return those that have a
        value, a serialized Literal. Raises OSError for an outage."""
        ...


class ChildRequest(NamedTuple):
    """The execution that a launch plan node wants."""

    parent: int
    """Row id of the execution whose node asks; the child inherits its settings."""
    project: str
    domain: str
    parent_name: str
    node_id: str
    """Unique id of the node."""
    name: str
    """Of the child, in the parent's project and domain."""
    launch_plan: LaunchPlanSpec
    inputs: bytes
    """Serialized LiteralMap."""
    recovers: str | None = None
    """Execution that the child goes on from if it can, as `project:domain:name`."""


class ChildRefusedError(Exception):
    """The child cannot be created, and trying again would not help; `failure` ends the node."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ChildEnd(NamedTuple):
    """How an execution ended. `phase` is an ExecutionPhase, 0 when there is no such execution any more."""

    execution: int
    phase: int
    outputs: bytes | None
    outputs_uri: str | None
    failure: Failure | None
    error_uri: str | None
    """Where the whole ExecutionError is when `failure` holds a message that was cut."""


class Children(Protocol):
    """Executions that launch plan nodes create. All methods raise OSError for an outage."""

    async def launch(self, request: ChildRequest) -> int:
        """Create the child; returns its row id. A child that this very node created before is returned as it is.
        Raises ChildRefusedError."""
        ...

    async def find(self, requests: Sequence[tuple[int, str, str]]) -> Mapping[tuple[int, str, str], int]:
        """Row ids of children that exist, by (row id of the parent, unique id of the node, name)."""
        ...

    async def ended(self, executions: Sequence[int]) -> Sequence[ChildEnd]:
        """Those of some executions, by row id, that have ended or do not exist."""
        ...

    async def abort(self, project: str, domain: str, name: str, cause: str) -> None:
        """Terminate a child; one that does not exist or has ended is no error."""
        ...

    async def abort_orphans(self) -> int:
        """Terminate executions whose launch plan node has ended without them, as after a crash between the two; returns
        how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """Executions of one launch plan name, over all its versions, that wait for others of it to end."""

    project: str
    domain: str
    name: str
    launch_plan_ids: frozenset[int] = field(compare=False)
    """Row ids of the versions."""
    has_room: bool = field(compare=False)
    """Whether the first of the line could begin, as far as could be seen."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """All lines, how many executions wait in them, and the seconds until the next one that has not begun must have."""

    count: int
    next_begin_s: float | None
    lines: Sequence[Line]


class Lines(Protocol):
    """Executions that wait for their turn."""

    async def look(self) -> Waiting:
        """What waits now."""
        ...

    async def admit(self, line: Line) -> int:
        """Let as many begin as there is room for, in the order of launch, and announce them as new; returns how many.
        Any process may call it at any time."""
        ...
