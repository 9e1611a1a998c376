"""The role `server`: gRPC and HTTP over the same rpcs, in one process and one event loop."""

import asyncio
import importlib.metadata
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import asyncpg
import structlog
from flyteidl.service import admin_pb2, auth_pb2, dataproxy_pb2, identity_pb2, signal_pb2
from google.protobuf.descriptor import ServiceDescriptor
from prometheus_client import REGISTRY

from wingbeat.flyte_artifacts import artifacts_pb2
from wingbeat_catalog.artifacts.queries import ArtifactQueries
from wingbeat_catalog.artifacts.registrar import ArtifactRegistrar
from wingbeat_catalog.artifacts.store import ArtifactStore
from wingbeat_catalog.cache import PostgresCache
from wingbeat_catalog.lineage.store import LineageStore
from wingbeat_catalog.lineage.tracer import Tracer
from wingbeat_controlplane.executions.foretelling.foretelling import Foretelling
from wingbeat_controlplane.executions.history import History
from wingbeat_controlplane.executions.parts import Executions, build_executions
from wingbeat_controlplane.executions.signals import SignalStore
from wingbeat_controlplane.executions.watch.log import LOG_SETTINGS
from wingbeat_controlplane.executions.watch.waiting import Waits
from wingbeat_controlplane.executions.watch.watching import Watching, WatchOptions
from wingbeat_controlplane.executions.why.explanations import Explanations
from wingbeat_controlplane.executions.why.from_rows import FromRows
from wingbeat_controlplane.executions.why.owners import Owners
from wingbeat_controlplane.gateway.application import GatewayOptions, GatewayParts, create_gateway
from wingbeat_controlplane.gateway.http_server import HttpServer
from wingbeat_controlplane.identity.anonymous import anonymous_principal
from wingbeat_controlplane.launching.back_pressure import single_pressure
from wingbeat_controlplane.registry.registry import Registry, open_registry
from wingbeat_controlplane.retention.batch_remains import BatchRemains
from wingbeat_controlplane.retention.collector import GarbageCollector
from wingbeat_controlplane.retention.eraser import Eraser
from wingbeat_controlplane.retention.leavings import Leavings
from wingbeat_controlplane.retention.policies import PolicyStore
from wingbeat_controlplane.retention.policy import Policy
from wingbeat_controlplane.retention.pruner import Pruner, PrunerOptions
from wingbeat_controlplane.roles.catalog import catalog_services, open_catalog_pool
from wingbeat_controlplane.roles.launching import build_launching
from wingbeat_controlplane.roles.options import (
    ConfigurationError,
    catalog_options,
    database_url,
    engine_tls,
    execution_options,
    local_state,
    public_url,
    registry_options,
    server_tls,
    store_options,
)
from wingbeat_controlplane.roles.stopping import unless_stopped
from wingbeat_controlplane.services.admin.service import AdminServicer
from wingbeat_controlplane.services.admin.version import VersionOptions
from wingbeat_controlplane.services.artifacts import ArtifactServicer
from wingbeat_controlplane.services.auth_metadata import AuthMetadataOptions, AuthMetadataServicer
from wingbeat_controlplane.services.blobs import BlobServicer
from wingbeat_controlplane.services.dataproxy import DataProxyOptions, DataProxyServicer
from wingbeat_controlplane.services.foretell import ForetellServicer
from wingbeat_controlplane.services.identity import IdentityServicer
from wingbeat_controlplane.services.lineage import LineageServicer
from wingbeat_controlplane.services.local_calls import LocalCalls
from wingbeat_controlplane.services.operations import OperationsServicer
from wingbeat_controlplane.services.query import QueryServicer
from wingbeat_controlplane.services.recovery import RecoveryServicer
from wingbeat_controlplane.services.retention import RetentionServicer
from wingbeat_controlplane.services.rpcs import rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_controlplane.services.signal import SignalServicer
from wingbeat_controlplane.services.sql import SqlServicer
from wingbeat_controlplane.services.tenants import TenantServicer
from wingbeat_controlplane.services.watch import WatchServicer
from wingbeat_controlplane.services.workers import WorkerDirectoryServicer
from wingbeat_controlplane.settings import Settings
from wingbeat_controlplane.sql.reader import SqlOptions, SqlReader
from wingbeat_controlplane.supervisor.ports import bracketed
from wingbeat_controlplane.supervisor.readiness import is_supervised, notify_ready
from wingbeat_controlplane.supervisor.schema_wait import wait_for_schema
from wingbeat_propeller.blobs.store import Store, open_store
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeat_propeller.postgres.listening import listen
from wingbeat_propeller.postgres.pool import create_pool
from wingbeat_propeller.runtimes.local.paths import log_file
from wingbeatidl.blobs.v1 import blobs_pb2
from wingbeatidl.cache.v1 import foretell_pb2
from wingbeatidl.lineage.v1 import lineage_pb2
from wingbeatidl.operations.v1 import operations_pb2
from wingbeatidl.query.v1 import query_pb2
from wingbeatidl.recovery.v1 import recovery_pb2
from wingbeatidl.retention.v1 import retention_pb2
from wingbeatidl.sql.v1 import sql_pb2
from wingbeatidl.tenants.v1 import tenants_pb2
from wingbeatidl.watch.v1 import watch_pb2
from wingbeatidl.worker.v1 import worker_pb2

