"""Ending all tasks of an installation together with it.

Attempts that are cut lose their record, so that they look as if they had never been launched: the next engine finds
them in the database, does not find them here, and launches them anew under the same name. Attempts that had ended keep
their record. Call this when no engine works on the folder any more; an engine that does takes the ends for failures.
"""

import asyncio
import json
from pathlib import Path

from wingbeat_propeller.runtimes.local import host_address
from wingbeat_propeller.runtimes.local.paths import task_folder
from wingbeat_propeller.runtimes.local.places import remove_places
from wingbeat_propeller.runtimes.local.wingbeat_task_host.messages import request
from wingbeat_propeller.runtimes.local.wingbeat_task_host.processes import boot_id, is_alive, kill_session
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import (
    Claim,
    claimed_names,
    read_claim,
    read_exit,
    remove_record,
)

_GONE_POLL_S = 0.01


async def stop_hosts(state_dir: Path) -> None:
    """Have every task host stop its attempts and end, then end what no host watches; returns when all are gone."""
    hosts = state_dir / "hosts"
    if hosts.is_dir():
        async with asyncio.TaskGroup() as group:
            for folder in hosts.iterdir():
                group.create_task(_stop(state_dir, folder.name), name=f"stop task host {folder.name}")
    await _end_unwatched(state_dir)
    remove_places(state_dir)


async def _stop(state_dir: Path, key: str) -> None:
    try:
        reader, writer = await host_address.connect(state_dir, key)
    except OSError:
        return  # it does not live
    try:
        writer.write(json.dumps(request("stop")).encode() + b"\n")
        while await reader.read(1 << 16):
            pass
    except ConnectionError:
        pass  # it ended faster than it could say so
    finally:
        writer.close()


async def _end_unwatched(state_dir: Path) -> None:
    """End attempts whose host was killed: without a host there is nobody to count a grace period for them."""
    boot = boot_id()
    for name in claimed_names(str(state_dir)):
        folder = str(task_folder(state_dir, name))
        claim = read_claim(folder)
        if claim is not None and claim.boot == boot and is_alive(claim.pid, claim.start):
            await _end(folder, claim)


async def _end(folder: str, claim: Claim) -> None:
    kill_session(claim.pid, claim.start)
    while is_alive(claim.pid, claim.start):  # noqa: ASYNC110 (a process that is not ours to wait for)
        await asyncio.sleep(_GONE_POLL_S)
    if read_exit(folder) is None:
        remove_record(folder)
