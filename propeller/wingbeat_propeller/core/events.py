"""What can happen to an execution. Times (`now`, `at`) are seconds since the epoch; the core has no clock."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from wingbeat_propeller.core.array_inputs import ArrayInputs
from wingbeat_propeller.core.caching import CacheSource
from wingbeat_propeller.core.effects import NodeRef
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.reuse import Reuse
from wingbeat_propeller.core.rows import ElementRow, NodeRow
from wingbeat_propeller.core.values import Value


class TimerKind(IntEnum):
    """Deadlines of a node, and of the execution as a whole."""

    ATTEMPT = 0
    """The attempt has run for its timeout: it fails and may be retried."""
    NODE = 1
    """All attempts together took twice the timeout: the node times out."""
    WAKE = 2
    """What the node waits for is the time itself."""
    EXECUTION = 3
    """The execution has run for as long as it may: it times out. The timer's ref says nothing."""
    RETRY = 4
    """The pause before the next attempt is over."""


class Begin(NamedTuple):
    """A new execution is taken up with its inputs."""

    now: float
    inputs: dict[str, Value]


class Prepared(NamedTuple):
    """Answer to Prepare: the values are stored at its uri; small ones are given too."""

    now: float
    ref: NodeRef
    values: dict[str, Value]


class PrepareFailed(NamedTuple):
    """Answer to Prepare, OpenArray and Gather: values cannot be had, or cannot be stored."""

    now: float
    ref: NodeRef
    failure: Failure


class ArrayOpened(NamedTuple):
    """Answer to OpenArray."""

    now: float
    ref: NodeRef
    inputs: ArrayInputs


class Gathered(NamedTuple):
    """Answer to Gather: the collections by output."""

    now: float
    ref: NodeRef
    values: dict[str, Value]
    serialized: bytes | None
    """The whole LiteralMap when it is small enough for a row."""


class Recalled(NamedTuple):
    """Answer to Recall: the node's row there, None when there is none.

    `checkpoint` is the folder with the newest checkpoint of a task that did not succeed, `dynamic_plan` the workflow
    that it had made; the node's inputs are then where it expects them.
    """

    now: float
    ref: NodeRef
    row: NodeRow | None
    checkpoint: str | None = None
    dynamic_plan: Plan | None = None
    dynamic_reuse: Reuse | None = None
    """What may be taken over in that workflow."""


class ElementsRecalled(NamedTuple):
    """Answer to RecallElements: the next elements that succeeded there, in order of their indexes."""

    now: float
    ref: NodeRef
    rows: Sequence[ElementRow]
    is_last: bool
    """Whether there are no others."""


class LookedUp(NamedTuple):
    """Answer to LookUp: a CacheStatus, and with a hit the outputs. Those of an element are `serialized`, or where the
    question said."""

    now: float
    ref: NodeRef
    status: int
    catalog: bytes
    """Serialized flyteidl.core.CatalogMetadata, empty where nothing is known."""
    values: Mapping[str, Value] = MappingProxyType({})
    serialized: bytes | None = None
    """The whole LiteralMap when it is small enough for a row."""
    source: CacheSource | None = None
    """With a hit: who made the outputs, if that is known."""


class ElementsLookedUp(NamedTuple):
    """Answer to LookUpElements, in its order."""

    now: float
    ref: NodeRef
    answers: Sequence[LookedUp]


class Kept(NamedTuple):
    """Answer to Keep."""

    now: float
    ref: NodeRef
    status: int
    catalog: bytes
    """As of LookedUp."""


class Reserved(NamedTuple):
    """Answer to Reserve: the call may be made, with the reservation or (FAILURE) without."""

    now: float
    ref: NodeRef
    status: int
    """ReservationStatus."""


class ReservationHeld(NamedTuple):
    """Somebody else makes the call."""

    now: float
    ref: NodeRef
    owner: str
    until: float
    """When that is over unless the owner goes on."""


class TaskStarted(NamedTuple):
    """An attempt runs. `details`: serialized flyteidl.admin.TaskExecutionClosure with logs and reasons."""

    now: float
    ref: NodeRef
    at: float
    details: bytes | None = None


class TaskSucceeded(NamedTuple):
    """An attempt has produced its outputs."""

    now: float
    ref: NodeRef
    at: float
    outputs: dict[str, Value]
    serialized: bytes | None = None
    """The whole LiteralMap when it is small enough for a row."""
    deck_uri: str | None = None
    """Of the page that the task wrote; empty: none although it was announced; None: nothing to say."""
    details: bytes | None = None
    references: tuple[str, ...] = ()
    """Of outputs that are not at hand: variable, token (core.references), variable, token ..."""
    started_at: float | None = None
    """When the attempt began, if nobody has said so before."""


class TaskFailed(NamedTuple):
    """An attempt has failed; the failure says whether a retry may help."""

    now: float
    ref: NodeRef
    at: float
    failure: Failure
    details: bytes | None = None
    deck_uri: str | None = None
    """As for success."""


class TaskBecameDynamic(NamedTuple):
    """An attempt is done and has made a workflow, which is to run in its place."""

    now: float
    ref: NodeRef
    at: float
    plan: Plan
    identifier: bytes
    """Serialized flyteidl.core.Identifier of the workflow."""
    futures_uri: str
    details: bytes | None = None
    reuse: Reuse | None = None
    """What of it may be taken over from the workflow that the task had made in an execution that is recovered."""


class TimerFired(NamedTuple):
    """A deadline has come."""

    now: float
    ref: NodeRef
    kind: TimerKind


class ChildStarted(NamedTuple):
    """The execution of a launch plan node exists."""

    now: float
    ref: NodeRef
    project: str
    domain: str
    name: str


class ChildEnded(NamedTuple):
    """The execution of a launch plan node has ended, or could not be created (`failure` says why)."""

    now: float
    ref: NodeRef
    failure: Failure | None
    """None: it succeeded."""
    outputs: bytes | None = None
    """Serialized LiteralMap when it is small enough for a row, else its `outputs_uri`."""
    outputs_uri: str | None = None


class SignalReceived(NamedTuple):
    """Somebody gave the signal that a gate waits for a value: a serialized flyteidl.core.Literal."""

    now: float
    ref: NodeRef
    value: bytes


class Continue(NamedTuple):
    """Nothing new: go on with what is ready (see Effects.unfinished)."""

    now: float


class AbortRequested(NamedTuple):
    """Somebody terminates the execution."""

    now: float
    cause: str


class Quarantine(NamedTuple):
    """The execution cannot be driven on (the engine met an error of its own with it); it fails with that reason."""

    now: float
    failure: Failure


CacheEvent: TypeAlias = LookedUp | ElementsLookedUp | Kept | Reserved | ReservationHeld
Event: TypeAlias = (
    Begin
    | Prepared
    | PrepareFailed
    | ArrayOpened
    | Gathered
    | Recalled
    | ElementsRecalled
    | LookedUp
    | ElementsLookedUp
    | Kept
    | Reserved
    | ReservationHeld
    | TaskStarted
    | TaskSucceeded
    | TaskFailed
    | TaskBecameDynamic
    | TimerFired
    | ChildStarted
    | ChildEnded
    | SignalReceived
    | Continue
    | AbortRequested
    | Quarantine
)
