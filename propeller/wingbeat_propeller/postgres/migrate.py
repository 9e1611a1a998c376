"""Forward-only schema migrations: numbered SQL files, each applied once, in order, in a transaction of its own.

Several processes may call `migrate` at once: an advisory lock lets one work while the others wait and then find
nothing to do. A file begins with `-- expand` (safe beside the running older release) or `-- contract`.
"""

import re
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

_LOCK = 0x77696E67
_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")


class MigrationError(RuntimeError):
    """The database was migrated by a newer release, or a migration failed and was rolled back."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its number, name and SQL."""

    number: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """All migrations of this release, lowest number first."""
    found = [
        Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8"))
        for entry in files("wingbeat_propeller.postgres").joinpath("migrations").iterdir()
        if (match := _FILE.match(entry.name))
    ]
    return sorted(found, key=lambda migration: migration.number)


async def migrate(dsn: str) -> list[Migration]:
    """Bring the database at `dsn` to this release's schema; returns what was applied now.

    Raises MigrationError, and whatever asyncpg raises for a database that does not answer.
    """
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (number integer PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {row["number"] for row in await connection.fetch("SELECT number FROM schema_migrations")}
        known = migrations()
        if unknown := done - {migration.number for migration in known}:
            raise MigrationError(f"the database has migrations {sorted(unknown)} of a newer release")
        pending = [migration for migration in known if migration.number not in done]
        for migration in pending:
            await _apply(connection, migration)
        return pending
    finally:
        await connection.close()


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO schema_migrations (number, name) VALUES ($1, $2)", migration.number, migration.name
            )
    except asyncpg.PostgresError as error:
        raise MigrationError(f"migration {migration.number:04d}_{migration.name} failed: {error}") from error
