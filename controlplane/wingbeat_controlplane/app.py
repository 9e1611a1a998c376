"""Composition root: the only place where the parts of a process meet and settings become their options.

Each role is one coroutine that builds its parts from the bottom up, announces itself ready, lives until SIGTERM or
SIGINT, and takes everything down in reverse.
"""

import asyncio
import hashlib
import importlib.metadata
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import structlog
import uvloop
from flyteidl.service import admin_pb2, auth_pb2, identity_pb2

from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.services.admin.service import AdminServicer
from wingbeat_controlplane.services.admin.version import VersionOptions
from wingbeat_controlplane.services.auth_metadata import AuthMetadataOptions, AuthMetadataServicer
from wingbeat_controlplane.services.identity import IdentityServicer
from wingbeat_controlplane.services.operations import OperationsServicer
from wingbeat_controlplane.services.rpcs import Rpc, rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_controlplane.settings import Settings
from wingbeat_controlplane.supervisor.readiness import is_supervised, notify_ready
from wingbeat_controlplane.supervisor.schema_wait import wait_for_schema
from wingbeat_propeller.blobs.signing import load_signing_key
from wingbeat_propeller.blobs.store import FolderOptions, StoreOptions, open_store
from wingbeat_propeller.engine.engine import Engine, EngineOptions
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeat_propeller.postgres.journal import PostgresJournal
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeat_propeller.postgres.migrate import MigrationError, migrate
from wingbeat_propeller.postgres.pool import create_pool
from wingbeat_propeller.runtimes.local.options import LocalRuntimeOptions
from wingbeat_propeller.runtimes.local.runtime import LocalRuntime
from wingbeat_propeller.tasks.registry import TaskPlugins
from wingbeatidl.operations.v1 import operations_pb2

_log = structlog.get_logger(__name__)


class ConfigurationError(RuntimeError):
    """The settings do not allow this role to run; the text says what is missing."""


def run_role(role: str, settings: Settings) -> int:
    """Run `server`, `propeller` or `migrate` to its end; returns the exit status."""
    try:
        uvloop.run(_ROLES[role](settings))
    except (ConfigurationError, MigrationError) as error:
        _log.error("cannot start", role=role, reason=str(error))
        return 1
    except asyncio.CancelledError:
        return 0
    return 0


async def run_server(settings: Settings) -> None:
    """Serve gRPC and HTTP until told to stop; calls under way get their grace. Raises ConfigurationError, OSError."""
    stop = _stop_on_signals()
    dsn = _database_url(settings)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(_store_options(settings, signing=True)))
        if not await _unless_stopped(stop, wait_for_schema(dsn)):
            return
        pool = await create_pool(
            dsn, size_max=settings.database.server_connections_max, application_name="wingbeat server"
        )
        stack.push_async_callback(pool.close)
        grpc_server = GrpcServer(
            _rpcs(settings, pool),
            GrpcOptions(max_message_bytes=settings.server.message_bytes_max, reuse_port=is_supervised()),
        )
        port = grpc_server.bind(f"{_bracketed(settings.server.host)}:{settings.server.grpc_port}")
        await grpc_server.start()
        stack.push_async_callback(grpc_server.stop, settings.server.grace_s)
        _log.info("serving", grpc_port=port, blobs=store.blobs.base)
        notify_ready()
        await stop.wait()
        _log.info("stopping")


async def run_propeller(settings: Settings) -> None:
    """Run executions until told to stop: no new launches, transitions flushed. Local tasks live on for the next owner.

    Raises LeaseLostError (in an ExceptionGroup) when another process may own the shards; a new process starts afresh.
    """
    stop = _stop_on_signals()
    dsn = _database_url(settings)
    propeller = settings.propeller
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(_store_options(settings, signing=False)))
        if not await _unless_stopped(stop, wait_for_schema(dsn)):
            return
        pool = await create_pool(
            dsn, size_max=settings.database.propeller_connections_max, application_name="wingbeat propeller"
        )
        stack.push_async_callback(pool.close)
        engine = Engine(
            EngineOptions(
                name=propeller.name or f"{socket.gethostname()}:{os.getpid()}",
                lease_s=propeller.lease_s,
                poll_s=propeller.poll_s,
                system_retries_max=propeller.system_retries,
            ),
            leases=PostgresLeases(pool),
            journal=lambda term, rejected: PostgresJournal(dsn, term=term, blobs=store.blobs, rejected=rejected),
            store=PostgresExecutionStore(pool, dsn),
            blobs=store.blobs,
            runtime=LocalRuntime(_local_runtime_options(settings)),
            plugins=TaskPlugins.installed(),
        )
        _log.info("running", blobs=store.blobs.base)
        notify_ready()
        await _unless_stopped(stop, engine.run())