if TYPE_CHECKING:
    from wingbeat_controlplane.executions.openlineage.exporter import OpenLineageExporter

_log = structlog.get_logger(__name__)


async def run_server(settings: Settings, stop: asyncio.Event) -> None:
    """Serve gRPC and HTTP until told to stop; calls under way get their grace. Raises ConfigurationError, OSError."""
    dsn = database_url(settings)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(store_options(settings, signing=True)))
        if not await unless_stopped(stop, wait_for_schema(dsn)):
            return
        pool = await create_pool(
            dsn, size_max=settings.database.server_connections_max, application_name="wingbeat server"
        )
        stack.push_async_callback(pool.close)
        registry = open_registry(pool, registry_options(settings))
        executions = _executions(settings, pool, store, registry)
        # A creation whose caller has gone away still ends before its connections do.
        stack.push_async_callback(executions.launcher.drained)
        owners = Owners(settings.server.engine_timeout_s, engine_tls(settings))
        stack.push_async_callback(owners.close)
        reader = SqlReader(dsn, pool, _sql_options(settings))
        stack.push_async_callback(reader.close)
        watching = await _watching(settings, dsn, stack)
        servicers = _servicers(settings, pool, store, registry, executions, owners)
        catalog = await open_catalog_pool(settings, "server")
        stack.push_async_callback(catalog.close)
        launching = build_launching(settings, pool, store.blobs, registry, executions.launcher)
        servicers += launching.services
        servicers += catalog_services(catalog, pool, store.blobs, catalog_options(settings))
        cache = PostgresCache(catalog, dsn, store.blobs, catalog_options(settings))
        foretelling = Foretelling(executions.launcher, PostgresExecutionStore(pool, dsn), cache)
        servicers.append(
            (
                foretell_pb2.DESCRIPTOR.services_by_name["ForetellService"],
                ForetellServicer(foretelling, anonymous_principal),
            )
        )
        servicers.append((sql_pb2.DESCRIPTOR.services_by_name["SqlService"], SqlServicer(reader)))
        servicers.append(
            (watch_pb2.DESCRIPTOR.services_by_name["WatchService"], WatchServicer(watching, Waits(pool, watching)))
        )
        policies = PolicyStore(pool, registry.projects, _retention_default(settings))
        leavings = Leavings(pool, store.blobs, local_state(settings))
        remains = BatchRemains(pool, store.blobs)
        eraser = Eraser(pool, leavings, remains, executions.terminator, base=store.blobs.base)
        servicers.append(
            (
                retention_pb2.DESCRIPTOR.services_by_name["RetentionService"],
                RetentionServicer(policies, eraser, GarbageCollector(dsn, store.blobs), anonymous_principal),
            )
        )
        artifacts, registrar = _artifacts(pool, store, registry)
        exporter = await _exporter(settings, dsn, stack)
        servicers.append((artifacts_pb2.DESCRIPTOR.services_by_name["ArtifactRegistry"], artifacts))
        pruner = Pruner(dsn, policies, _pruner_options(settings), eraser=eraser, blobs=store.blobs)
        rpcs = {name: rpc for service, servicer in servicers for name, rpc in rpcs_of(service, servicer).items()}
        application = create_gateway(
            GatewayOptions(version=_version(), body_bytes_max=settings.server.message_bytes_max),
            GatewayParts(
                rpc=LocalCalls(rpcs),
                services=[service for service, _ in servicers],
                blobs=store.blobs,
                signer=store.served_signer,
                log_file=partial(log_file, local_state(settings)),
                checks={"database": partial(_check_database, pool)},
                registry=REGISTRY,
                watch=watching.watch,
            ),
        )
        grpc_server = GrpcServer(
            rpcs,
            GrpcOptions(
                max_message_bytes=settings.server.message_bytes_max,
                reuse_port=is_supervised(),
                tls=server_tls(settings),
            ),
        )
        try:
            grpc_port = grpc_server.bind(f"{bracketed(settings.server.host)}:{settings.server.grpc_port}")
            http_server = HttpServer(
                application, host=settings.server.host, port=settings.server.http_port, reuse_port=is_supervised()
            )
        except (RuntimeError, OSError) as error:
            raise ConfigurationError(f"cannot listen: {error}") from error
        async with asyncio.TaskGroup() as group:
            group.create_task(http_server.run(settings.server.grace_s), name="http")
            following = group.create_task(watching.run(), name="watching")
            registering = group.create_task(registrar.run(), name="artifact registrar")
            hearing = listen(
                dsn,
                ["wingbeat_artifacts"],
                lambda _channel, _payload: registrar.wake(),
                application_name="wingbeat artifact listener",
            )
            announcing = group.create_task(hearing, name="listen for artifacts")
            exporting = None
            if exporter is not None:
                exporting = group.create_task(exporter.run(), name="OpenLineage exporter")
            pruning = group.create_task(pruner.run(), name="pruner")
            keeping = group.create_task(launching.keeper.run(), name="batches")
            forgetting = group.create_task(launching.pruner.run(), name="prune launch keys")
            await grpc_server.start()
            _log.info("serving", grpc_port=grpc_port, http_port=http_server.port, blobs=store.blobs.base)
            notify_ready()
            await stop.wait()
            _log.info("stopping")
            watching.stop()
            pruning.cancel()
            forgetting.cancel()
            keeping.cancel()
            http_server.stop()
            await grpc_server.stop(settings.server.grace_s)
            for task in (following, registering, announcing, exporting):
                if task is not None:
                    task.cancel()


