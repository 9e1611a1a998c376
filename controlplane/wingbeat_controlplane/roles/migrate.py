"""The role `migrate`: bring the database to this release's schema, then end."""

import asyncio

import structlog

from wingbeat_controlplane.roles.options import database_url
from wingbeat_controlplane.settings import Settings
from wingbeat_propeller.postgres.migrate import migrate

_log = structlog.get_logger(__name__)


async def run_migrate(settings: Settings, stop: asyncio.Event) -> None:
    """Apply what the database lacks, to the end even when told to stop: each migration is a transaction of its own.

    Raises MigrationError, OSError and asyncpg's errors.
    """
    applied = await migrate(database_url(settings))
    _log.info(
        "database is up to date", applied=[f"{item.number:04d}_{item.name}" for item in applied], stopping=stop.is_set()
    )