async def run_migrate(settings: Settings) -> None:
    """Apply what the database lacks. Raises MigrationError, OSError and asyncpg's errors."""
    applied = await migrate(_database_url(settings))
    _log.info("database is up to date", applied=[f"{item.number:04d}_{item.name}" for item in applied])


_ROLES: Mapping[str, Callable[[Settings], Coroutine[None, None, None]]] = {
    "server": run_server,
    "propeller": run_propeller,
    "migrate": run_migrate,
}


def _rpcs(settings: Settings, pool: asyncpg.Pool) -> Mapping[str, Rpc]:
    version = importlib.metadata.version("wingbeat")
    registry = RegistryOptions(
        domains=settings.registry.domains,
        node_limit=settings.registry.node_limit,
        resource_limits=settings.registry.resource_limits,
    )
    servicers = (
        (
            admin_pb2.DESCRIPTOR.services_by_name["AdminService"],
            AdminServicer(projects=ProjectStore(pool, registry), version=VersionOptions(build=f"wingbeat-{version}")),
        ),
        (
            auth_pb2.DESCRIPTOR.services_by_name["AuthMetadataService"],
            AuthMetadataServicer(AuthMetadataOptions(http_endpoint=_public_url(settings))),
        ),
        (identity_pb2.DESCRIPTOR.services_by_name["IdentityService"], IdentityServicer()),
        (
            operations_pb2.DESCRIPTOR.services_by_name["OperationsService"],
            OperationsServicer(pool, version=version),
        ),
    )
    return {name: rpc for service, servicer in servicers for name, rpc in rpcs_of(service, servicer).items()}


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _unless_stopped(stop: asyncio.Event, work: Awaitable[object]) -> bool:
    """Do the work; False when the stop came first, and the work was cancelled."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        await working
        return True
    finally:
        working.cancel()
        stopping.cancel()


def _database_url(settings: Settings) -> str:
    url = settings.database.url.get_secret_value()
    if not url:
        raise ConfigurationError("no database: set database.url (WINGBEAT_DATABASE__URL), or run `wingbeat up`")
    return url


def _store_options(settings: Settings, *, signing: bool) -> StoreOptions:
    blobs = settings.blobs
    if blobs.bucket:
        from wingbeat_propeller.blobs.s3 import S3Options  # aiobotocore is an extra

        return S3Options(
            bucket=blobs.bucket,
            prefix=blobs.prefix,
            endpoint_url=blobs.endpoint or None,
            public_endpoint_url=blobs.public_endpoint or None,
            region=blobs.region or None,
            access_key_id=blobs.access_key or None,
            secret_access_key=blobs.secret_key.get_secret_value() or None,
            path_style=blobs.path_style,
        )
    return FolderOptions(
        root=blobs.folder or settings.data_dir / "blobs",
        signing_key=_signing_key(settings) if signing else None,
        http_base_url=_public_url(settings),
    )


def _signing_key(settings: Settings) -> bytes:
    secret = settings.blobs.signing_key.get_secret_value()
    if secret:
        return hashlib.sha256(secret.encode()).digest()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return load_signing_key(settings.data_dir / "signing.key")


def _public_url(settings: Settings) -> str:
    return settings.server.public_url or f"http://{settings.server.host}:{settings.server.http_port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket that may share its port with the supervisor's placeholder."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.listen(2048)
    listener.setblocking(False)
    return listener


def _local_runtime_options(settings: Settings) -> LocalRuntimeOptions:
    local = settings.local_runtime
    endpoint = f"dns:///{_bracketed(settings.server.host)}:{settings.server.grpc_port}"
    platform = {"FLYTE_PLATFORM_URL": endpoint, "FLYTE_PLATFORM_INSECURE": "true"}
    return LocalRuntimeOptions(
        state_dir=settings.data_dir / "local",
        path=_search_path(settings),
        logs_url_base=f"{_public_url(settings)}/logs",
        environments={image: str(folder) for image, folder in local.environments.items()},
        extra_env={**platform, **local.variables},
        kill_grace_s=local.kill_grace_s,
        memory_poll_s=local.memory_poll_s,
        capacity=local.capacity or 2 * (os.cpu_count() or 1),
    )


def _search_path(settings: Settings) -> str:
    """Where commands of tasks are looked up; last of all beside the interpreter that Wingbeat runs in."""
    return settings.local_runtime.path or os.pathsep.join(
        (os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent))
    )