def _artifacts(pool: asyncpg.Pool, store: Store, registry: Registry) -> tuple[ArtifactServicer, ArtifactRegistrar]:
    """The registry of artifacts, and what fills it."""
    artifacts = ArtifactStore(pool, store.blobs)
    registrar = ArtifactRegistrar(pool, store.blobs, artifacts)
    queries = ArtifactQueries(artifacts, registrar)
    return ArtifactServicer(artifacts, queries, registry.projects.require_active, anonymous_principal), registrar


async def _exporter(settings: Settings, dsn: str, stack: AsyncExitStack) -> "OpenLineageExporter | None":
    """What delivers OpenLineage events, if the settings say where. Raises ConfigurationError."""
    said = settings.openlineage
    if not said.url and not said.file:
        return None
    if said.url and said.file:
        raise ConfigurationError("openlineage.url and openlineage.file are both set: events go to one of them")
    try:
        from wingbeat_controlplane.executions.openlineage.events import Naming
        from wingbeat_controlplane.executions.openlineage.exporter import ExporterOptions, OpenLineageExporter
        from wingbeat_controlplane.executions.openlineage.transports import TransportOptions, open_transport
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"openlineage is set, but there is no module {error.name}: install wingbeat[openlineage]"
        ) from error
    options = TransportOptions(
        url=said.url,
        endpoint=said.endpoint,
        api_key=said.api_key.get_secret_value(),
        timeout_s=said.timeout_s,
        file=said.file,
    )
    try:
        open_transport(options).close()
    except ValueError as error:
        raise ConfigurationError(f"openlineage.url: {error}") from error
    pool = await create_pool(dsn, size_max=3, application_name="wingbeat openlineage", server_settings=LOG_SETTINGS)
    stack.push_async_callback(pool.close)
    return OpenLineageExporter(
        pool,
        partial(open_transport, options),
        Naming(said.namespace, _version()),
        ExporterOptions(connections=4 if said.url else 1),
    )


