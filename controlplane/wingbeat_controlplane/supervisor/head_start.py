"""What `wingbeat up` sets going first: initdb, then the roles.

Processor time is what a start takes, and most of it is loading code. So initdb, a program of its own, begins before
anything heavy is loaded (this module imports nothing of that kind), and meanwhile this process loads, once, what all
roles and the supervisor share. The first run of each role is a copy of it (see `forked_process`) and loads only what is
the role's own. A role that is restarted later is a new interpreter: by then this process has an event loop, and a copy
would begin with whatever state it has come to.
"""

import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from wingbeat_controlplane.supervisor.child import Child, ChildSpec
from wingbeat_controlplane.supervisor.data_folder import ClientTls, DataFolder, Holder
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres, Initdb
from wingbeat_controlplane.supervisor.forked_process import can_fork
from wingbeat_controlplane.supervisor.ports import HeldPort, hold_port
from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity

POSTGRES = "postgres"
SUPERVISOR = "supervisor"
_PROGRAM = "wingbeat_controlplane"
# -P: modules of the folder we were started in must not shadow ours.
_COMMAND = (sys.executable, "-P", "-m", _PROGRAM)
_WORKER = (sys.executable, "-P", "-c", "from wingbeat.cli import main; main()")
# Nothing here starts a thread, and nothing registers metrics, which would show up in the figures of every role.
SHARED_CODE = (f"{_PROGRAM}.app", f"{_PROGRAM}.supervisor.schema_wait", "prometheus_client")
_LEFTOVER_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class SupervisorOptions:
    """What to run. `environment` is the environment of the role processes; ports of 0 choose free ones."""

    version: str
    host: str
    grpc_port: int
    http_port: int
    propellers: int
    environment: Mapping[str, str]
    client_host: str
    """Host in addresses that clients on this machine are told."""
    tls: ClientTls | None = None
    """None: gRPC is in the clear."""
    database_url: str = ""
    """Empty: a private PostgreSQL in the data folder."""
    postgres_settings: Mapping[str, str] = field(default_factory=dict[str, str])
    workers: Sequence[Sequence[str]] = ()
    """Arguments of `wingbeat worker` for each worker, but for the server's address."""
    worker_environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """The whole environment of the workers, which their tasks see: nothing of the server's own."""


@dataclass(frozen=True, slots=True)
class ClusterInTheMaking:
    """initdb, and the process that runs it."""

    initdb: Initdb
    process: Child


@dataclass(frozen=True, slots=True)
class HeadStart:
    """Ports, running roles, and the cluster in the making."""

    grpc_port: HeldPort
    http_port: HeldPort
    roles: Sequence[Child]
    postgres: EmbeddedPostgres | None
    cluster: ClusterInTheMaking | None
    """None when it exists."""
    database_url: str
    ended: Sequence[str]
    """What an earlier run had left, in words."""


def begin(folder: DataFolder, options: SupervisorOptions) -> HeadStart:
    """Set everything going; the caller holds the folder's lock and has no threads.

    Raises PortError, PostgresStartError, OSError.
    """
    ended = _end_leftovers(folder)
    grpc_port = hold_port(options.host, options.grpc_port, "--grpc-port")
    try:
        http_port = hold_port(options.host, options.http_port, "--http-port")
    except RuntimeError:
        grpc_port.close()
        raise
    folder.describe_holder(Holder(os.getpid(), grpc_port.number, http_port.number))
    postgres = None
    if not options.database_url:
        postgres = EmbeddedPostgres(folder.postgres, settings={"log_checkpoints": "off", **options.postgres_settings})
    database_url = postgres.dsn() if postgres is not None else options.database_url
    environment = {
        **options.environment,
        "WINGBEAT_SERVER__GRPC_PORT": str(grpc_port.number),
        "WINGBEAT_SERVER__HTTP_PORT": str(http_port.number),
        "WINGBEAT_DATABASE__URL": database_url,
    }
    cluster = _begin_cluster(postgres) if postgres is not None else None
    roles = _begin_roles(_roles(options.propellers, environment, folder))
    roles += [Child.start(spec) for spec in _workers(options, f"{options.client_host}:{grpc_port.number}")]
    return HeadStart(grpc_port, http_port, roles, postgres, cluster, database_url, ended)


def _begin_cluster(postgres: EmbeddedPostgres) -> ClusterInTheMaking | None:
    initdb = postgres.prepare_initdb()
    if initdb is None:
        return None
    spec = ChildSpec(
        name="initdb",
        argv=initdb.command,
        environment=os.environ,
        user=postgres.identity(),
        announces_ready=False,
    )
    return ClusterInTheMaking(initdb, Child.start(spec))


def _begin_roles(specs: Sequence[ChildSpec]) -> list[Child]:
    for name in SHARED_CODE:
        importlib.import_module(name)
    if not can_fork():
        return [Child.start(spec) for spec in specs]  # some library has started a thread, which a copy would lack
    run_process = cast("Callable[[Sequence[str]], int]", importlib.import_module(f"{_PROGRAM}.app").run_process)
    gc.freeze()  # what is shared stays shared: the collectors of the copies leave it alone
    return [Child.fork(spec, partial(run_process, spec.argv[len(_COMMAND) :])) for spec in specs]


def _roles(propellers: int, environment: Mapping[str, str], folder: DataFolder) -> list[ChildSpec]:
    server = ChildSpec(
        name="server",
        argv=[*_COMMAND, "server"],
        environment=environment,
        title=f"wingbeat: server of {folder.path}",
    )
    engines = [
        ChildSpec(
            name=f"propeller-{number}",
            argv=[*_COMMAND, "propeller"],
            environment={
                **environment,
                "WINGBEAT_PROPELLER__NAME": f"propeller-{number}",
                "WINGBEAT_PROPELLER__NUMBER": str(number),
            },
            title=f"wingbeat: propeller-{number} of {folder.path}",
        )
        for number in range(propellers)
    ]
    return [server, *engines]


def _workers(options: SupervisorOptions, server: str) -> list[ChildSpec]:
    """Programs of their own, never copies of this process: their tasks must not find our modules loaded."""
    secure: Sequence[str] = ()
    if options.tls is not None:
        server = f"https://{server}"
        secure = ("--ca-cert", options.tls.ca) if options.tls.ca else ()
    return [
        ChildSpec(
            name=f"worker-{number}",
            argv=[*_WORKER, "worker", "--server", server, *secure, "--name", f"worker-{number}", *arguments],
            environment=options.worker_environment,
            announces_ready=options.propellers > 0,  # without an engine nothing comes
        )
        for number, arguments in enumerate(options.workers)
    ]


def _end_leftovers(folder: DataFolder) -> list[str]:
    """End what a killed supervisor left running; nobody else can own it while we hold the lock."""
    state = folder.read_state()
    recorded: Mapping[str, ProcessIdentity] = {} if state is None else state.processes
    left = {role: process for role, process in recorded.items() if role != SUPERVISOR and process.is_alive()}
    pid = EmbeddedPostgres(folder.postgres).running_pid()
    if pid is not None and (identity := ProcessIdentity.of(pid)) is not None:
        left[POSTGRES] = identity
    for role, process in left.items():
        process.send(signal.SIGINT if role == POSTGRES else signal.SIGKILL)
    for process in left.values():
        if not process.wait(_LEFTOVER_WAIT_S):
            process.send(signal.SIGKILL)
            process.wait(_LEFTOVER_WAIT_S)
    folder.remove_state()
    return [f"{role} (pid {process.pid})" for role, process in left.items()]
