"""Datasets of DataCatalog: made by clients, and by the first entry that the engine puts for a task."""

import asyncpg
from flyteidl.datacatalog import datacatalog_pb2

from wingbeat_catalog.bounds import bounded
from wingbeat_catalog.datacatalog.requests import DatasetFilters, PageAsked, dataset_name, partition_keys
from wingbeat_catalog.errors import CatalogExistsError, CatalogNotFoundError
from wingbeat_catalog.keys import DatasetName
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "datasets.sql")


class Datasets:
    """Rows of `cache_datasets`. All methods raise OSError for an outage, and CatalogRequestError."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(self, dataset: datacatalog_pb2.Dataset) -> None:
        """Make one. Raises CatalogExistsError, and leaves the one that is there."""
        name = dataset_name(dataset.id)
        async with bounded():
            made = await self._pool.fetchval(
                _SQL["create"],
                name.digest(),
                *name,
                partition_keys(dataset.partitionKeys),
                dataset.metadata.SerializeToString(),
            )
        if made is None:
            raise CatalogExistsError(f"dataset {_shown(name)} already exists")

    async def row(self, name: DatasetName) -> asyncpg.Record:
        """The row of one. Raises CatalogNotFoundError."""
        async with bounded():
            row = await self._pool.fetchrow(_SQL["get"], name.digest())
        if row is None:
            raise CatalogNotFoundError(f"missing entity of type dataset with identifier {_shown(name)}")
        return row

    async def get(self, dataset: datacatalog_pb2.DatasetID) -> datacatalog_pb2.Dataset:
        """One dataset. Raises CatalogNotFoundError."""
        return message_of(await self.row(dataset_name(dataset)))

    async def page(self, filters: DatasetFilters, asked: PageAsked) -> list[datacatalog_pb2.Dataset]:
        """A page of them, by the time of their creation."""
        async with bounded():
            rows = await self._pool.fetch(
                _SQL["oldest"] if asked.ascending else _SQL["newest"], *filters, asked.limit, asked.offset
            )
        return [message_of(row) for row in rows]


def message_of(row: asyncpg.Record) -> datacatalog_pb2.Dataset:
    """A row as clients see it."""
    return datacatalog_pb2.Dataset(
        id=datacatalog_pb2.DatasetID(
            project=row["project"],
            domain=row["domain"],
            name=row["name"],
            version=row["version"],
            org=row["org"],
            UUID=str(row["uuid"]),
        ),
        metadata=datacatalog_pb2.Metadata.FromString(row["metadata"]),
        partitionKeys=row["partition_keys"],
    )


def _shown(name: DatasetName) -> str:
    return "/".join(part for part in name if part)
