"""Artifacts and tags of DataCatalog: the same rows that the engine's cache has, so both see what the other keeps.

What a client reads is checked as a look-up of the engine is: outputs that are not what was put, or that are gone, are
NOT_FOUND, and the entry is removed. A list leaves such artifacts out.
"""

import uuid
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
from flyteidl.core import literals_pb2
from flyteidl.datacatalog import datacatalog_pb2
from google.protobuf.message import DecodeError

from wingbeat_catalog.bounds import bounded
from wingbeat_catalog.datacatalog.datasets import Datasets
from wingbeat_catalog.datacatalog.metadata import metadata_of, source_of
from wingbeat_catalog.datacatalog.requests import (
    ArtifactFilters,
    PageAsked,
    dataset_name,
    literal_map,
    missing,
    partitions,
)
from wingbeat_catalog.errors import CatalogExistsError, CatalogNotFoundError
from wingbeat_catalog.keys import tag_key
from wingbeat_catalog.large_outputs import outputs_uri, remove_objects
from wingbeat_catalog.options import CatalogOptions
from wingbeat_catalog.outputs import content_digest, entry_digest, references
from wingbeat_catalog.references import ReferenceChecker
from wingbeat_catalog.removals import BadEntry, Removals
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs
from wingbeat_propeller.ports.cache import CacheSource
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries(__package__ or "", "artifacts.sql")

PAGE_BYTES_MAX = 16 << 20
"""A page of a list ends when its data pass this; the token of the answer leads to the rest."""


class Handle(NamedTuple):
    """Which artifact is meant: one of id and tag; without a tag the dataset may be left out."""

    dataset: datacatalog_pb2.DatasetID | None
    artifact_id: str
    tag: str


class _Stored(NamedTuple):
    """Data as a row has them."""

    data: bytes | None
    uri: str | None
    digest: bytes
    has_references: bool


