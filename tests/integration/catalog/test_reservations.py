"""Of several who want to make the same entry one may, and whoever dies is replaced."""

import asyncio
from collections.abc import Callable

import asyncpg
import pytest
from tests.integration.catalog.conftest import ask, integer, task

from wingbeat_catalog.cache import PostgresCache
from wingbeat_propeller.ports.cache import CacheClaim, CacheFailure, CacheMiss, CacheReservation


async def _claim(cache: PostgresCache, owner: str, number: int = 3) -> CacheClaim:
    (miss,) = await cache.look_up([ask(task(), a=integer(number))])
    assert isinstance(miss, CacheMiss)
    return CacheClaim(miss.catalog, owner)


async def _reserve(cache: PostgresCache, *claims: CacheClaim, heartbeat_s: float = 10) -> list[CacheReservation]:
    answers = await cache.reserve(claims, heartbeat_s)
    return [answer for answer in answers if isinstance(answer, CacheReservation)]


async def _lapse(pool: asyncpg.Pool) -> None:
    await pool.execute("UPDATE cache_reservations SET expires_at = clock_timestamp() - interval '1 ms'")


async def test_the_first_owner_holds_it_until_it_lapses(cache: PostgresCache, catalog_pool: asyncpg.Pool) -> None:
    """Others hear who holds it and for how long; the owner extends it; after it lapsed the next who asks has it."""
    first, second = await _claim(cache, "first"), await _claim(cache, "second")
    (mine,) = await _reserve(cache, first, heartbeat_s=4)
    assert mine.owner == "first"
    assert 11 < mine.left_s <= 12
    (held,) = await _reserve(cache, second, heartbeat_s=10)
    assert held.owner == "first"
    assert held.left_s <= 12
    assert held.key == mine.key
    await catalog_pool.execute("UPDATE cache_reservations SET expires_at = clock_timestamp() + interval '1 s'")
    (extended,) = await _reserve(cache, first, heartbeat_s=60)
    assert extended.owner == "first"
    assert 29 < extended.left_s <= 30  # no more than three times ten seconds
    await _lapse(catalog_pool)
    (taken,) = await _reserve(cache, second)
    assert taken.owner == "second"
    (lost,) = await _reserve(cache, first)
    assert lost.owner == "second"


async def test_a_batch_of_many_claims(open_cache: Callable[..., PostgresCache]) -> None:
    """Claims of one key in one batch give it to the first, and to the owner there is; batches are cut where needed."""
    cache = open_cache(batch_max=3)
    keys = [(await _claim(cache, "", number)).catalog for number in range(2)]
    claims = [CacheClaim(keys[number % 2], f"owner {number}") for number in range(8)]
    assert [one.owner for one in await _reserve(cache, *claims)] == ["owner 0", "owner 1"] * 4
    assert [one.owner for one in await _reserve(cache, *claims[::-1])] == ["owner 1", "owner 0"] * 4
    bad = CacheClaim(b"\xff", "x")
    answers = await cache.reserve([bad, claims[0], CacheClaim(b"", "x")], 10)
    assert [type(answer) for answer in answers] == [CacheFailure, CacheReservation, CacheFailure]
    await cache.release([bad, *claims])
    assert [one.owner for one in await _reserve(cache, *claims[::-1])] == ["owner 7", "owner 6"] * 4


async def test_a_hundred_at_once(cache: PostgresCache) -> None:
    """However they race, all hear of one owner, who is one of those that asked; so after each release."""
    claims = [await _claim(cache, f"owner {number}") for number in range(100)]
    for _ in range(3):
        answers = await asyncio.gather(*(_reserve(cache, claim) for claim in claims))
        owners = {answer.owner for (answer,) in answers}
        assert len(owners) == 1
        (owner,) = owners
        await cache.release([claim for claim in claims if claim.owner != owner])  # not theirs: left alone
        assert {answer.owner for answer in await _reserve(cache, *claims)} == owners
        await cache.release([claim for claim in claims if claim.owner == owner])
        claims = [claim for claim in claims if claim.owner != owner]


async def test_after_it_lapsed_one_of_many_takes_it_over(cache: PostgresCache, catalog_pool: asyncpg.Pool) -> None:
    """A hundred who wait for a dead owner are followed by one owner."""
    await _reserve(cache, await _claim(cache, "dead"))
    claims = [await _claim(cache, f"owner {number}") for number in range(100)]
    assert {answer.owner for answer in await _reserve(cache, *claims)} == {"dead"}
    await _lapse(catalog_pool)
    answers = await asyncio.gather(*(_reserve(cache, claim) for claim in claims))
    owners = {answer.owner for (answer,) in answers}
    assert len(owners) == 1
    assert owners != {"dead"}


async def test_releases_wake_those_who_listen(cache: PostgresCache) -> None:
    """After the first call with no key, each release is told by the key of the reservation, of whatever process."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = asyncio.create_task(cache.listen(heard.put_nowait))
    try:
        assert await heard.get() == ""
        claim = await _claim(cache, "owner")
        (mine,) = await _reserve(cache, claim)
        await cache.release([CacheClaim(claim.catalog, "another")])
        await cache.release([claim])
        assert await heard.get() == mine.key
        assert heard.empty()
    finally:
        listener.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listener


async def test_the_listener_connects_again(cache: PostgresCache, pool: asyncpg.Pool) -> None:
    """A lost connection is made again, and those who listen hear that they may have missed something."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = asyncio.create_task(cache.listen(heard.put_nowait))
    try:
        assert await heard.get() == ""
        await pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wingbeat cache listener'"
            " AND datname = current_database()"
        )
        assert await heard.get() == ""
    finally:
        listener.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listener


async def test_a_locked_table_is_a_failure_soon(hasty_cache: PostgresCache, pool: asyncpg.Pool) -> None:
    """While somebody holds the table, asks raise OSError instead of waiting."""
    claim = await _claim(hasty_cache, "owner")
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE cache_reservations IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(OSError, match="lock"):
            await hasty_cache.reserve([claim], 10)
        with pytest.raises(OSError, match="lock"):
            await hasty_cache.release([claim])
    (mine,) = await _reserve(hasty_cache, claim)
    assert mine.owner == "owner"


async def test_forgotten_reservations_are_swept(
    cache: PostgresCache, catalog_pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reservations that lapsed more than an hour ago go when others are asked for, now and then."""
    await _reserve(cache, await _claim(cache, "forgotten", 1))
    await catalog_pool.execute("UPDATE cache_reservations SET expires_at = clock_timestamp() - interval '2 hours'")
    await _reserve(cache, await _claim(cache, "now", 2))
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_reservations") == 2
    monkeypatch.setattr("wingbeat_catalog.reservations.SWEEP_S", 0.0)
    await _reserve(cache, await _claim(cache, "now", 2))
    assert await catalog_pool.fetchval("SELECT count(*) FROM cache_reservations") == 1
