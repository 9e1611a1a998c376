"""Starts engines and servers in milliseconds: everything is loaded once, and each process is a fork.

`python -m tests.integration.watch.spawner DSN FOLDER LEASE_S` answers each line on its input, `engine NAME` or
`server PORT`, with the pid of a new process.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.integration.engine.harness import make_engine
from tests.integration.watch.serving import watch_server

from wingbeat_propeller.postgres.pool import create_pool
from wingbeat_propeller.runtimes.instant import InstantRuntime


async def _engine(dsn: str, folder: Path, lease_s: float, name: str) -> None:
    pool = await create_pool(dsn, size_max=3, application_name=f"engine {name}")
    await make_engine(pool, dsn, folder / "blobs", InstantRuntime(), name=name, lease_s=lease_s).run()


async def _serve(dsn: str, folder: Path, port: int) -> None:
    pool = await create_pool(dsn, size_max=2, application_name="server")
    async with watch_server(dsn, pool, folder / "blobs", port=port):
        await asyncio.get_running_loop().create_future()


def main(dsn: str, folder: str, lease_s: str) -> None:
    """Fork a process for each line until there are no more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that are killed
    for line in sys.stdin:
        role, argument = line.split()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(f"{folder}/processes.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            try:
                if role == "engine":
                    asyncio.run(_engine(dsn, Path(folder), float(lease_s), argument))
                else:
                    asyncio.run(_serve(dsn, Path(folder), int(argument)))
            finally:
                os._exit(1)
        print(pid, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
