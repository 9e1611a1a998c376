"""Artifacts as rows. Reads and writes raise OSError for a database that does not answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import asyncpg
from flyteidl.core import artifact_id_pb2, identifier_pb2, literals_pb2

from wingbeat.flyte_artifacts import artifacts_pb2
from wingbeat_catalog.artifacts.partitions import PartitionValues
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs
from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

SQL = load_queries("wingbeat_catalog.artifacts", "artifacts.sql")
ANY_ID = 2**63 - 1
VALUE_BYTES_MAX = 256 << 20
"""Largest stored LiteralMap that is read for the value of an artifact."""

Row: TypeAlias = asyncpg.Record
Transaction: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class ArtifactKey:
    """Project, domain and name."""

    project: str
    domain: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}:{self.domain}:{self.name}"


@dataclass(frozen=True, slots=True)
class Made:
    """Who made an artifact; all empty: it was uploaded."""

    execution: identifier_pb2.WorkflowExecutionIdentifier = field(
        default_factory=identifier_pb2.WorkflowExecutionIdentifier
    )
    node_id: str = ""
    attempt: int = 0
    var: str = ""
    entity: identifier_pb2.Identifier = field(default_factory=identifier_pb2.Identifier)
    principal: str = ""


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """An artifact about to be stored. `spec` has no value when that stands as `made.var` in the map at `value_uri`."""

    key: ArtifactKey
    version: str
    partitions: PartitionValues
    spec: artifacts_pb2.ArtifactSpec
    made: Made
    value_uri: str | None = None


class ArtifactStore:
    """Reads and writes."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs) -> None:
        self._pool = pool
        self._blobs = blobs

    async def insert(self, artifact: NewArtifact, connection: "Transaction | None" = None) -> int | None:
        """Row id; None: the version exists."""
        made, partitions = artifact.made, artifact.partitions
        with outages_as_oserror():
            return await (connection or self._pool).fetchval(
                SQL["insert"],
                artifact.key.project,
                artifact.key.domain,
                artifact.key.name,
                artifact.version,
                _json(partitions.values),
                partitions.time,
                partitions.granularity if partitions.time is not None else 0,
                artifact.spec.SerializeToString(),
                artifact.value_uri,
                made.execution.project,
                made.execution.domain,
                made.execution.name,
                made.node_id,
                made.attempt,
                made.var,
                made.entity.SerializeToString(),
                made.principal,
            )

    async def create(self, artifact: NewArtifact, alias: str) -> Row | None:
        """Store it and let the alias, if there is one, name it: both or neither. None: the version exists."""
        key = artifact.key
        with outages_as_oserror():
            async with self._pool.acquire() as connection, connection.transaction():
                made = await self.insert(artifact, connection)
                if made is None:
                    return None
                if alias:
                    await self.tag(made, alias, move=True, connection=connection)
                name = (key.project, key.domain, key.name, artifact.version)
                return await connection.fetchrow(SQL["by_version"], *name)

    async def by_version(self, key: ArtifactKey, version: str) -> Row | None:
        """One version."""
        return await self._row("by_version", key.project, key.domain, key.name, version)

    async def newest(self, key: ArtifactKey, asked: PartitionValues) -> Row | None:
        """The newest version with these partitions."""
        time, granularity = asked.time, asked.granularity
        return await self._row("newest", key.project, key.domain, key.name, _json(asked.values), time, granularity)

    async def by_tag(self, key: ArtifactKey, alias: str) -> Row | None:
        """The version that an alias names now."""
        return await self._row("by_tag", key.project, key.domain, key.name, alias)

    async def search(
        self,
        *,
        project: str,
        domain: str,
        name: str,
        version: str,
        principal: str,
        partitions: Mapping[str, str],
        strict: bool,
        latest: bool,
        before: int,
        limit: int,
    ) -> Sequence[Row]:
        """Newest first, those with row ids below `before`; empty texts stand for anything."""
        asked = (before, project, domain, name, version, principal, _json(partitions), strict, latest, limit)
        return await self._rows("search", *asked)

    async def of_execution(
        self, execution: identifier_pb2.WorkflowExecutionIdentifier, *, made: bool, limit: int
    ) -> Sequence[Row]:
        """What an execution made, or what it has among its inputs."""
        name = "made_by_execution" if made else "used_by_execution"
        return await self._rows(name, execution.project, execution.domain, execution.name, limit)

    async def usage(self, artifact: int, limit: int) -> Sequence[Row]:
        """Executions that have it among their inputs, newest first."""
        return await self._rows("usage", artifact, limit)

    async def tag(self, artifact: int, alias: str, *, move: bool, connection: "Transaction | None" = None) -> bool:
        """Name a version; False: another one has the alias, and it is not to move."""
        with outages_as_oserror():
            return await (connection or self._pool).fetchval(SQL["tag"], artifact, alias, move) is not None

    async def use(self, execution: identifier_pb2.WorkflowExecutionIdentifier, artifacts: Sequence[int]) -> bool:
        """Note that an execution has artifacts among its inputs; False: there is no such execution."""
        name = (execution.project, execution.domain, execution.name)
        with outages_as_oserror():
            if not await self._pool.fetchval(SQL["execution_exists"], *name):
                return False
            await self._pool.execute(SQL["use"], *name, list(artifacts))
        return True

    async def register_entity(
        self, entity: identifier_pb2.Identifier, var: str, name: str, artifact: bytes, *, is_consumer: bool
    ) -> None:
        """Note that something makes, or asks for, an artifact."""
        with outages_as_oserror():
            await self._pool.execute(
                SQL["register_entity"],
                is_consumer,
                entity.resource_type,
                entity.project,
                entity.domain,
                entity.name,
                entity.version,
                var,
                name,
                artifact,
            )

    async def value(self, row: Row) -> literals_pb2.Literal | None:
        """The value of an artifact; None: its blob is gone."""
        if row["value_uri"] is None:
            return artifacts_pb2.ArtifactSpec.FromString(row["spec"]).value
        try:
            data = await self._blobs.get(row["value_uri"], VALUE_BYTES_MAX)
        except BlobNotFoundError:
            return None
        literals = literals_pb2.LiteralMap.FromString(data).literals
        return literals.get(row["var"])

    async def _row(self, name: str, *parameters: object) -> Row | None:
        with outages_as_oserror():
            return await self._pool.fetchrow(SQL[name], *parameters)

    async def _rows(self, name: str, *parameters: object) -> Sequence[Row]:
        with outages_as_oserror():
            return await self._pool.fetch(SQL[name], *parameters)


