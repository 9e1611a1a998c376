"""Keeps this process's lease and its share of the shards; ends the process's work when the lease can no longer be kept.

A round every third of the lease renews it, ends the leases of others that ran out, and takes and gives up shards so
that they spread over the live processes. The local trust in the lease is counted from when a renewal *began*, by the
loop's monotonic clock, and ends a margin before the database's lease does: by the time another process takes the shards
over, this one has stopped by itself. (The journal's fence guards what a stopped clock could still let through.)

A shard is given up only when its work is at rest: `release` is awaited beside the rounds, and the row is freed after.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from prometheus_client import Counter, Gauge

from wingbeat_propeller.ports.journal import LeaseLostError, Leases

_log = structlog.get_logger(__name__)

_SHARDS = Gauge("wingbeat_engine_shards", "Shards owned by this process")
_ROUNDS_FAILED = Counter("wingbeat_engine_lease_rounds_failed", "Lease rounds that met an outage of the database")

_RETRY_S = 0.2


TRUSTED_SHARE = 0.8
"""Part of a lease that its holder trusts; the rest covers clocks that run unevenly."""


class LeaseKeeper:
    """Keeps one membership: of `term`, an identity that is never used again, in leases of `lease_s` seconds.

    `acquired` hears of new shards; `release` returns when nothing of the shards is under way. Life: `run` from right
    after the join until cancelled. `wake` asks for a round now (another member came or went).
    """

    def __init__(
        self,
        leases: Leases,
        *,
        term: int,
        lease_s: float,
        acquired: Callable[[frozenset[int]], None],
        release: Callable[[frozenset[int]], Awaitable[None]],
    ) -> None:
        self._leases = leases
        self._term = term
        self._lease_s = lease_s
        self._acquired = acquired
        self._release = release
        self._trusted_until = 0.0
        self._releasing: frozenset[int] = frozenset()
        self._woken = asyncio.Event()
        self._exchange = asyncio.Lock()
        """Held by a round and by a release, so that it is clear which of them came last."""
        self.owned: frozenset[int] = frozenset()
        """Shards this process works on; shrinks when a release has ended."""

    @property
    def trusted(self) -> bool:
        """Whether the lease surely holds now. A process that was stopped for a while must look before it acts."""
        return self._now() < self._trusted_until

    def wake(self) -> None:
        """Ask for a round now."""
        self._woken.set()

    async def run(self) -> None:
        """Keep the lease until cancelled. Raises LeaseLostError as soon as it cannot be trusted any more."""
        # Nothing is owned yet, so nothing is trusted too long when the first round takes its time.
        self._trust_from(self._now())
        async with asyncio.TaskGroup() as releases:
            while True:
                self._woken.clear()
                await self._round(releases)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._lease_s / 3):
                        await self._woken.wait()

    async def _round(self, releases: asyncio.TaskGroup) -> None:
        """One successful round, however often it takes to get an answer before trust ends."""
        while True:
            began = self._now()
            try:
                async with asyncio.timeout_at(self._trusted_until), self._exchange:
                    change = await self._leases.round(self._term, self._lease_s)
                break
            except OSError as error:  # TimeoutError is one
                _ROUNDS_FAILED.inc()
                if self._now() + _RETRY_S >= self._trusted_until:
                    raise LeaseLostError(f"the lease of term {self._term} could not be renewed in time") from error
                _log.warning("lease not renewed, trying again", term=self._term, error=repr(error))
            await asyncio.sleep(_RETRY_S)
        self._trust_from(began)
        if change.acquired:
            self._releasing -= change.acquired
            self.owned |= change.acquired
            _log.info("shards acquired", term=self._term, count=len(change.acquired), owned=len(self.owned))
            self._acquired(change.acquired)
        if leaving := change.to_release - self._releasing:
            self._releasing |= leaving
            releases.create_task(self._hand_over(leaving), name="hand over shards")
        _SHARDS.set(len(self.owned))

    async def _hand_over(self, shards: frozenset[int]) -> None:
        await self._release(shards)
        self.owned -= shards
        while True:
            try:
                async with self._exchange:
                    # What a round has taken meanwhile was released before, though the answer was lost: it is ours anew.
                    leaving = shards & self._releasing
                    if leaving:
                        await self._leases.release(self._term, sorted(leaving))
                break
            except OSError as error:
                _log.warning("shards not given up, trying again", term=self._term, error=repr(error))
            await asyncio.sleep(_RETRY_S)
        self._releasing -= shards
        _log.info("shards handed over", term=self._term, count=len(shards), owned=len(self.owned))

    def _trust_from(self, began: float) -> None:
        self._trusted_until = began + self._lease_s * TRUSTED_SHARE

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
