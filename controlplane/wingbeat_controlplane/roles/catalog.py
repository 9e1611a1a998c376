"""The catalog's part of the roles: its connections, and its services."""

import asyncpg
from flyteidl.cacheservice import cacheservice_pb2
from flyteidl.datacatalog import datacatalog_pb2
from google.protobuf.descriptor import ServiceDescriptor

from wingbeat_catalog.cacheservice.outputs import CachedOutputs
from wingbeat_catalog.datacatalog.artifacts import Artifacts
from wingbeat_catalog.datacatalog.datasets import Datasets
from wingbeat_catalog.evictions import Evictions
from wingbeat_catalog.misses.nearest import NearestEntries
from wingbeat_catalog.options import CatalogOptions, create_catalog_pool
from wingbeat_catalog.reservations import Reservations
from wingbeat_controlplane.executions.cache_calls import CacheCalls
from wingbeat_controlplane.executions.cache_eviction import CacheEviction
from wingbeat_controlplane.executions.cache_misses import CacheMisses
from wingbeat_controlplane.roles.options import database_url
from wingbeat_controlplane.services.cache import OwnCacheServicer
from wingbeat_controlplane.services.cacheservice import CacheServicer
from wingbeat_controlplane.services.datacatalog import DataCatalogServicer
from wingbeat_controlplane.settings import Settings
from wingbeat_propeller.ports.blobs import Blobs
from wingbeatidl.cache.v1 import cache_pb2


async def open_catalog_pool(settings: Settings, role: str) -> asyncpg.Pool:
    """Connections of a role for the catalog alone; its statements give up soon. Raises ConfigurationError."""
    return await create_catalog_pool(
        database_url(settings),
        size_max=settings.cache.connections_max,
        application_name=f"wingbeat {role} catalog",
    )


def catalog_services(
    catalog: asyncpg.Pool, pool: asyncpg.Pool, blobs: Blobs, options: CatalogOptions
) -> list[tuple[ServiceDescriptor, object]]:
    """DataCatalog, CacheService of FlyteIDL and that of our own, with what answers their rpcs.

    `catalog` is for the catalog's tables, `pool` for executions.
    """
    datasets, reservations = Datasets(catalog), Reservations(catalog, options)
    artifacts = Artifacts(catalog, blobs, datasets, options)
    calls = CacheCalls(pool, blobs)
    return [
        (
            datacatalog_pb2.DESCRIPTOR.services_by_name["DataCatalog"],
            DataCatalogServicer(datasets, artifacts, reservations),
        ),
        (
            cacheservice_pb2.DESCRIPTOR.services_by_name["CacheService"],
            CacheServicer(CachedOutputs(catalog, blobs, options), reservations),
        ),
        (
            cache_pb2.DESCRIPTOR.services_by_name["CacheService"],
            OwnCacheServicer(
                CacheMisses(calls, NearestEntries(catalog)),
                CacheEviction(pool, Evictions(catalog, blobs), calls),
            ),
        ),
    ]
