"""Reaching a task host: its name, its socket, its start."""

import asyncio
import hashlib
import json
import os
import socket
from pathlib import Path

from wingbeat_propeller.runtimes.local import wingbeat_task_host
from wingbeat_propeller.runtimes.local.options import LocalRuntimeOptions
from wingbeat_propeller.runtimes.local.paths import host_folder
from wingbeat_propeller.runtimes.local.wingbeat_task_host.messages import MESSAGE_BYTES_MAX, HostConfig
from wingbeat_propeller.runtimes.local.wingbeat_task_host.server import SCRATCH_FOLDER, SOCKET_FILE

PLAIN_HOST_KEY = "plain"
"""The host without flytekit that executes programs; it also judges attempts whose own host cannot be had any more."""

_ADDRESS_BYTES_MAX = 100
_START_S_MAX = 60.0
_INTERPRETER_FILE = "interpreter"
_LOG_TAIL_BYTES = 4096


class HostStartError(Exception):
    """The host did not come up; the message carries the end of its log."""


def host_key(interpreter: str) -> str:
    """Folder name of the host that runs flytekit's programs under an interpreter."""
    return hashlib.blake2b(interpreter.encode(), digest_size=8).hexdigest()


def interpreter_of_host(state_dir: Path, key: str) -> str | None:
    """The interpreter of a host that was started once, None when there is no such host."""
    try:
        return (host_folder(state_dir, key) / _INTERPRETER_FILE).read_text()
    except FileNotFoundError:
        return None


async def connect(state_dir: Path, key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a live host. Raises OSError when there is none."""
    folder = host_folder(state_dir, key)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _connect(sock, folder)
        return await asyncio.open_unix_connection(sock=sock, limit=MESSAGE_BYTES_MAX)
    except BaseException:
        sock.close()
        raise


def _connect(sock: socket.socket, folder: Path) -> None:
    """A unix socket connects at once or not at all, so nothing is awaited. An address has room for few characters: a
    socket further down is reached through a descriptor of its folder."""
    address = str(folder / SOCKET_FILE)
    if len(os.fsencode(address)) <= _ADDRESS_BYTES_MAX:
        sock.connect(address)
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sock.connect(f"/proc/self/fd/{descriptor}/{SOCKET_FILE}")
    finally:
        os.close(descriptor)


async def start(options: LocalRuntimeOptions, key: str, interpreter: str, *, preload: bool) -> None:
    """Start the host unless it lives already; returns when it listens. Raises HostStartError."""
    folder = host_folder(options.state_dir, key)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / _INTERPRETER_FILE).write_text(interpreter)
    config: HostConfig = {
        "state_dir": str(options.state_dir.absolute()),
        "key": key,
        "preload": preload,
        "kill_grace_s": options.kill_grace_s,
        "idle_grace_s": options.idle_grace_s,
        "memory_poll_s": options.memory_poll_s,
    }
    program = Path(wingbeat_task_host.__file__).with_name("__main__.py")
    environment = {
        **options.basic_env,
        "PATH": options.path,
        "HOME": str(folder),
        "TMPDIR": str(folder / SCRATCH_FOLDER),
        "FLYTE_SDK_RICH_TRACEBACKS": "0",
    }
    with (folder / "host.log").open("ab") as log:
        log_start = log.tell()
        try:
            process = await asyncio.create_subprocess_exec(
                interpreter,
                str(program),
                json.dumps(config),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise HostStartError(f"{interpreter}: {error.strerror}") from error
    try:
        async with asyncio.timeout(_START_S_MAX):
            status = await process.wait()
    except TimeoutError as error:
        raise HostStartError(f"{interpreter} did not start a task host within {_START_S_MAX:g} seconds") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status != 0:
        raise HostStartError(
            f"{interpreter} could not start a task host:\n{_log_since(folder / 'host.log', log_start)}"
        )


def _log_since(path: Path, start: int) -> str:
    with path.open("rb") as file:
        file.seek(max(start, path.stat().st_size - _LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").strip()
