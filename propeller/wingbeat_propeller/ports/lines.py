"""Executions that wait for others of their launch plan to end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


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
