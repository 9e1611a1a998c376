"""Description entities: documentation of one version of a task or workflow, stored by its registration."""

from collections.abc import Sequence

import asyncpg
import grpc
from flyteidl.admin import description_entity_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.listing.query import ListQuery
from wingbeat_controlplane.registry.identifiers import check_identifier
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.registry", "description_entities.sql")


def description_body(
    identifier: identifier_pb2.Identifier, description: description_entity_pb2.DescriptionEntity
) -> bytes:
    """What is stored: the description as sent, under the entity's own id."""
    stored = description_entity_pb2.DescriptionEntity()
    stored.CopyFrom(description)
    stored.id.CopyFrom(identifier)
    return stored.SerializeToString()


class DescriptionEntityStore:
    """Reads descriptions; they are written together with the version they describe."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def get(self, identifier: identifier_pb2.Identifier) -> description_entity_pb2.DescriptionEntity:
        """The description of one version. Raises ApiError NOT_FOUND."""
        check_identifier(identifier)
        body = await self._pool.fetchval(
            _SQL["get_description_entity"],
            identifier.resource_type,
            identifier.project,
            identifier.domain,
            identifier.name,
            identifier.version,
        )
        if body is None:
            raise ApiError(grpc.StatusCode.NOT_FOUND, "entry not found")
        return description_entity_pb2.DescriptionEntity.FromString(body)

    async def list(self, query: ListQuery) -> Sequence[description_entity_pb2.DescriptionEntity]:
        """One page of descriptions."""
        rows = await self._pool.fetch(query.sql(_SQL["list_description_entities"]), *query.args)
        return [description_entity_pb2.DescriptionEntity.FromString(row["body"]) for row in rows]
