"""A process that makes an entry under a reservation, one step after each line of its input, and says what it has done.

It is killed between its steps, or while one of them is under way.
"""

import asyncio
import sys
from pathlib import Path

from tests.integration.catalog.conftest import ask, entry, integer, task

from wingbeat_catalog.cache import PostgresCache
from wingbeat_catalog.options import CatalogOptions, create_catalog_pool
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.ports.cache import CacheClaim

HEARTBEAT_S = 0.2
STEPS = ("reserved", "extended", "put", "released")


async def main(dsn: str, folder: str, owner: str) -> None:
    """Reserve, extend, put, release."""
    pool = await create_catalog_pool(dsn, size_max=2, application_name=owner, lock_timeout_s=60, statement_timeout_s=60)
    cache = PostgresCache(pool, dsn, FolderBlobs(Path(folder)), CatalogOptions(inline_bytes_max=100))
    call = ask(task(), a=integer(3))
    (miss,) = await cache.look_up([call])
    claim = CacheClaim(miss.catalog, owner)
    print("ready", flush=True)
    for step in STEPS:
        sys.stdin.readline()
        print(f"begins {step}", flush=True)
        match step:
            case "reserved" | "extended":
                await cache.reserve([claim], HEARTBEAT_S)
            case "put":
                await cache.put([entry(call, f"{owner} " * 100)])
            case _:
                await cache.release([claim])
        print(step, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
