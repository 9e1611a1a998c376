"""Slots of limits in a real Postgres: who gets one, in which order, and that there are never too many."""

import asyncio
import random

import asyncpg
import pytest
from tests.integration.tenants.conftest import DOMAIN, PROJECT, Member, asks, free, seen_now

from wingbeat_controlplane.registry.tenant_shares import TenantShareStore
from wingbeat_propeller.ports.journal import LeaseLostError
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeat_propeller.postgres.slots import PostgresSlots


async def test_slots_go_in_the_order_of_the_asks(shares: TenantShareStore, member: Member, pool: asyncpg.Pool) -> None:
    """The first that ask get the slots that are left, the others none; an attempt that has one keeps it, once."""
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=3)
    slots = await member()
    seen = await seen_now(slots)
    assert await slots.admit(asks("c", "a"), seen=seen) == {"c", "a"}
    assert await slots.admit(asks("z", "a", "y", "x"), seen=seen) == {"z", "a"}
    assert await slots.admit(asks("x", "c"), seen=seen) == {"c"}
    await free(pool, "a")
    assert await slots.admit(asks("x", "y"), seen=seen) == {"x"}
    assert sorted(r["name"] for r in await pool.fetch("SELECT name FROM tenant_slots")) == ["c", "x", "z"]
    assert await slots.of_executions([1, 2]) == {"c", "x", "z"}


async def test_limits_of_project_and_domain_hold_both(shares: TenantShareStore, member: Member) -> None:
    """A tenant is held by its own limit and, together with its neighbours, by the project's; others by neither."""
    await shares.set(PROJECT, "", weight=None, running_max=3)
    await shares.set(PROJECT, "staging", weight=None, running_max=1)
    slots = await member()
    seen = await seen_now(slots)
    mixed = [*asks("s1", "s2", domain="staging"), *asks("d1", "d2", "d3"), *asks("p1", domain="production")]
    assert await slots.admit(mixed, seen=seen) == {"s1", "d1", "d2"}
    assert await slots.admit(asks("p1", domain="production"), seen=seen) == set()
    await shares.delete(PROJECT, "")
    assert await slots.admit(asks("p1", domain="production"), seen=seen) == {"p1"}
    assert await slots.admit(asks("s2", domain="staging"), seen=seen) == set()


async def test_what_runs_already_counts(shares: TenantShareStore, member: Member, pool: asyncpg.Pool) -> None:
    """Attempts that ran before there was a limit get slots whatever it is, and hold others back until they end."""
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=1)
    slots = await member()
    seen = await seen_now(slots)
    assert await slots.admit([*asks("a", "b", running=True), *asks("c")], seen=seen) == {"a", "b"}
    await free(pool, "a")
    assert await slots.admit(asks("c"), seen=seen) == set()
    await free(pool, "b")
    assert await slots.admit(asks("c"), seen=seen) == {"c"}


async def test_a_lowered_limit_waits_until_it_has_drained(
    shares: TenantShareStore, member: Member, pool: asyncpg.Pool
) -> None:
    """Nothing starts while more run than the new limit allows; a raised limit admits at once; zero admits nothing."""
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=4)
    slots = await member()
    seen = await seen_now(slots)
    assert len(await slots.admit(asks("a", "b", "c", "d"), seen=seen)) == 4
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=2)
    for gone in ("a", "b"):
        assert await slots.admit(asks("e"), seen=seen) == set()
        await free(pool, gone)
    assert await slots.admit(asks("e"), seen=seen) == set()
    await free(pool, "c")
    assert await slots.admit(asks("e", "f"), seen=seen) == {"e"}
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=3)
    assert await slots.admit(asks("f", "g"), seen=seen) == {"f"}
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=0)
    await free(pool, "d", "e", "f")
    assert await slots.admit(asks("g"), seen=seen) == set()


async def test_a_new_limit_waits_for_every_engine(shares: TenantShareStore, member: Member) -> None:
    """Nothing is admitted while an engine may still run attempts without slots: it has to count them first."""
    knows, knows_not = await member(), await member()
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=2)
    seen = await seen_now(knows)
    assert await knows.admit(asks("a"), seen=seen) == set()
    assert await knows_not.admit(asks("old", running=True), seen=seen) == {"old"}
    assert await knows.admit(asks("a", "b"), seen=seen) == {"a"}
    await shares.set(PROJECT, DOMAIN, weight=7, running_max=3)  # known to all as a limit: no need to wait
    assert await knows.admit(asks("b"), seen=seen) == {"b"}


