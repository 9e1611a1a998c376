"""Ending all tasks of an installation together with it."""

import asyncio
import json
from pathlib import Path

from wingbeat_propeller.runtimes.local import host_address
from wingbeat_propeller.runtimes.local.wingbeat_task_host.messages import request


async def stop_hosts(state_dir: Path) -> None:
    """Have every task host stop its attempts and end; returns when all are gone.

    The attempts end as interrupted: an engine that finds them after the next start may run them again.
    """
    hosts = state_dir / "hosts"
    if hosts.is_dir():
        async with asyncio.TaskGroup() as group:
            for folder in hosts.iterdir():
                group.create_task(_stop(state_dir, folder.name), name=f"stop task host {folder.name}")


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