class Artifacts:
    """Rows of `cache_artifacts` and `cache_tags`. All methods raise OSError for an outage, and CatalogRequestError."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs, datasets: Datasets, options: CatalogOptions) -> None:
        self._pool = pool
        self._blobs = blobs
        self._datasets = datasets
        self._options = options
        self._checker = ReferenceChecker(blobs)
        self._removals = Removals(pool, blobs)

    async def create(self, artifact: datacatalog_pb2.Artifact) -> None:
        """Make one without tags. Raises CatalogNotFoundError without its dataset, CatalogExistsError."""
        name = dataset_name(artifact.dataset)
        if not artifact.id:
            raise missing("artifact id")
        literals = literal_map(artifact.data)
        dataset = await self._datasets.row(name)
        given = partitions(dataset["partition_keys"], artifact.partitions)
        stored = await self._store(name.digest(), artifact.id, literals)
        source = source_of(artifact.metadata, datacatalog_pb2.Metadata.FromString(dataset["metadata"]))
        async with bounded(), self._pool.acquire() as connection, connection.transaction():
            made = await connection.fetchval(
                _SQL["create"],
                dataset["id"],
                artifact.id,
                *stored[:2],
                stored.digest,
                stored.has_references,
                source.task_version,
                *_columns(source),
                artifact.metadata.SerializeToString(),
            )
            if made is not None and given:
                await connection.execute(_SQL["add_partitions"], made, list(given), list(given.values()))
        if made is None:
            await self._discard(stored.uri)
            raise CatalogExistsError(f"artifact {artifact.id} already exists")

    async def get(self, handle: Handle) -> datacatalog_pb2.Artifact:
        """One artifact with its data. Raises CatalogNotFoundError."""
        row = await self._find(handle)
        found = await self._read(row, with_references=bool(handle.tag))
        if isinstance(found, BadEntry):
            async with bounded():
                await self._removals.remove([found])
            raise _not_found(handle)
        (message,) = await self._messages([(row, found)])
        return message

    async def update(
        self, handle: Handle, data: Sequence[datacatalog_pb2.ArtifactData], metadata: datacatalog_pb2.Metadata
    ) -> str:
        """Replace data and metadata of one; returns its id, which stays. Raises CatalogNotFoundError."""
        literals = literal_map(data)
        row = await self._find(handle)
        stored = await self._store(row["dataset_digest"], row["artifact_id"], literals)
        source = source_of(metadata, datacatalog_pb2.Metadata())
        async with bounded():
            updated = await self._pool.fetchrow(
                _SQL["update"],
                row["id"],
                *stored[:2],
                stored.digest,
                stored.has_references,
                *_columns(source),
                metadata.SerializeToString(),
            )
        if updated is None:
            await self._discard(stored.uri)
            raise _not_found(handle)
        await self._discard(updated["old_uri"])
        return str(row["artifact_id"])

    async def add_tag(self, tag: datacatalog_pb2.Tag) -> None:
        """Give an artifact a further name. Raises CatalogNotFoundError without dataset or artifact, and
        CatalogExistsError when the name is taken in the dataset."""
        name = dataset_name(tag.dataset)
        if not tag.name:
            raise missing("tag name")
        if not tag.artifact_id:
            raise missing("artifact id")
        await self._datasets.row(name)
        row = await self._find(Handle(tag.dataset, tag.artifact_id, ""))
        try:
            async with bounded():
                made = await self._pool.fetchval(_SQL["add_tag"], tag_key(name.digest(), tag.name), row["id"], tag.name)
        except asyncpg.ForeignKeyViolationError as error:  # it was removed meanwhile
            raise _not_found(Handle(tag.dataset, tag.artifact_id, "")) from error
        if made is None:
            raise CatalogExistsError(f"tag {tag.name} already exists in the dataset")

    async def page(
        self, dataset: datacatalog_pb2.DatasetID, filters: ArtifactFilters, asked: PageAsked
    ) -> tuple[list[datacatalog_pb2.Artifact], int]:
        """A page of a dataset's artifacts with their data, and the offset of the next one.

        Raises CatalogNotFoundError without the dataset.
        """
        name = dataset_name(dataset)
        row = await self._datasets.row(name)
        tagged: list[int] | None = None
        async with bounded():
            if filters.tags:
                keys = [tag_key(name.digest(), tag) for tag in dict.fromkeys(filters.tags)]
                tagged = [found["artifact"] for found in await self._pool.fetch(_SQL["tagged"], keys)]
            rows = await self._pool.fetch(
                _SQL["oldest"] if asked.ascending else _SQL["newest"],
                row["id"],
                tagged,
                filters.artifact_ids,
                filters.partition_keys,
                filters.partition_values,
                asked.limit,
                asked.offset,
            )
        readable: list[tuple[asyncpg.Record, literals_pb2.LiteralMap]] = []
        seen = size = 0
        for found in rows:
            if size >= PAGE_BYTES_MAX:
                break
            seen += 1
            read = await self._read(found, with_references=False)
            if not isinstance(read, BadEntry):
                readable.append((found, read))
                size += read.ByteSize()
        return await self._messages(readable), asked.offset + seen

    async def _find(self, handle: Handle) -> asyncpg.Record:
        digest = None if handle.dataset is None else dataset_name(handle.dataset).digest()
        async with bounded():
            if handle.artifact_id:
                row = await self._pool.fetchrow(_SQL["by_id"], handle.artifact_id, digest)
            else:
                if digest is None:
                    raise missing("dataset")
                row = await self._pool.fetchrow(_SQL["by_tag"], tag_key(digest, handle.tag))
        if row is None:
            raise _not_found(handle)
        return row

    async def _read(self, row: asyncpg.Record, *, with_references: bool) -> literals_pb2.LiteralMap | BadEntry:
        try:
            data = row["data"]
            if data is None:
                data = await self._blobs.get(row["data_uri"])
        except (BlobNotFoundError, BlobAccessError):
            return BadEntry(row, "gone", f"its outputs at {row['data_uri']} are gone")
        if entry_digest(content_digest(row["dataset_digest"], data), row["artifact_id"]) != row["data_digest"]:
            return BadEntry(row, "poisoned", "its outputs are not those that were put")
        try:
            literals = literals_pb2.LiteralMap.FromString(data)
        except DecodeError:
            return BadEntry(row, "poisoned", "its outputs cannot be read")
        if with_references and row["has_references"]:
            gone = await self._checker.first_gone(references(literals))
            if gone is not None:
                return BadEntry(row, "gone", f"{gone}, which it refers to, is gone")
        return literals

    async def _messages(
        self, found: Sequence[tuple[asyncpg.Record, literals_pb2.LiteralMap]]
    ) -> list[datacatalog_pb2.Artifact]:
        if not found:
            return []
        messages = {row["id"]: _message(row, literals) for row, literals in found}
        async with bounded():
            tags = await self._pool.fetch(_SQL["tags_of"], list(messages))
            parts = await self._pool.fetch(_SQL["partitions_of"], list(messages))
        for tag in tags:
            message = messages[tag["artifact"]]
            message.tags.add(name=tag["name"], artifact_id=message.id, dataset=message.dataset)
        for part in parts:
            messages[part["artifact"]].partitions.add(key=part["key"], value=part["value"])
        return list(messages.values())

    async def _store(self, dataset: bytes, artifact_id: str, literals: literals_pb2.LiteralMap) -> _Stored:
        data = literals.SerializeToString(deterministic=True)
        uri = None
        if len(data) > self._options.inline_bytes_max:
            uri = outputs_uri(self._blobs, str(uuid.uuid4()))
            await self._blobs.put(uri, data)
        return _Stored(
            None if uri else data,
            uri,
            entry_digest(content_digest(dataset, data), artifact_id),
            next(references(literals), None) is not None,
        )

    async def _discard(self, uri: str | None) -> None:
        if uri is not None:
            await remove_objects(self._blobs, [uri])


def _columns(source: CacheSource) -> tuple[str, str, str, str, int]:
    return (source.project, source.domain, source.execution, source.node_id, source.attempt)


def _message(row: asyncpg.Record, literals: literals_pb2.LiteralMap) -> datacatalog_pb2.Artifact:
    message = datacatalog_pb2.Artifact(
        id=row["artifact_id"],
        dataset=datacatalog_pb2.DatasetID(
            project=row["project"],
            domain=row["domain"],
            name=row["dataset_name"],
            version=row["version"],
            org=row["org"],
            UUID=str(row["uuid"]),
        ),
        data=[
            datacatalog_pb2.ArtifactData(name=name, value=literals.literals[name]) for name in sorted(literals.literals)
        ],
        metadata=metadata_of(row),
    )
    message.created_at.FromDatetime(row["created_at"])
    return message


def _not_found(handle: Handle) -> CatalogNotFoundError:
    what = (
        f"artifact with identifier {handle.artifact_id}" if handle.artifact_id else f"tag with identifier {handle.tag}"
    )
    return CatalogNotFoundError(f"missing entity of type {what}")