async def test_engines_take_turns(shares: TenantShareStore, member: Member, pool: asyncpg.Pool) -> None:
    """A slot that comes free is left to the engine that has waited longest, however often another asks first."""
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=1)
    first, second = await member(), await member()
    seen = await seen_now(first)
    await second.admit([], seen=seen)
    assert await first.admit(asks("a1"), seen=seen) == {"a1"}
    assert await second.admit(asks("b1", execution=2), seen=seen) == set()
    await free(pool, "a1")
    assert await first.admit(asks("a2"), seen=seen) == set()
    assert await second.admit(asks("b1", "b2", execution=2), seen=seen) == {"b1"}
    await free(pool, "b1")
    assert await second.admit(asks("b2", execution=2), seen=seen) == set()
    assert await first.admit(asks("a2"), seen=seen) == {"a2"}


async def test_who_no_longer_waits_keeps_nothing_free(
    shares: TenantShareStore, member: Member, pool: asyncpg.Pool
) -> None:
    """A line that was not renewed is void, and one of an engine that is gone goes with it."""
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=1)
    first, second = await member(), await member()
    seen = await seen_now(first)
    await second.admit([], seen=seen)
    assert await first.admit(asks("a1"), seen=seen) == {"a1"}
    assert await second.admit(asks("b1", execution=2), seen=seen) == set()
    await free(pool, "a1")
    await pool.execute("UPDATE tenant_waits SET asked_at = asked_at - interval '3 seconds'")
    assert await first.admit(asks("a2"), seen=seen) == {"a2"}
    assert await second.admit(asks("b1", execution=2), seen=seen) == set()
    await pool.execute("DELETE FROM propellers WHERE term = (SELECT term FROM tenant_waits)")
    assert await pool.fetchval("SELECT count(*) FROM tenant_waits") == 0


async def test_nothing_is_given_after_the_end_of_a_term(shares: TenantShareStore, pool: asyncpg.Pool) -> None:
    """A member whose term was ended gets nothing and writes nothing."""
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=5)
    slots = PostgresSlots(pool)
    leases = PostgresLeases(pool)
    term = await leases.join("test", 60)
    await slots.open(term)
    seen = await seen_now(slots)
    await leases.leave(term)
    with pytest.raises(LeaseLostError):
        await slots.admit(asks("a"), seen=seen)
    with pytest.raises(LeaseLostError):
        await slots.open(term)
    assert await pool.fetchval("SELECT count(*) FROM tenant_slots") == 0


async def test_a_call_whose_answer_was_lost_is_void_after_its_repetition(
    shares: TenantShareStore, member: Member, pool: asyncpg.Pool
) -> None:
    """The first try of a call, executed late, changes nothing any more."""
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=5)
    slots = await member()
    seen = await seen_now(slots)
    await slots.admit(asks("a"), seen=seen)
    await slots.admit(asks("a"), seen=seen)
    statement = "SELECT admit_attempts((SELECT max(term) FROM propellers), $1, $2, $3::slot_ask[])"
    assert await pool.fetchval(statement, 1, seen, asks("late")) is None
    assert await slots.of_executions([1]) == {"a"}


async def test_slots_of_ended_executions_go_when_an_engine_starts(member: Member, pool: asyncpg.Pool) -> None:
    """What an engine of a release without slots has left behind is removed."""
    await pool.execute(
        "INSERT INTO tenant_slots (execution_id, name, project, domain, node_id, attempt)"
        " VALUES (12345, 'a', $1, $2, 'n0', 0)",
        PROJECT,
        DOMAIN,
    )
    await member()
    assert await pool.fetchval("SELECT count(*) FROM tenant_slots") == 0


async def test_many_at_once_never_pass_a_limit(shares: TenantShareStore, member: Member, pool: asyncpg.Pool) -> None:
    """Members that ask and free at the same time, at random, over two limits: counted after each answer, never above;
    and everybody gets his turns."""
    await shares.set(PROJECT, "", weight=None, running_max=6)
    await shares.set(PROJECT, DOMAIN, weight=None, running_max=4)
    members = [await member() for _ in range(4)]
    seen = await seen_now(members[0])
    for one in members:
        await one.admit([], seen=seen)

    async def live(number: int, slots: PostgresSlots) -> int:
        dice = random.Random(number)
        held: set[str] = set()
        got = 0
        for turn in range(60):
            domain = dice.choice((DOMAIN, "staging"))
            wanted = [f"{number}-{turn}-{one}" for one in range(dice.randint(1, 4))]
            admitted = await slots.admit(asks(*wanted, domain=domain, execution=number), seen=seen)
            counts = await pool.fetchrow(
                "SELECT count(*) AS project, count(*) FILTER (WHERE domain = $1) AS domain FROM tenant_slots", DOMAIN
            )
            assert counts is not None
            assert counts["project"] <= 6
            assert counts["domain"] <= 4
            got += len(admitted)
            held |= admitted
            freed = dice.sample(sorted(held), dice.randint(0, len(held)))
            await free(pool, *freed)
            held.difference_update(freed)
        await free(pool, *held)
        return got

    shares_of_all = await asyncio.gather(*(live(number, slots) for number, slots in enumerate(members)))
    assert min(shares_of_all) > 0
    assert await pool.fetchval("SELECT count(*) FROM tenant_slots") == 0
