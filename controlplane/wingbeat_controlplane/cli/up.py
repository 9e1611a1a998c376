"""`wingbeat up`: start an installation on this machine and stay with it, or leave it in the background."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from wingbeat import __version__
from wingbeat.cli.output import fail, say
from wingbeat_controlplane.cli.description import describe
from wingbeat_controlplane.cli.settings_flags import flags_of, settings_or_fail
from wingbeat_controlplane.settings import LoadedSettings, Settings, TlsSettings, WorkerSettings, environment_of
from wingbeat_controlplane.supervisor.data_folder import ClientTls, DataFolder, DataFolderError
from wingbeat_controlplane.supervisor.embedded_postgres import PostgresStartError
from wingbeat_controlplane.supervisor.head_start import SupervisorOptions, begin
from wingbeat_controlplane.supervisor.ports import PortError, reachable_host

_READY = b"\0"
_WORKER_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "REQUESTS_CA_BUNDLE",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
)


def up(
    data_dir: Annotated[
        str | None, typer.Option(help="Folder of everything Wingbeat keeps; by default ~/.wingbeat.")
    ] = None,
    grpc_port: Annotated[int | None, typer.Option(help="gRPC port, 8089 by default; 0: any free one.")] = None,
    http_port: Annotated[int | None, typer.Option(help="HTTP port, 8088 by default; 0: any free one.")] = None,
    database_url: Annotated[
        str | None, typer.Option(help="A PostgreSQL server of yours instead of the private one.")
    ] = None,
    propellers: Annotated[int | None, typer.Option(help="Engine processes, 1 by default.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that keep the code of Python tasks loaded, none by default.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Go on in the background once ready.")] = False,
    config: Annotated[
        str | None, typer.Option(help="Settings file; by default wingbeat.toml in the data folder.")
    ] = None,
) -> None:
    """Start Wingbeat on this machine: database, server and engine. Ctrl-C stops it, work goes on at the next start."""
    flags = flags_of(
        data_dir=str(Path(data_dir).expanduser().absolute()) if data_dir else None,
        server__grpc_port=grpc_port,
        server__http_port=http_port,
        database__url=database_url,
        propeller__count=propellers,
        workers__count=workers,
    )
    loaded = settings_or_fail(flags, config)
    environment = environment_of(flags) | {"WINGBEAT_DATA_DIR": str(loaded.settings.data_dir)}
    if loaded.file is not None:
        environment["WINGBEAT_CONFIG"] = str(loaded.file.absolute())
    if detach:
        _detach(loaded, environment)
    else:
        _supervise(loaded, environment, lambda: None)


def _supervise(loaded: LoadedSettings, environment: dict[str, str], on_ready: Callable[[], None]) -> None:
    settings = loaded.settings
    folder = DataFolder(settings.data_dir)
    options = SupervisorOptions(
        version=__version__,
        host=settings.server.host,
        client_host=settings.tls.name or reachable_host(settings.server.host),
        tls=_client_tls(settings.tls),
        grpc_port=settings.server.grpc_port,
        http_port=settings.server.http_port,
        propellers=settings.propeller.count,
        environment={**os.environ, **environment, "WINGBEAT_LOGGING__FORMAT": "json"},
        database_url=settings.database.url.get_secret_value(),
        postgres_settings=settings.database.embedded,
        workers=_workers(settings.workers),
        worker_environment=_worker_environment(settings),
    )
    try:
        folder.create()
        folder.lock()
        start = begin(folder, options)
    except (DataFolderError, PortError, PostgresStartError) as error:
        fail(str(error))
    from wingbeat_controlplane.cli.supervision import supervise  # not needed before the children are under way

    failure = supervise(folder, options, start, settings.logging, on_ready)
    folder.unlock()
    if failure is not None:
        fail(failure)


def _client_tls(settings: TlsSettings) -> ClientTls | None:
    if settings.certificate is None:
        return None
    return ClientTls("" if settings.ca is None else str(settings.ca.absolute()))


def _workers(settings: WorkerSettings) -> list[list[str]]:
    """Arguments of each worker."""
    slots = settings.slots or max(1, 2 * (os.cpu_count() or 1) // max(1, settings.count))
    return [["--slots", str(slots), "--drain-s", str(settings.drain_s)] for _ in range(settings.count)]


def _worker_environment(settings: Settings) -> dict[str, str]:
    """What the tasks of the workers find: how the machine is set up, and nothing of the server's own."""
    path = settings.local_runtime.path or os.environ.get("PATH", os.defpath)
    kept = {name: os.environ[name] for name in _WORKER_VARIABLES if name in os.environ}
    return {**kept, **settings.local_runtime.variables, "PATH": path}


def _detach(loaded: LoadedSettings, environment: dict[str, str]) -> None:
    """Go on in a process of its own session; the one that was typed waits for it to be ready, or to say why not.

    The error output of the new process is a pipe to the old one: a zero byte in it means ready, text without one is
    the failure.
    """
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        os.setsid()
        _redirect(theirs)
        _supervise(loaded, environment, _let_go)
        return
    os.close(theirs)
    importlib.import_module("rich.console")  # what prints the outcome is slow to load: do it while we wait
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read()
    if not said.endswith(_READY):
        _, status = os.waitpid(pid, 0)
        sys.stderr.write(said.decode(errors="replace"))
        raise typer.Exit(os.waitstatus_to_exitcode(status) or 1)
    folder = DataFolder(loaded.settings.data_dir)
    state = folder.read_state()
    if state is None:
        fail("Wingbeat was ready, but has been stopped since")
    say(describe(state, folder))


def _redirect(errors: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nothing, number)
    os.dup2(errors, 2)
    os.close(nothing)
    os.close(errors)


def _let_go() -> None:
    """Ready: tell the process that waits, and keep no hold on its terminal."""
    os.write(2, _READY)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
