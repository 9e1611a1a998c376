"""Migrations against a real server."""

import asyncio

import asyncpg
import pytest

from wingbeat_propeller.postgres.migrate import MigrationError, migrate, migrations


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    """A migrated database has nothing pending, also when several processes ask at once."""
    assert await asyncio.gather(*(migrate(database_url) for _ in range(4))) == [[], [], [], []]


async def test_a_newer_schema_is_refused(database_url: str, pool: asyncpg.Pool) -> None:
    """A release never touches a database that a newer one migrated."""
    await pool.execute("INSERT INTO schema_migrations (number, name) VALUES (9999, 'future')")
    with pytest.raises(MigrationError, match="9999"):
        await migrate(database_url)


def test_numbers_are_unique_and_declared() -> None:
    """No two migrations have one number, and each says whether it expands or contracts."""
    found = migrations()
    assert len({migration.number for migration in found}) == len(found)
    assert all(migration.sql.startswith(("-- expand", "-- contract")) for migration in found)
