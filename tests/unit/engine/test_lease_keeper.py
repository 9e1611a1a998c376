"""The lease keeper against simulated leases, in simulated time."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from wingbeat_propeller.engine.lease_keeper import TRUSTED_SHARE, LeaseKeeper
from wingbeat_propeller.ports.journal import LeaseLostError, ShardChange

pytestmark = pytest.mark.looptime

_LEASE_S = 9.0


class _Leases:
    """Answers rounds from a script of changes; an entry may be an error, or a number of seconds to hang."""

    def __init__(self, *script: ShardChange | BaseException | float) -> None:
        self.script = list(script)
        self.rounds: list[float] = []
        self.released: list[frozenset[int]] = []
        self.release_faults = 0

    async def join(self, name: str, lease_s: float) -> int:
        return 7

    async def round(self, term: int, lease_s: float) -> ShardChange:
        assert (term, lease_s) == (7, _LEASE_S)
        self.rounds.append(asyncio.get_running_loop().time())
        answer = self.script.pop(0) if self.script else ShardChange(frozenset(), frozenset())
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return ShardChange(frozenset(), frozenset())
        return answer

    async def release(self, term: int, shards: Sequence[int]) -> None:
        if self.release_faults:
            self.release_faults -= 1
            raise OSError("no connection")
        self.released.append(frozenset(shards))

    async def leave(self, term: int) -> None: ...


class _Work:
    """The engine's side: remembers acquired shards, and releases them once `at_rest` is set."""

    def __init__(self) -> None:
        self.acquired: list[frozenset[int]] = []
        self.asked: list[frozenset[int]] = []
        self.at_rest = asyncio.Event()

    def acquire(self, shards: frozenset[int]) -> None:
        self.acquired.append(shards)

    async def release(self, shards: frozenset[int]) -> None:
        self.asked.append(shards)
        await self.at_rest.wait()


def _keeper(leases: _Leases, work: _Work) -> LeaseKeeper:
    return LeaseKeeper(leases, term=7, lease_s=_LEASE_S, acquired=work.acquire, release=work.release)


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_renews_every_third_of_the_lease() -> None:
    """An hour of an idle process is a round each third of a lease, and one at once when woken."""
    leases, work = _Leases(), _Work()
    keeper = _keeper(leases, work)
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(3600)
    count = len(leases.rounds)
    assert 1190 <= count <= 1201
    keeper.wake()
    await asyncio.sleep(0.1)
    assert len(leases.rounds) == count + 1
    await _stop(task)


async def test_an_outage_shorter_than_the_trust_is_survived() -> None:
    """Failing rounds are repeated; the shards stay."""
    leases, work = _Leases(ShardChange(frozenset({1, 2}), frozenset()), *[OSError("down")] * 5), _Work()
    keeper = _keeper(leases, work)
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(60)
    assert not task.done()
    assert keeper.owned == {1, 2}
    assert work.acquired == [{1, 2}]
    await _stop(task)


async def test_trust_ends_before_the_lease() -> None:
    """A database that stops answering ends the keeper before the lease in the database is over."""
    leases, work = _Leases(ShardChange(frozenset({1}), frozenset()), 1000.0), _Work()
    with pytest.raises(ExceptionGroup) as caught:
        await _keeper(leases, work).run()
    assert caught.group_contains(LeaseLostError)
    assert asyncio.get_running_loop().time() - leases.rounds[0] <= _LEASE_S * TRUSTED_SHARE + 0.01


async def test_an_ended_term_ends_the_keeper() -> None:
    """When the term is gone there is nothing to repeat."""
    leases, work = _Leases(LeaseLostError("gone")), _Work()
    with pytest.raises(ExceptionGroup) as caught:
        await _keeper(leases, work).run()
    assert caught.group_contains(LeaseLostError)
    assert len(leases.rounds) == 1


async def test_shards_are_freed_only_at_rest() -> None:
    """The row is freed after the work rests, once, however often rounds name the shard and however the database is."""
    leaving = ShardChange(frozenset(), frozenset({3}))
    leases, work = _Leases(ShardChange(frozenset({3, 4}), frozenset()), leaving, leaving, leaving), _Work()
    leases.release_faults = 2
    keeper = _keeper(leases, work)
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(11)
    assert work.asked == [{3}]
    assert leases.released == []
    assert keeper.owned == {3, 4}
    work.at_rest.set()
    await asyncio.sleep(2)
    assert leases.released == [{3}]
    assert keeper.owned == {4}
    await _stop(task)


async def test_shards_that_come_back_are_kept() -> None:
    """A release was done although its answer was lost, and the next round took the shards anew: they are not given up a
    second time, while this process works on them."""
    ours, leaving = ShardChange(frozenset({3}), frozenset()), ShardChange(frozenset(), frozenset({3}))
    leases, work = _Leases(ours, leaving, ours), _Work()
    leases.release_faults = 1
    work.at_rest.set()
    keeper = _keeper(leases, work)
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(_LEASE_S / 3 + 0.1)
    keeper.wake()
    await asyncio.sleep(10)
    assert leases.released == []
    assert work.acquired == [{3}, {3}]
    assert keeper.owned == {3}
    await _stop(task)


async def test_rounds_and_releases_take_turns() -> None:
    """No round looks at the shards while some of them are being given up."""

    class Slow(_Leases):
        async def release(self, term: int, shards: Sequence[int]) -> None:
            rounds = len(self.rounds)
            await asyncio.sleep(2)
            assert len(self.rounds) == rounds
            await super().release(term, shards)

    ours, leaving = ShardChange(frozenset({3}), frozenset()), ShardChange(frozenset(), frozenset({3}))
    leases, work = Slow(ours, leaving), _Work()
    work.at_rest.set()
    keeper = _keeper(leases, work)
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(_LEASE_S / 3 + 0.1)
    keeper.wake()
    await asyncio.sleep(5)
    assert leases.released == [{3}]
    assert len(leases.rounds) > 2
    await _stop(task)
