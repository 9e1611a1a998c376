"""What executions have done that others recover."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wingbeat_propeller.core.rows import ElementRow, NodeRow


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
