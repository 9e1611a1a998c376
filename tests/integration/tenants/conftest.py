"""Shares of tenants, and members that ask for slots without an engine around them."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.registry import open_registry
from wingbeat_controlplane.registry.tenant_shares import TenantShareStore
from wingbeat_propeller.ports.slots import SlotAsk
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeat_propeller.postgres.slots import PostgresSlots

PROJECT = "flytesnacks"
DOMAIN = "development"
Member = Callable[[], Awaitable[PostgresSlots]]


@pytest.fixture
def shares(pool: asyncpg.Pool) -> TenantShareStore:
    """The store behind TenantService."""
    return open_registry(pool, RegistryOptions()).tenant_shares


@pytest.fixture
def member(pool: asyncpg.Pool) -> Member:
    """Makes members with a term of their own."""

    async def join() -> PostgresSlots:
        slots = PostgresSlots(pool)
        await slots.open(await PostgresLeases(pool).join("test", 60))
        return slots

    return join


def asks(*names: str, domain: str = DOMAIN, running: bool = False, execution: int = 1) -> list[SlotAsk]:
    """Attempts of one execution that ask for slots."""
    return [SlotAsk(PROJECT, domain, execution, name, name, 0, running) for name in names]


async def seen_now(slots: PostgresSlots) -> int:
    """The revision of shares, which the caller now goes by."""
    return (await slots.shares()).revision


async def free(pool: asyncpg.Pool, *names: str) -> None:
    """As the commit does that records the ends of attempts."""
    await pool.execute("DELETE FROM tenant_slots WHERE name = ANY($1)", names)
