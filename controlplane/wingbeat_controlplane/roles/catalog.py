"""The catalog's part of the roles: its connections, and its services."""

import asyncpg
from flyteidl.cacheservice import cacheservice_pb2
from flyteidl.datacatalog import datacatalog_pb2
from google.protobuf.descriptor import ServiceDescriptor

from wingbeat_catalog.cacheservice.outputs import CachedOutputs
from wingbeat_catalog.datacatalog.artifacts import Artifacts
from wingbeat_catalog.datacatalog.datasets import Datasets
from wingbeat_catalog.options import CatalogOptions, create_catalog_pool
from wingbeat_catalog.reservations import Reservations
from wingbeat_controlplane.roles.options import database_url
from wingbeat_controlplane.services.cacheservice import CacheServicer
from wingbeat_controlplane.services.datacatalog import DataCatalogServicer
from wingbeat_controlplane.settings import Settings
from wingbeat_propeller.ports.blobs import Blobs


async def open_catalog_pool(settings: Settings, role: str) -> asyncpg.Pool:
    """Connections of a role for the catalog alone; its statements give up soon. Raises ConfigurationError."""
    return await create_catalog_pool(
        database_url(settings),
        size_max=settings.cache.connections_max,
        application_name=f"wingbeat {role} catalog",
    )


def catalog_services(
    pool: asyncpg.Pool, blobs: Blobs, options: CatalogOptions
) -> list[tuple[ServiceDescriptor, object]]:
    """DataCatalog and CacheService, with what answers their rpcs."""
    datasets, reservations = Datasets(pool), Reservations(pool, options)
    artifacts = Artifacts(pool, blobs, datasets, options)
    return [
        (
            datacatalog_pb2.DESCRIPTOR.services_by_name["DataCatalog"],
            DataCatalogServicer(datasets, artifacts, reservations),
        ),
        (
            cacheservice_pb2.DESCRIPTOR.services_by_name["CacheService"],
            CacheServicer(CachedOutputs(pool, blobs, options), reservations),
        ),
    ]
