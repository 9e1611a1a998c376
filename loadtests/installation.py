"""An installation to measure: `wingbeat up` on a folder and free ports, and programs of the environment it runs in."""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from wingbeat_controlplane.supervisor.data_folder import DataFolder
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "flytesnacks"
DOMAIN = "development"
_BIN = Path(sys.executable).parent


@contextmanager
def installation(folder: Path, environment: Mapping[str, str] | None = None) -> Generator[str]:
    """`wingbeat up` on `folder` for the time of the block, with further variables; the gRPC address."""
    up = ("up", "--data-dir", str(folder), "--grpc-port", "0", "--http-port", "0", "--detach")
    run_command("wingbeat", *up, environment=environment)
    try:
        state: Mapping[str, str] = json.loads((folder / "state.json").read_text())
        yield state["grpc_endpoint"]
    finally:
        run_command("wingbeat", "down", "--data-dir", str(folder))


def propeller(folder: Path) -> psutil.Process:
    """The process of the installation's engine. Raises psutil.NoSuchProcess while it is being restarted."""
    processes = json.loads((folder / "state.json").read_text())["processes"]
    if "propeller-0" not in processes:
        raise psutil.NoSuchProcess(0, "propeller-0")
    return psutil.Process(processes["propeller-0"]["pid"])


def database(folder: Path) -> str:
    """Connection string of the installation's own database."""
    return EmbeddedPostgres(DataFolder(folder).postgres).dsn()


def run_command(program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a program of this environment; its output. Raises RuntimeError with what it said when it fails."""
    path = f"{_BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [_BIN / program, *arguments],
        env={**os.environ, "PATH": path, **(environment or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{program} {arguments[0]} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout
