"""Limits and weights of tenants."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


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
