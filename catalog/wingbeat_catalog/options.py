"""What the catalog may take."""

from dataclasses import dataclass

import asyncpg

from wingbeat_propeller.postgres.pool import create_pool


@dataclass(frozen=True, slots=True)
class CatalogOptions:
    """Bounds; times in seconds, sizes in bytes."""

    heartbeat_s_max: float = 10.0
    """Reservations lapse after three heartbeats; whoever asks for longer ones gets these."""
    inline_bytes_max: int = 64 * 1024
    """Larger outputs lie in the blob store."""
    parts_bytes_max: int = 64 * 1024
    """Up to this size the inputs of an entry are kept beside it, to explain misses; of larger ones their digests."""
    age_max_s: float | None = None
    """Entries older than this are not used; None: however old."""
    batch_max: int = 2_000
    """Rows of one statement."""
    batch_bytes_max: int = 16 << 20
    """Bytes of one statement, unless one entry alone is larger."""


async def create_catalog_pool(
    dsn: str, *, size_max: int, application_name: str, lock_timeout_s: float = 2.0, statement_timeout_s: float = 10.0
) -> asyncpg.Pool:
    """A pool for the catalog alone: a locked table or a slow disk is a failure soon, never a long wait.

    Sequential scans are off: statements are prepared while the tables are empty and used when they are not.
    """
    return await create_pool(
        dsn,
        size_max=size_max,
        application_name=application_name,
        server_settings={
            "lock_timeout": str(int(lock_timeout_s * 1000)),
            "statement_timeout": str(int(statement_timeout_s * 1000)),
            "enable_seqscan": "off",
            "plan_cache_mode": "force_generic_plan",
        },
    )
