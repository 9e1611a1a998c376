"""`wingbeat up`: one process that owns the data folder and keeps PostgreSQL, server and propellers running.

Everything starts at once (see `head_start`): the roles start while the database cluster is made and migrated, and wait
for its schema. On a stop the roles drain side by side, then the local tasks are ended (the next start launches
them anew), PostgreSQL ends last, and the state file goes. If this process is killed, the kernel kills the roles and
shuts PostgreSQL down; local tasks run on for the next start, which ends what else survives even so.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from wingbeat_controlplane.supervisor.child import Child, ChildSpec
from wingbeat_controlplane.supervisor.child_keeper import ChildFailedError, ChildKeeper
from wingbeat_controlplane.supervisor.data_folder import DataFolder, State
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres, PostgresStartError
from wingbeat_controlplane.supervisor.head_start import POSTGRES, SUPERVISOR, HeadStart, SupervisorOptions
from wingbeat_controlplane.supervisor.log_sink import LogSink
from wingbeat_controlplane.supervisor.ports import reachable_host
from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity
from wingbeat_propeller.postgres.migrate import MigrationError, migrate
from wingbeat_propeller.postgres.outages import DATABASE_ERRORS

_READY_POLL_S = 0.01

_log = structlog.get_logger(__name__)


class DatabaseError(RuntimeError):
    """The database does not answer or cannot be migrated."""


class Supervisor:
    """One run of an installation, from its head start on. The caller has configured logging."""

    def __init__(self, folder: DataFolder, options: SupervisorOptions, start: HeadStart, sink: LogSink) -> None:
        self._folder = folder
        self._start = start
        self._sink = sink
        self._roles = [self._keeper(role.spec, first=role) for role in start.roles]
        self._postgres_keeper: ChildKeeper | None = None
        self._stop = asyncio.Event()
        self._failure: Exception | None = None
        self._tls = options.tls
        self._state = State(
            version=options.version,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            ready=False,
            grpc_endpoint=f"{options.client_host}:{start.grpc_port.number}",
            http_url=f"http://{reachable_host(options.host)}:{start.http_port.number}",
            database="external" if start.postgres is None else "embedded",
            processes={},
        )

    def stop(self) -> None:
        """Drain and end; a second call ends the roles at once."""
        if self._stop.is_set():
            _log.warning("stopping at once")
            for keeper in self._roles:
                keeper.kill()
            return
        _log.info("stopping")
        self._stop.set()

    async def run(self, on_ready: Callable[[State], None]) -> None:
        """Live until `stop`.

        Raises PostgresStartError, DatabaseError or ChildFailedError when the installation cannot start; then, too,
        nothing is left running.
        """
        if self._start.ended:
            _log.warning("ended what an earlier run had left", processes=list(self._start.ended))
        try:
            async with asyncio.TaskGroup() as group:
                for keeper in self._roles:
                    group.create_task(self._keep(keeper), name=keeper.spec.name)
                starting = group.create_task(self._get_ready(group, on_ready), name="start")
                try:
                    await self._stop.wait()
                    starting.cancel()
                finally:
                    await self._drain()
        finally:
            self._start.grpc_port.close()
            self._start.http_port.close()
        if self._failure is not None:
            raise self._failure

    async def _get_ready(self, group: asyncio.TaskGroup, on_ready: Callable[[State], None]) -> None:
        try:
            if self._start.postgres is not None:
                await self._start_postgres(group, self._start.postgres)
            await _migrate(self._start.database_url)
            for keeper in self._roles:
                if keeper.spec.announces_ready:
                    await keeper.ready.wait()
        except (RuntimeError, OSError) as error:
            self._fail(error)
            return
        self._state = replace(self._state, ready=True)
        self._folder.write_client_config(
            grpc_endpoint=self._state.grpc_endpoint, http_url=self._state.http_url, tls=self._tls
        )
        self._write_state()
        _log.info("ready", grpc=self._state.grpc_endpoint, http=self._state.http_url)
        on_ready(self._state)

    async def _start_postgres(self, group: asyncio.TaskGroup, postgres: EmbeddedPostgres) -> None:
        if (cluster := self._start.cluster) is not None:
            ending = await cluster.process.wait(lambda _line: None)
            if ending.status != 0:
                raise PostgresStartError("\n".join([f"initdb failed: {ending}", *ending.last_lines]))
            postgres.take_over(cluster.initdb)
        spec = ChildSpec(
            name=POSTGRES,
            argv=postgres.command(),
            environment=os.environ,
            stop_signal=signal.SIGINT,  # fast shutdown: sessions are cut, the checkpoint is written
            orphan_signal=signal.SIGINT,
            user=postgres.identity(),
            announces_ready=False,
            grace_s=60.0,
        )
        keeper = self._postgres_keeper = self._keeper(spec, prepare=postgres.prepare_start)
        group.create_task(self._keep(keeper), name=POSTGRES)
        while keeper.identity is None or not postgres.is_ready():  # noqa: ASYNC110  (its pid file tells, nothing else)
            await asyncio.sleep(_READY_POLL_S)
        keeper.ready.set()

    def _keeper(
        self, spec: ChildSpec, *, first: Child | None = None, prepare: Callable[[], None] | None = None
    ) -> ChildKeeper:
        return ChildKeeper(spec, first=first, on_line=self._sink.write, on_change=self._write_state, prepare=prepare)

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
        await self._end_tasks()
        if self._start.cluster is not None:
            await self._start.cluster.process.end_session()
        if self._postgres_keeper is not None:
            await self._postgres_keeper.stop()
        self._folder.remove_state()
        _log.info("stopped")

    async def _end_tasks(self) -> None:
        """End local tasks, now that no engine is there to take their ends for failures."""
        from wingbeat_propeller.runtimes.local.shutdown import stop_hosts  # its imports must not delay the start

        try:
            await stop_hosts(self._folder.local)
        except OSError as error:
            _log.error("local tasks could not be ended", reason=str(error))

    def _write_state(self) -> None:
        keepers = [*self._roles, *([self._postgres_keeper] if self._postgres_keeper else [])]
        processes = {keeper.spec.name: identity for keeper in keepers if (identity := keeper.identity) is not None}
        if (own := ProcessIdentity.of(os.getpid())) is not None:
            processes[SUPERVISOR] = own
        self._state = replace(self._state, processes=processes)
        self._folder.write_state(self._state)


async def _migrate(dsn: str) -> None:
    try:
        applied = await migrate(dsn)
    except MigrationError as error:
        raise DatabaseError(str(error)) from error
    except (*DATABASE_ERRORS, ValueError) as error:
        raise DatabaseError(f"the database does not answer: {error}") from error
    if applied:
        _log.info("database migrated", migrations=[f"{item.number:04d}_{item.name}" for item in applied])