async def _watching(settings: Settings, dsn: str, stack: AsyncExitStack) -> Watching:
    """Streams and waits, with connections of their own: what they read is never in the way of others."""
    options = WatchOptions(watchers_max=settings.server.watchers_max)
    pool = await create_pool(
        dsn, size_max=options.readers_max + 2, application_name="wingbeat watch", server_settings=LOG_SETTINGS
    )
    stack.push_async_callback(pool.close)
    return Watching(pool, options)


def _executions(settings: Settings, pool: asyncpg.Pool, store: Store, registry: Registry) -> Executions:
    assert store.served_signer is not None, "the server opens its store with a signing key"
    return build_executions(
        pool,
        store.blobs,
        store.served_signer,
        registry,
        execution_options(settings),
    )


def _servicers(
    settings: Settings,
    pool: asyncpg.Pool,
    store: Store,
    registry: Registry,
    executions: Executions,
    owners: Owners,
) -> list[tuple[ServiceDescriptor, object]]:
    """Every service that is offered, with what answers its rpcs."""
    assert store.signer is not None, "the server opens its store with a signing key"
    admin = AdminServicer(
        registry=registry,
        executions=executions,
        version=VersionOptions(build=f"wingbeat-{_version()}"),
        principal=anonymous_principal,
        pressure=single_pressure(pool, settings.launch.not_begun_max),
    )
    data_proxy = DataProxyServicer(
        DataProxyOptions(),
        blobs=store.blobs,
        signer=store.signer,
        artifacts=executions.artifacts,
        check_project_domain=registry.projects.require_active,
    )
    return [
        (admin_pb2.DESCRIPTOR.services_by_name["AdminService"], admin),
        (dataproxy_pb2.DESCRIPTOR.services_by_name["DataProxyService"], data_proxy),
        (signal_pb2.DESCRIPTOR.services_by_name["SignalService"], SignalServicer(SignalStore(pool))),
        (identity_pb2.DESCRIPTOR.services_by_name["IdentityService"], IdentityServicer()),
        (
            auth_pb2.DESCRIPTOR.services_by_name["AuthMetadataService"],
            AuthMetadataServicer(AuthMetadataOptions(http_endpoint=public_url(settings))),
        ),
        (
            operations_pb2.DESCRIPTOR.services_by_name["OperationsService"],
            OperationsServicer(pool, version=_version()),
        ),
        (
            query_pb2.DESCRIPTOR.services_by_name["QueryService"],
            QueryServicer(
                History(pool),
                Explanations(
                    pool,
                    registry.tenant_shares,
                    owners,
                    FromRows(PostgresExecutionStore(pool, ""), store.blobs),
                    executions.elements,
                ),
            ),
        ),
        (
            recovery_pb2.DESCRIPTOR.services_by_name["RecoveryService"],
            RecoveryServicer(executions.recoverer, anonymous_principal),
        ),
        (tenants_pb2.DESCRIPTOR.services_by_name["TenantService"], TenantServicer(registry.tenant_shares)),
        (blobs_pb2.DESCRIPTOR.services_by_name["BlobService"], BlobServicer(store.blobs)),
        (
            lineage_pb2.DESCRIPTOR.services_by_name["LineageService"],
            LineageServicer(Tracer(LineageStore(pool, store.blobs))),
        ),
        (worker_pb2.DESCRIPTOR.services_by_name["WorkerDirectoryService"], WorkerDirectoryServicer(pool)),
    ]


def _retention_default(settings: Settings) -> Policy:
    return Policy(settings.retention.executions_days, settings.retention.cache_days)


def _pruner_options(settings: Settings) -> PrunerOptions:
    retention = settings.retention
    return PrunerOptions(interval_s=retention.interval_s, batch=retention.batch, rest=retention.rest)


def _sql_options(settings: Settings) -> SqlOptions:
    sql = settings.sql
    return SqlOptions(
        connections_max=sql.connections_max,
        timeout_s=sql.timeout_s,
        rows_max=sql.rows_max,
        password=sql.password.get_secret_value(),
    )


async def _check_database(pool: asyncpg.Pool) -> None:
    await pool.execute("SELECT 1")


def _version() -> str:
    return importlib.metadata.version("wingbeat")
