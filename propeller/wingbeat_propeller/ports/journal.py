"""How effects become durable, and whose they are to write: group commit under leases of shards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from wingbeat_propeller.core.effects import Effects


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


class Leases(Protocol):
    """Ownership of shards between engine processes."""

    async def join(self, name: str, lease_s: float) -> int:
        """Become a member; returns the term, an identity that is never used again."""
        ...

    async def round(self, term: int, lease_s: float) -> ShardChange:
        """Renew the lease, end the terms of others whose lease expired, take free shards that fall to this term.

        Raises LeaseLostError when the term has ended.
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
