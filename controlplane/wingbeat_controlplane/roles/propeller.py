"""The role `propeller`: the engine over its journal, leases, blobs and the local runtime."""

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import structlog
from prometheus_client import start_http_server

from wingbeat_catalog.cache import PostgresCache
from wingbeat_catalog.options import create_catalog_pool
from wingbeat_controlplane.executions.children import open_children
from wingbeat_controlplane.registry.registry import open_registry
from wingbeat_controlplane.roles.options import (
    catalog_options,
    client_host,
    database_url,
    execution_options,
    local_state,
    public_url,
    registry_options,
    server_tls,
    store_options,
)
from wingbeat_controlplane.roles.stopping import unless_stopped
from wingbeat_controlplane.settings import BlobSettings, PropellerSettings, Settings
from wingbeat_controlplane.supervisor.ports import bracketed
from wingbeat_controlplane.supervisor.readiness import notify_ready
from wingbeat_controlplane.supervisor.schema_wait import wait_for_schema
from wingbeat_propeller.blobs.store import open_store
from wingbeat_propeller.copilot.transfer import describe_store
from wingbeat_propeller.core.retry import RetryPolicy
from wingbeat_propeller.engine.collector import relax_collector
from wingbeat_propeller.engine.engine import Engine
from wingbeat_propeller.engine.options import EngineOptions
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeat_propeller.postgres.journal import PostgresJournal
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeat_propeller.postgres.lines import PostgresLines
from wingbeat_propeller.postgres.pool import create_pool
from wingbeat_propeller.postgres.signals import PostgresSignals
from wingbeat_propeller.postgres.slots import PostgresSlots
from wingbeat_propeller.postgres.sources import PostgresSources
from wingbeat_propeller.postgres.transitions import TransitionPartitions, TransitionsOptions
from wingbeat_propeller.runtimes.local.options import LocalRuntimeOptions, basic_variables
from wingbeat_propeller.runtimes.local.runtime import LocalRuntime
from wingbeat_propeller.runtimes.router import Router, WorkerLanes
from wingbeat_propeller.runtimes.worker.options import WorkerPoolOptions
from wingbeat_propeller.runtimes.worker.pool import WorkerPool
from wingbeat_propeller.runtimes.worker.stream import handlers
from wingbeat_propeller.tasks.registry import TaskPlugins

_log = structlog.get_logger(__name__)

RECURSION_MAX = 20_000
"""Calls within calls: ends of nested frames (dynamics in dynamics) recurse, a few calls a level."""


async def run_propeller(settings: Settings, stop: asyncio.Event) -> None:
    """Run executions until told to stop: no new launches, transitions flushed.

    Local tasks live on for the next process, however this one ends; whoever stops the installation ends them.

    Raises LeaseLostError (in an ExceptionGroup) when another process may own the shards; a new process starts afresh.
    """
    dsn = database_url(settings)
    propeller = settings.propeller
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(store_options(settings, signing=False)))
        if not await unless_stopped(stop, wait_for_schema(dsn)):
            return
        pool = await create_pool(
            dsn, size_max=settings.database.propeller_connections_max, application_name="wingbeat propeller"
        )
        stack.push_async_callback(pool.close)
        catalog_pool = await create_catalog_pool(
            dsn, size_max=settings.cache.connections_max, application_name="wingbeat cache"
        )
        stack.push_async_callback(catalog_pool.close)
        local = _local_runtime_options(settings)
        workers = WorkerPool(_worker_pool_options(settings, local))
        runtime = Router(LocalRuntime(local), workers)
        engine = Engine(
            EngineOptions(
                name=propeller.name or f"{socket.gethostname()}:{os.getpid()}",
                lease_s=propeller.lease_s,
                poll_s=propeller.poll_s,
                retry=_retry_policy(propeller),
                answer_host=bracketed(propeller.host),
                answer_tls=server_tls(settings),
                cache_heartbeat_s=settings.cache.heartbeat_s,
            ),
            leases=PostgresLeases(pool),
            journal=lambda term, rejected: PostgresJournal(dsn, term=term, blobs=store.blobs, rejected=rejected),
            store=PostgresExecutionStore(pool, dsn),
            blobs=store.blobs,
            runtime=runtime,
            places=runtime,
            lanes=WorkerLanes(workers),
            services=[partial(handlers, workers, settings.workers.lease_s)],
            slots=PostgresSlots(pool),
            signals=PostgresSignals(pool),
            children=open_children(
                pool, store.blobs, open_registry(pool, registry_options(settings)), execution_options(settings)
            ),
            sources=PostgresSources(pool),
            cache=PostgresCache(catalog_pool, dsn, store.blobs, catalog_options(settings)),
            plugins=TaskPlugins.installed(echo_sleep_s=propeller.echo_sleep_s),
            lines=PostgresLines(pool),
        )
        partitions = TransitionPartitions(pool, TransitionsOptions(retention_days=propeller.transitions_days))
        if propeller.metrics_port:
            metrics, _ = start_http_server(propeller.metrics_port + propeller.number, addr=settings.server.host)
            stack.callback(metrics.shutdown)
        relax_collector()
        sys.setrecursionlimit(RECURSION_MAX)
        _log.info("running", blobs=store.blobs.base)
        notify_ready()
        await unless_stopped(stop, _drive(engine, partitions))


