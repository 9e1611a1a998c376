"""`wingbeat up`: one process that owns the data folder and keeps PostgreSQL, server and propellers running.

Everything starts at once: the roles load their code while the database cluster is made and migrated, and wait for its
schema. On a stop the roles drain side by side, PostgreSQL ends last, and the state file goes. If this process is
killed, the kernel kills the roles and shuts PostgreSQL down; what survives even so is ended by the next start.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import asyncpg
import structlog

from wingbeat_controlplane.supervisor.child import SAME_USER, ChildSpec
from wingbeat_controlplane.supervisor.child_keeper import ChildFailedError, ChildKeeper
from wingbeat_controlplane.supervisor.data_folder import DataFolder, Holder, State
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres
from wingbeat_controlplane.supervisor.log_sink import LogSink
from wingbeat_controlplane.supervisor.ports import HeldPort, hold_port, reachable_host
from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity
from wingbeat_propeller.postgres.migrate import MigrationError, migrate

_POSTGRES = "postgres"
_SELF = "supervisor"
_READY_POLL_S = 0.01
_LEFTOVER_WAIT_S = 10.0

_log = structlog.get_logger(__name__)


class DatabaseError(RuntimeError):
    """The database does not answer or cannot be migrated."""


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


class Supervisor:
    """One run of an installation. The caller has created and locked the folder and configured logging."""

    def __init__(self, folder: DataFolder, options: SupervisorOptions, sink: LogSink) -> None:
        self._folder = folder
        self._options = options
        self._sink = sink
        self._postgres = (
            None
            if options.database_url
            else EmbeddedPostgres(folder.postgres, settings={"log_checkpoints": "off", **options.postgres_settings})
        )
        self._ports: list[HeldPort] = []
        self._roles: list[ChildKeeper] = []
        self._postgres_keeper: ChildKeeper | None = None
        self._stop = asyncio.Event()
        self._failure: Exception | None = None
        self._state = State(
            version=options.version,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            ready=False,
            grpc_endpoint="",
            http_url="",
            database="external" if options.database_url else "embedded",
            processes={},
        )

    def stop(self) -> None:
        """Drain and end; a second call ends everything at once."""
        if self._stop.is_set():
            _log.warning("stopping at once")
            for keeper in self._roles:
                keeper.kill()
            return
        _log.info("stopping")
        self._stop.set()

    async def run(self, on_ready: Callable[[State], None]) -> None:
        """Live until `stop`. Raises PortError, PostgresStartError, DatabaseError or ChildFailedError when the
        installation cannot start; then, too, nothing is left running.
        """
        end_leftovers(self._folder)
        self._hold_ports()
        try:
            async with asyncio.TaskGroup() as group:
                self._start_roles(group)
                starting = group.create_task(self._start(group, on_ready), name="start")
                try:
                    await self._stop.wait()
                    starting.cancel()
                finally:
                    await self._drain()
        finally:
            for port in self._ports:
                port.close()
        if self._failure is not None:
            raise self._failure

    async def _start(self, group: asyncio.TaskGroup, on_ready: Callable[[State], None]) -> None:
        try:
            if self._postgres is not None:
                await self._start_postgres(group, self._postgres)
            await _migrate(self._options.database_url or self._require_postgres().dsn())
            for keeper in self._roles:
                await keeper.ready.wait()
        except (RuntimeError, OSError) as error:
            self._fail(error)
            return
        self._state = replace(self._state, ready=True)
        self._folder.write_client_config(self._state.grpc_endpoint)
        self._write_state()
        _log.info("ready", grpc=self._state.grpc_endpoint, http=self._state.http_url)
        on_ready(self._state)

    async def _start_postgres(self, group: asyncio.TaskGroup, postgres: EmbeddedPostgres) -> None:
        await asyncio.to_thread(postgres.initialise)
        spec = ChildSpec(
            name=_POSTGRES,
            argv=postgres.command(),
            environment=os.environ,
            stop_signal=signal.SIGINT,  # fast shutdown: sessions are cut, the checkpoint is written
            orphan_signal=signal.SIGINT,
            user=postgres.identity(),
            announces_ready=False,
            grace_s=60.0,
        )
        keeper = self._keeper(spec, prepare=postgres.prepare_start)
        self._postgres_keeper = keeper
        group.create_task(self._keep(keeper), name=_POSTGRES)
        while keeper.identity is None or not postgres.is_ready():  # noqa: ASYNC110  (its pid file tells, nothing else)
            await asyncio.sleep(_READY_POLL_S)
        keeper.ready.set()

    def _start_roles(self, group: asyncio.TaskGroup) -> None:
        options = self._options
        common = {
            **options.environment,
            "WINGBEAT_SERVER__GRPC_PORT": str(self._ports[0].number),
            "WINGBEAT_SERVER__HTTP_PORT": str(self._ports[1].number),
            "WINGBEAT_DATABASE__URL": options.database_url or self._require_postgres().dsn(),
        }
        self._add_role(group, "server", "server", common)
        for number in range(options.propellers):
            name = f"propeller-{number}"
            self._add_role(group, name, "propeller", common | {"WINGBEAT_PROPELLER__NAME": name})

    def _add_role(self, group: asyncio.TaskGroup, name: str, role: str, environment: Mapping[str, str]) -> None:
        # -P: modules of the folder we were started in must not shadow ours.
        argv = [sys.executable, "-P", "-m", "wingbeat_controlplane", role]
        keeper = self._keeper(ChildSpec(name=name, argv=argv, environment=environment, user=SAME_USER))
        self._roles.append(keeper)
        group.create_task(self._keep(keeper), name=name)

    def _keeper(self, spec: ChildSpec, prepare: Callable[[], None] | None = None) -> ChildKeeper:
        return ChildKeeper(spec, on_line=self._sink.write, on_change=self._write_state, prepare=prepare)

    async def _keep(self, keeper: ChildKeeper) -> None:
        try:
            await keeper.run()
        except ChildFailedError as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._stop.set()

    async def _drain(self) -> None:
        async with asyncio.TaskGroup() as group:
            for keeper in self._roles:
                group.create_task(keeper.stop(), name=f"stop:{keeper.spec.name}")
        if self._postgres_keeper is not None:
            await self._postgres_keeper.stop()
        self._folder.remove_state()
        _log.info("stopped")

    def _hold_ports(self) -> None:
        host = self._options.host
        try:
            for port, option in ((self._options.grpc_port, "--grpc-port"), (self._options.http_port, "--http-port")):
                self._ports.append(hold_port(host, port, option))
        except Exception:
            for held in self._ports:
                held.close()
            raise
        grpc_port, http_port = (port.number for port in self._ports)
        reachable = reachable_host(host)
        self._folder.describe_holder(Holder(os.getpid(), grpc_port, http_port))
        self._state = replace(
            self._state, grpc_endpoint=f"{reachable}:{grpc_port}", http_url=f"http://{reachable}:{http_port}"
        )

    def _write_state(self) -> None:
        keepers = [*self._roles, *([self._postgres_keeper] if self._postgres_keeper else [])]
        processes = {keeper.spec.name: identity for keeper in keepers if (identity := keeper.identity) is not None}
        if (own := ProcessIdentity.of(os.getpid())) is not None:
            processes[_SELF] = own
        self._state = replace(self._state, processes=processes)
        self._folder.write_state(self._state)

    def _require_postgres(self) -> EmbeddedPostgres:
        assert self._postgres is not None, "an external database is in use"
        return self._postgres


def end_leftovers(folder: DataFolder) -> None:
    """End what a killed supervisor left running; the caller holds the lock, so nobody else can own it."""
    state = folder.read_state()
    recorded: Mapping[str, ProcessIdentity] = {} if state is None else state.processes
    left = {role: process for role, process in recorded.items() if role != _SELF and process.is_alive()}
    pid = EmbeddedPostgres(folder.postgres).running_pid()
    if pid is not None and (identity := ProcessIdentity.of(pid)) is not None:
        left[_POSTGRES] = identity
    for role, process in left.items():
        _log.warning("ending a process that an earlier run left", name=role, pid=process.pid)
        process.send(signal.SIGINT if role == _POSTGRES else signal.SIGKILL)
    for process in left.values():
        if not process.wait(_LEFTOVER_WAIT_S):
            process.send(signal.SIGKILL)
            process.wait(_LEFTOVER_WAIT_S)
    folder.remove_state()


async def _migrate(dsn: str) -> None:
    try:
        applied = await migrate(dsn)
    except MigrationError as error:
        raise DatabaseError(str(error)) from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise DatabaseError(f"the database does not answer: {error}") from error
    if applied:
        _log.info("database migrated", migrations=[f"{item.number:04d}_{item.name}" for item in applied])
