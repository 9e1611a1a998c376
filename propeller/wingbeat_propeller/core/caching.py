"""What is known of the cache while a call of a cacheable task is under way, and how a row says it.

A call is looked up before anything of it is durable: after a crash it is looked up again. What it came to is put before
that is durable: after a crash its attempt is judged again, and put again. A reservation belongs to the node, or to the
element of an array, with all its attempts; the shell keeps it alive from the command that asks for it, sent again after
a crash, until the one that lets it go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from flyteidl.event import event_pb2

from wingbeat_propeller.core.rows import NodeRow
from wingbeat_propeller.core.values import Value, wire_field


class CacheMode(IntEnum):
    """What an execution does with the cache."""

    USE = 0
    OVERWRITE = 1
    """Nothing is looked up, and what is made replaces what is there."""
    OFF = 2


class CacheStatus(IntEnum):
    """flyteidl.core.CatalogCacheStatus."""

    DISABLED = 0
    MISS = 1
    HIT = 2
    POPULATED = 3
    LOOKUP_FAILURE = 4
    PUT_FAILURE = 5
    SKIPPED = 6
    EVICTED = 7


class ReservationStatus(IntEnum):
    """flyteidl.core.CatalogReservation.Status."""

    DISABLED = 0
    ACQUIRED = 1
    EXISTS = 2
    RELEASED = 3
    FAILURE = 4


class CacheSource(NamedTuple):
    """Which task execution made an entry."""

    project: str
    domain: str
    execution: str
    node_id: str
    """Unique id; of the array, for an element of one."""
    attempt: int
    element: int
    """-1: it is no element of an array."""
    task_version: str


class Result(NamedTuple):
    """What a call came to, while it is put. `outputs` is a serialized LiteralMap when it is small enough for a row,
    else it stands at `output_uri`."""

    at: float
    values: Mapping[str, Value]
    outputs: bytes | None
    output_uri: str | None
    deck_uri: str | None = None
    details: bytes | None = None
    references: tuple[str, ...] = ()
    """As of TaskSucceeded."""
    of_frame: bool = False
    """Of the workflow that a dynamic task has made; the attempt is over by then."""


@dataclass(slots=True, eq=False)
class Caching:
    """One call of a cacheable task between its turn and its end."""

    inputs: bytes | None
    """Serialized LiteralMap; None: it stands in inputs.pb, or is a part of an array's inputs."""
    status: int = CacheStatus.MISS
    catalog: bytes = b""
    """Serialized flyteidl.core.CatalogMetadata, once it is known."""
    reservation: int = ReservationStatus.DISABLED
    waits: bool = False
    """It has asked for a reservation, and does not begin before it has it."""
    lacks_slot: bool = False
    """It has got it, and waits for a slot of max_parallelism again."""
    holder: str = ""
    """Who has the reservation meanwhile."""
    held_until: float | None = None
    """When that lapses unless its holder extends it."""
    result: Result | None = None
    dynamic: bytes = b""
    """What the row says of the workflow that the task has made."""

    @property
    def is_reserving(self) -> bool:
        """Whether there may be a reservation, so that it must be let go."""
        return self.waits or self.lacks_slot or self.reservation in (ReservationStatus.ACQUIRED, _EXISTS)

    def details(self) -> bytes | None:
        """For `NodeRow.details`: a NodeExecutionEvent with nothing but this; None: nothing to say."""
        body = wire_field(_CATALOG_KEY, self.catalog) if self.catalog else b""
        if self.reservation:
            body += bytes((_RESERVATION_STATUS << 3, self.reservation))
        return self.dynamic + (wire_field(_TASK_NODE_METADATA, body) if body else b"") or None


_EXISTS: Final = ReservationStatus.EXISTS
# Numbers of fields, checked by a test: a message is made for every row, and two serialized ones in a row are merged.
_TASK_NODE_METADATA: Final = 14
_CATALOG_KEY: Final = 2
_RESERVATION_STATUS: Final = 3


def restored(row: NodeRow) -> Caching:
    """A call under way as its row says."""
    metadata = event_pb2.NodeExecutionEvent.FromString(row.details or b"").task_node_metadata
    caching = Caching(row.inputs, row.cache_status, reservation=metadata.reservation_status)
    if metadata.HasField("catalog_key"):
        caching.catalog = metadata.catalog_key.SerializeToString()
    if metadata.HasField("dynamic_workflow"):
        caching.dynamic = dynamic_details(metadata.dynamic_workflow)
    return caching


def dynamic_details(workflow: event_pb2.DynamicWorkflowNodeMetadata) -> bytes:
    """What the row of a dynamic node says of the workflow that it has made."""
    metadata = event_pb2.TaskNodeMetadata(dynamic_workflow=workflow)
    return event_pb2.NodeExecutionEvent(task_node_metadata=metadata).SerializeToString()
