"""What `step` returns: rows to write, and commands that may leave only after those rows are durable.

Made for every node, so commands are NamedTuples: a frozen dataclass costs five times as much to make.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from wingbeat_propeller.core.bindings import BindingProgram
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.plan import ArraySpec, LaunchPlanSpec, TaskSpec
from wingbeat_propeller.core.rows import ElementRow, ExecutionRow, LineageRow, NodeRow, TaskRow, Transition
from wingbeat_propeller.core.values import Value

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class NodeRef(NamedTuple):
    """Address of one attempt of a node in the state: frame number, index in the frame's plan, attempt.

    With `element`, of an element of an array node; the attempt is then the element's.
    """

    frame: int
    node: int
    attempt: int
    element: int = -1


class Prepare(NamedTuple):
    """Read or write blobs so that a node can go on; answered by the event Prepared or PrepareFailed.

    Sent when inputs need values that stay in the blob store, or are too large for a row. `program` is evaluated over
    `sources` (upstream outputs by plan index); the result is stored at `uri`.
    """

    ref: NodeRef
    program: BindingProgram
    sources: dict[int, dict[str, Value]]
    uri: str


class OpenArray(NamedTuple):
    """Look into the lists of an array node; answered by the event ArrayOpened or PrepareFailed.

    `values` are the node's inputs; those that are not bound whole are loaded where they are elsewhere.
    """

    ref: NodeRef
    spec: ArraySpec
    values: Mapping[str, Value]
    uri: str
    """Where the elements' programs read the inputs."""
    inputs: bytes | None
    """Serialized LiteralMap to be stored there first; None: that is done, or nobody reads it."""


class Gather(NamedTuple):
    """Make collections of the outputs of an array's elements and store them; answered by Gathered or PrepareFailed."""

    ref: NodeRef
    names: Sequence[str]
    elements: Sequence[bytes | str | None]
    """For each element its outputs (a serialized LiteralMap), where they are stored, or None for one that failed."""
    uri: str


class Recall(NamedTuple):
    """Look a node up in the execution that is recovered; answered by Recalled."""

    ref: NodeRef
    node_id: str
    """Its unique id there."""
    inputs_uri: str
    """Where its inputs.pb belongs, should it go on from a workflow that a task had made."""
    is_changed: bool
    """Whether it is not what it was, so that it runs in any case, and from its beginning."""


class RecallElements(NamedTuple):
    """Look for elements that succeeded of an array in the execution that is recovered; answered by ElementsRecalled."""

    ref: NodeRef
    array_id: str
    """Unique id of the array there."""
    after: int
    """Those with higher indexes are wanted, the lowest of them first."""


class LookUp(NamedTuple):
    """Ask the cache whether a call of a task was made before; answered by LookedUp."""

    ref: NodeRef
    task: CachedTask
    inputs: bytes | None
    """Serialized LiteralMap; None: it stands at `inputs_uri`."""
    inputs_uri: str
    outputs_uri: str
    """Where outputs are to be stored that are too large for a row."""


class LookUpElements(NamedTuple):
    """The same for some elements of an array at once; answered by ElementsLookedUp."""

    ref: NodeRef
    calls: Sequence[LookUp]


class Keep(NamedTuple):
    """Put what a call came to into the cache; answered by Kept."""

    call: LookUp
    outputs: bytes | None
    """Serialized LiteralMap; None: it stands at `outputs_uri`."""
    outputs_uri: str
    node_id: str
    """Unique id of the node; of the array, for an element."""
    overwrite: bool


class Launch(NamedTuple):
    """Start one attempt of a task, or of an element of an array."""

    ref: NodeRef
    name: str
    """In the runtime (ids.attempt_name)."""
    generated_name: str
    """In paths and for containers (ids.generated_name)."""
    node_id: str
    task: TaskSpec
    previous_generated_name: str | None
    """Of the attempt before, whose checkpoint this one may read."""
    inputs: bytes | None
    """Serialized LiteralMap to be stored as inputs.pb; None: that file is in place already."""
    data_dir: str
    output_dir: str
    timeout_s: float | None
    interruptible: bool
    array_id: str = ""
    """Unique id of the array node, for an element."""
    output_prefix: str = ""
    """What the program is told instead of `output_dir`."""
    env: Mapping[str, str] = _NOTHING
    is_repeat: bool = False
    """The attempt may have been launched before a restart."""
    inherited: str | None = None
    """What the node, of an element the array, took over from its namesake in an execution that is recovered
    (`NodeRun.inherited`)."""