def artifact_id(row: Row) -> artifact_id_pb2.ArtifactID:
    """The whole identity of a stored artifact."""
    found = artifact_id_pb2.ArtifactID(
        artifact_key=artifact_id_pb2.ArtifactKey(project=row["project"], domain=row["domain"], name=row["name"]),
        version=row["version"],
    )
    for key, value in json.loads(row["partitions"]).items():
        found.partitions.value[key].static_value = value
    if row["time_partition"] is not None:
        found.time_partition.value.time_value.FromDatetime(row["time_partition"])
        found.time_partition.granularity = row["granularity"]
    return found


def artifact_message(row: Row) -> artifacts_pb2.Artifact:
    """A stored artifact; its value is left out where it does not stand in the row."""
    message = artifacts_pb2.Artifact(
        artifact_id=artifact_id(row), spec=artifacts_pb2.ArtifactSpec.FromString(row["spec"]), tags=row["tags"]
    )
    message.created_at.FromDatetime(row["created_at"])
    source = message.source
    source.principal = row["principal"]
    if row["execution_name"]:
        source.workflow_execution.project = row["execution_project"]
        source.workflow_execution.domain = row["execution_domain"]
        source.workflow_execution.name = row["execution_name"]
        source.node_id, source.retry_attempt = row["node_id"], row["attempt"]
    if row["entity"]:
        source.task_id.MergeFromString(row["entity"])
    return message


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(dict(values))
