"""Leases of shards in a real Postgres, with the database's clock moved by hand instead of waited for."""

import asyncpg
import pytest

from wingbeat_propeller.core.ids import SHARDS
from wingbeat_propeller.ports import LeaseLostError
from wingbeat_propeller.postgres.leases import PostgresLeases

_LEASE_S = 60.0


async def _expire(pool: asyncpg.Pool, term: int) -> None:
    await pool.execute("UPDATE propellers SET lease_expires_at = now() - interval '1 s' WHERE term = $1", term)


async def test_a_lone_member_takes_all_shards_once(pool: asyncpg.Pool) -> None:
    """Acquired shards are reported once, however many rounds follow."""
    leases = PostgresLeases(pool)
    term = await leases.join("a", _LEASE_S)
    first = await leases.round(term, _LEASE_S)
    assert first.acquired == frozenset(range(SHARDS))
    assert first.to_release == frozenset()
    again = await leases.round(term, _LEASE_S)
    assert (again.acquired, again.to_release) == (frozenset(), frozenset())


async def test_shards_move_to_a_new_member_by_release(pool: asyncpg.Pool) -> None:
    """A new member gets its share only after the owner gave it up; nothing is ever owned twice."""
    a, b = PostgresLeases(pool), PostgresLeases(pool)
    term_a = await a.join("a", _LEASE_S)
    await a.round(term_a, _LEASE_S)
    term_b = await b.join("b", _LEASE_S)
    assert (await b.round(term_b, _LEASE_S)).acquired == frozenset()
    leaving = (await a.round(term_a, _LEASE_S)).to_release
    assert SHARDS / 4 < len(leaving) < SHARDS * 3 / 4
    await a.release(term_a, sorted(leaving))
    assert (await b.round(term_b, _LEASE_S)).acquired == leaving
    await b.leave(term_b)
    assert (await a.round(term_a, _LEASE_S)).acquired == leaving


async def test_an_expired_member_loses_everything(pool: asyncpg.Pool) -> None:
    """Shards of a member whose lease is over fall to the others, and its own next round says so."""
    a, b = PostgresLeases(pool), PostgresLeases(pool)
    term_a = await a.join("a", _LEASE_S)
    await a.round(term_a, _LEASE_S)
    term_b = await b.join("b", _LEASE_S)
    await _expire(pool, term_a)
    assert (await b.round(term_b, _LEASE_S)).acquired == frozenset(range(SHARDS))
    with pytest.raises(LeaseLostError):
        await a.round(term_a, _LEASE_S)
    assert await a.join("a", _LEASE_S) > term_b


async def test_a_late_renewal_counts_until_somebody_objects(pool: asyncpg.Pool) -> None:
    """A lease that ran out while nobody took the shards is simply renewed."""
    leases = PostgresLeases(pool)
    term = await leases.join("a", _LEASE_S)
    await leases.round(term, _LEASE_S)
    await _expire(pool, term)
    assert (await leases.round(term, _LEASE_S)).to_release == frozenset()
    assert await pool.fetchval("SELECT lease_expires_at > now() FROM propellers WHERE term = $1", term)


async def test_renewing_only_takes_nothing(pool: asyncpg.Pool) -> None:
    """While leaving, a round keeps the lease and leaves free shards alone."""
    leases = PostgresLeases(pool)
    term = await leases.join("a", _LEASE_S)
    assert (await leases.round(term, _LEASE_S, take=False)).acquired == frozenset()
    assert await pool.fetchval("SELECT count(*) FROM shards WHERE term IS NOT NULL") == 0


async def test_a_round_whose_answer_was_lost_is_made_good(pool: asyncpg.Pool) -> None:
    """Shards that a round took without being able to say so are reported by the next."""
    leases = PostgresLeases(pool)
    term = await leases.join("a", _LEASE_S)
    await pool.execute("UPDATE shards SET term = $1 WHERE shard < 10", term)
    assert (await leases.round(term, _LEASE_S)).acquired == frozenset(range(SHARDS))
