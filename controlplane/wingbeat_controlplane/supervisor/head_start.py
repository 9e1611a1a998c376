"""What `wingbeat up` sets going before it loads the rest of its own code: the cluster is made and the roles load theirs
meanwhile, which halves the time to ready on a small machine. So this module imports nothing heavy.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from wingbeat_controlplane.supervisor.child import Child, ChildSpec
from wingbeat_controlplane.supervisor.data_folder import DataFolder, Holder
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres
from wingbeat_controlplane.supervisor.ports import HeldPort, hold_port
from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity

POSTGRES = "postgres"
SUPERVISOR = "supervisor"
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
    database_url: str = ""
    """Empty: a private PostgreSQL in the data folder."""
    postgres_settings: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class HeadStart:
    """Ports, running roles, and the cluster in the making."""

    grpc_port: HeldPort
    http_port: HeldPort
    roles: Sequence[Child]
    postgres: EmbeddedPostgres | None
    cluster: Future[None] | None
    database_url: str
    ended: Sequence[str]
    """What an earlier run had left, in words."""


def begin(folder: DataFolder, options: SupervisorOptions) -> HeadStart:
    """Set everything going; the caller holds the folder's lock. Raises PortError, OSError."""
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
    roles = [Child.start(spec) for spec in _roles(options.propellers, environment)]
    cluster = None
    if postgres is not None:
        # After the roles: they are forked, and a fork wants a process with one thread.
        executor = ThreadPoolExecutor(1, "initdb")
        cluster = executor.submit(postgres.initialise)
        executor.shutdown(wait=False)
    return HeadStart(grpc_port, http_port, roles, postgres, cluster, database_url, ended)


def _roles(propellers: int, environment: Mapping[str, str]) -> list[ChildSpec]:
    # -P: modules of the folder we were started in must not shadow ours.
    command = [sys.executable, "-P", "-m", "wingbeat_controlplane"]
    server = ChildSpec(name="server", argv=[*command, "server"], environment=environment)
    engines = [
        ChildSpec(
            name=f"propeller-{number}",
            argv=[*command, "propeller"],
            environment={
                **environment,
                "WINGBEAT_PROPELLER__NAME": f"propeller-{number}",
                "WINGBEAT_PROPELLER__NUMBER": str(number),
            },
        )
        for number in range(propellers)
    ]
    return [server, *engines]


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
