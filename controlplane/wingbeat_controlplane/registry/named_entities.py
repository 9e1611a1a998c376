"""Named entities: the names under which versions of tasks, workflows and launch plans are registered.

A row comes into being with the first version of a name, in the same statement; here it is only read, described and
archived. Archiving hides a name from lists and changes nothing else.
"""

from collections.abc import Sequence

import asyncpg
import grpc
from flyteidl.admin import common_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import ApiError, invalid_argument, invalid_value
from wingbeat_controlplane.listing.query import ListQuery
from wingbeat_controlplane.registry.identifiers import check_name
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.registry", "named_entities.sql")
_TYPES = frozenset({identifier_pb2.TASK, identifier_pb2.WORKFLOW, identifier_pb2.LAUNCH_PLAN})


def check_named_type(resource_type: identifier_pb2.ResourceType) -> None:
    """Only tasks, workflows and launch plans have names. Raises ApiError INVALID_ARGUMENT."""
    if resource_type not in _TYPES:
        raise invalid_argument("invalid value for resource_type: TASK, WORKFLOW or LAUNCH_PLAN is expected")


class NamedEntityStore:
    """The names of an installation's entities."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def get(
        self, resource_type: identifier_pb2.ResourceType, identifier: common_pb2.NamedEntityIdentifier
    ) -> common_pb2.NamedEntity:
        """One name with its metadata. Raises ApiError NOT_FOUND when no version is registered under it."""
        key = _key(resource_type, identifier)
        row = await self._pool.fetchrow(_SQL["get_named_entity"], *key)
        if row is None:
            raise _absent()
        return _message(row)

    async def update(
        self,
        resource_type: identifier_pb2.ResourceType,
        identifier: common_pb2.NamedEntityIdentifier,
        metadata: common_pb2.NamedEntityMetadata,
    ) -> None:
        """Overwrite the state; an empty description leaves the old one. Raises ApiError NOT_FOUND."""
        key = _key(resource_type, identifier)
        if metadata.state not in common_pb2.NamedEntityState.values():
            raise invalid_value("state")
        if "\0" in metadata.description:
            raise invalid_value("description")
        if await self._pool.fetchval(_SQL["update_named_entity"], *key, metadata.state, metadata.description) is None:
            raise _absent()

    async def list(self, query: ListQuery) -> Sequence[common_pb2.NamedEntity]:
        """One page of names."""
        rows = await self._pool.fetch(query.sql(_SQL["list_named_entities"]), *query.args)
        return [_message(row) for row in rows]


def _key(
    resource_type: identifier_pb2.ResourceType, identifier: common_pb2.NamedEntityIdentifier
) -> tuple[int, str, str, str]:
    check_named_type(resource_type)
    check_name(identifier, identifier.name)
    return resource_type, identifier.project, identifier.domain, identifier.name


def _message(row: asyncpg.Record) -> common_pb2.NamedEntity:
    return common_pb2.NamedEntity(
        resource_type=row["resource_type"],
        id=common_pb2.NamedEntityIdentifier(project=row["project"], domain=row["domain"], name=row["name"]),
        metadata=common_pb2.NamedEntityMetadata(description=row["description"], state=row["state"]),
    )


def _absent() -> ApiError:
    return ApiError(grpc.StatusCode.NOT_FOUND, "entry not found")