async def _drive(engine: Engine, partitions: TransitionPartitions) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(engine.run(), name="engine")
        tasks.create_task(partitions.run(), name="transition partitions")


def _retry_policy(propeller: PropellerSettings) -> RetryPolicy:
    return RetryPolicy(
        system_retries_max=propeller.system_retries,
        attempts_default=propeller.default_attempts,
        ignores_cause=propeller.ignore_retry_cause,
        interruptible_failure_threshold=propeller.interruptible_failure_threshold,
        backoff_s=propeller.backoff_s,
        backoff_s_max=propeller.backoff_s_max,
    )


def _local_runtime_options(settings: Settings) -> LocalRuntimeOptions:
    local = settings.local_runtime
    return LocalRuntimeOptions(
        state_dir=local_state(settings),
        path=_search_path(settings),
        logs_url_base=f"{public_url(settings)}/logs",
        environments={image: str(folder) for image, folder in local.environments.items()},
        basic_env=basic_variables(os.environ) | aws_variables(settings.blobs, os.environ),
        extra_env={**_client_variables(settings), **offload_variables(settings.propeller), **local.variables},
        kill_grace_s=local.kill_grace_s,
        memory_poll_s=local.memory_poll_s,
        capacity=local.capacity or 2 * (os.cpu_count() or 1),
        container_paths=local.container_paths,
        store=describe_store(store_options(settings, signing=False)),
    )


def _worker_pool_options(settings: Settings, local: LocalRuntimeOptions) -> WorkerPoolOptions:
    workers = settings.workers
    return WorkerPoolOptions(
        state_dir=local.state_dir,
        logs_url_base=local.logs_url_base,
        environments=local.environments,
        extra_env=local.extra_env,
        store_env=aws_variables(settings.blobs, os.environ),
        lease_s=workers.lease_s,
        slots_max=workers.slots_max,
        workers_max=workers.workers_max,
        without_worker=workers.without_worker,
        without_worker_of=workers.without_worker_of,
    )


def _client_variables(settings: Settings) -> dict[str, str]:
    """What a task's own flytekit needs to reach this installation and its store."""
    platform = {
        "FLYTE_PLATFORM_URL": f"{client_host(settings)}:{settings.server.grpc_port}",
        "FLYTE_PLATFORM_INSECURE": "true" if settings.tls.certificate is None else "false",
    }
    if settings.tls.ca is not None:
        platform["FLYTE_PLATFORM_CA_CERT_FILE_PATH"] = str(settings.tls.ca)
    store = {
        "FLYTE_AWS_ENDPOINT": settings.blobs.endpoint,
        "FLYTE_AWS_ACCESS_KEY_ID": settings.blobs.access_key,
        "FLYTE_AWS_SECRET_ACCESS_KEY": settings.blobs.secret_key.get_secret_value(),
    }
    # The addressing style is left to the libraries, which put the bucket into the path whenever an endpoint is named;
    # flytekit's own variable for it could only forbid that.
    return platform | {name: value for name, value in store.items() if settings.blobs.bucket and value}


def offload_variables(propeller: PropellerSettings) -> dict[str, str]:
    """What asks a task's own flytekit to store large outputs apart (contract DP §6.5)."""
    if not propeller.offload_min_mib:
        return {}
    return {
        "_F_L_MIN_SIZE_MB": str(propeller.offload_min_mib),
        "_F_L_MAX_SIZE_MB": str(propeller.offload_max_mib),
    }


def aws_variables(blobs: BlobSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """What the AWS libraries of a task need beside flytekit's variables to reach the bucket as this process does.

    Without credentials in the settings the usual AWS chain decides: tasks see its variables in `environment`, and its
    files, although HOME is their own. A task that sets any of these variables itself has its way.
    """
    variables: dict[str, str] = {}
    if not blobs.bucket:
        return variables
    if not blobs.access_key:
        home = Path(environment.get("HOME", "/"))
        files = {"AWS_CONFIG_FILE": home / ".aws/config", "AWS_SHARED_CREDENTIALS_FILE": home / ".aws/credentials"}
        variables.update((name, str(file)) for name, file in files.items() if file.exists())
        variables.update((name, value) for name, value in environment.items() if name.startswith("AWS_"))
    if blobs.region:
        variables |= {"AWS_REGION": blobs.region, "AWS_DEFAULT_REGION": blobs.region}
    return variables


def _search_path(settings: Settings) -> str:
    """Where commands of tasks are looked up; last of all beside the interpreter that Wingbeat runs in."""
    return settings.local_runtime.path or os.pathsep.join(
        (os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent))
    )
