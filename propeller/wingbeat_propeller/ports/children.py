"""Executions that launch plan nodes create."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.plan import LaunchPlanSpec


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