class Abort(NamedTuple):
    """Stop an attempt, wherever it is on its way to the runtime."""

    ref: NodeRef
    name: str


class LaunchChild(NamedTuple):
    """Create the execution of a launch plan node, or find it; answered by ChildStarted, later ChildEnded.

    Repeating it is harmless: the name is deterministic.
    """

    ref: NodeRef
    name: str
    node_id: str
    """Unique id of the node, which becomes the child's parent."""
    launch_plan: LaunchPlanSpec
    inputs: bytes | None
    """Serialized LiteralMap; None: it is stored at `inputs_uri`."""
    inputs_uri: str
    is_repeat: bool
    """Whether the child is known to exist."""
    recovers: str | None = None
    """Execution that the child is to recover, as `project:domain:name`."""


class AbortChild(NamedTuple):
    """Terminate a child execution, wherever it is on its way; no event follows."""

    ref: NodeRef
    name: str
    reason: str


class AwaitSignal(NamedTuple):
    """Make a signal of the execution known to clients, and send SignalReceived once it has a value."""

    ref: NodeRef
    signal_id: str
    signal_type: bytes
    """Serialized flyteidl.core.LiteralType."""


class Reserve(NamedTuple):
    """Get the reservation of a call, so that it is made once, and keep it alive until Unreserve; answered by Reserved,
    or by LookedUp when somebody else has made the call meanwhile, and by ReservationHeld in between."""

    call: LookUp
    catalog: bytes
    """Serialized CatalogMetadata of the miss; empty: it must be looked up first."""
    owner: str
    runs: bool = False
    """The call is being made already, since before a restart: nothing is answered."""


class Unreserve(NamedTuple):
    """Let a reservation go, or the wait for it."""

    ref: NodeRef
    catalog: bytes
    owner: str


class SetTimer(NamedTuple):
    """Send TimerFired(ref, kind) at `at` (seconds since the epoch) unless the attempt has ended by then."""

    ref: NodeRef
    at: float
    kind: int


Command: TypeAlias = Launch | Abort | LaunchChild | AbortChild | AwaitSignal | Reserve | Unreserve
CacheRead: TypeAlias = LookUp | LookUpElements | Keep
Read: TypeAlias = Prepare | OpenArray | Gather


class Effects:
    """The outcome of one step. `reads` and `timers` may start at once, `commands` only after the rows are durable."""

    __slots__ = (
        "adopt",
        "commands",
        "elements",
        "ended",
        "execution",
        "execution_row",
        "freed",
        "lineage",
        "nodes",
        "reads",
        "tasks",
        "timers",
        "transitions",
        "unfinished",
    )

    def __init__(self, execution: ExecutionKey, *, execution_row: ExecutionRow | None = None) -> None:
        self.execution = execution
        self.execution_row = execution_row
        self.nodes: list[NodeRow] = []
        self.tasks: list[TaskRow] = []
        self.elements: list[ElementRow] = []
        self.transitions: list[Transition] = []
        self.lineage: list[LineageRow] = []
        self.commands: list[Command] = []
        self.adopt: list[Launch] = []
        """Attempts that were under way before a restart: launch them unless the runtime knows them. Already durable."""
        self.reads: list[Read | Recall | RecallElements | CacheRead] = []
        self.timers: list[SetTimer] = []
        self.ended: list[str] = []
        """Names of attempts whose end these rows record; the runtime may forget them after the commit."""
        self.freed: list[str] = []
        """Names of attempts whose slots of a tenant's limit go with these rows; the shell fills it in."""

        self.unfinished = False
        """More nodes are ready than one step starts: send the event Continue soon."""

    @property
    def writes(self) -> bool:
        """Whether there is anything to make durable."""
        return bool(self.nodes or self.tasks or self.elements or self.transitions or self.execution_row is not None)
