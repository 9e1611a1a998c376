"""Matchable attributes: settings kept by project, project and domain, or workflow, and looked up at every launch.

An update replaces what its level says about a resource type, but for plugin overrides, which are merged by task type
under a lock of their row: updates at once lose nothing. Nothing is remembered in memory, so what was updated or deleted
holds for the next launch of every server process.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import grpc
from flyteidl.admin import matchable_resource_pb2, project_pb2

from wingbeat_controlplane.errors import ApiError, missing
from wingbeat_controlplane.registry.attribute_checks import (
    check_attributes,
    check_resource_type,
    merged,
    resource_type_of,
)
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.registry", "attributes.sql")


@dataclass(frozen=True, slots=True)
class Level:
    """Whom attributes are for. An empty domain means the whole project, an empty workflow all of the domain's."""

    project: str
    domain: str = ""
    workflow: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.project, self.domain, self.workflow)))


@dataclass(frozen=True, slots=True)
class Match:
    """What one level says about one resource type."""

    level: Level
    resource_type: int
    attributes: matchable_resource_pb2.MatchingAttributes


class AttributeStore:
    """The matchable attributes of an installation."""

    def __init__(self, pool: asyncpg.Pool, projects: ProjectStore) -> None:
        self._pool = pool
        self._projects = projects

    async def update(self, level: Level, attributes: matchable_resource_pb2.MatchingAttributes | None) -> None:
        """Store attributes of a level. Raises ApiError INVALID_ARGUMENT, also for an archived project."""
        await self._require_active(level)
        if attributes is None:
            raise missing("matching_attributes")
        resource_type = resource_type_of(attributes, str(level))
        check_attributes(attributes)
        key = (level.project, level.domain, level.workflow, resource_type)
        if resource_type != matchable_resource_pb2.PLUGIN_OVERRIDE:
            await self._pool.execute(_SQL["put_attributes"], *key, attributes.SerializeToString())
            return
        async with self._pool.acquire() as connection, connection.transaction():
            stored = await connection.fetchval(_SQL["lock_attributes"], *key, b"")
            both = merged(matchable_resource_pb2.MatchingAttributes.FromString(stored), attributes)
            check_attributes(both)
            await connection.execute(_SQL["put_attributes"], *key, both.SerializeToString())

    async def get(self, level: Level, resource_type: int) -> matchable_resource_pb2.MatchingAttributes | None:
        """What is said at just this level, None if nothing; archived projects are read as well.

        Raises ApiError INVALID_ARGUMENT.
        """
        await self._require_known(level)
        check_resource_type(resource_type)
        row = await self._pool.fetchrow(
            _SQL["get_attributes"], level.project, level.domain, level.workflow, resource_type
        )
        return None if row is None else _message(row)

    async def get_effective(self, level: Level, resource_type: int) -> matchable_resource_pb2.MatchingAttributes:
        """What holds for a level: its own attributes or those of the nearest less specific level, as a whole.

        Raises ApiError NOT_FOUND when no level says anything, INVALID_ARGUMENT.
        """
        await self._require_known(level)
        check_resource_type(resource_type)
        matches = await self.match(level, (resource_type,))
        if not matches:
            raise absent(level, resource_type)
        return matches[0].attributes

    async def match(self, level: Level, resource_types: Sequence[int]) -> Sequence[Match]:
        """Everything that bears on a level, the most specific first for each type. Nothing is checked."""
        rows = await self._pool.fetch(
            _SQL["match_attributes"], level.project, level.domain, level.workflow, resource_types
        )
        return [
            Match(Level(level.project, row["domain"], row["workflow"]), row["resource_type"], _message(row))
            for row in rows
        ]

    async def match_active(
        self, levels: tuple[Level, Level], resource_types: Sequence[int]
    ) -> tuple[project_pb2.Project, tuple[Sequence[Match], Sequence[Match]]]:
        """The project of the first level, if things may be created in it and in this domain, and what `match` finds for
        both, which have one workflow; in one round trip. Raises ApiError INVALID_ARGUMENT."""
        here, there = levels
        assert here.workflow == there.workflow, "both are places of one workflow"
        rows = await self._pool.fetch(
            _SQL["match_active"],
            *(here.project, here.workflow, here.domain, there.project, there.domain, resource_types),
        )
        project = self._projects.active(rows[0] if rows else None, here.project, here.domain)
        matches = [
            Match(Level(row["project"], row["domain"], row["workflow"]), row["resource_type"], _message(row))
            for row in rows
            if row["resource_type"] is not None
        ]
        return project, (
            [match for match in matches if _bears_on(match.level, here)],
            [match for match in matches if _bears_on(match.level, there)],
        )

    async def delete(self, level: Level, resource_type: int) -> None:
        """Take back what is said at just this level; nothing there is fine.

        Raises ApiError INVALID_ARGUMENT, also for an archived project.
        """
        await self._require_active(level)
        check_resource_type(resource_type)
        await self._pool.execute(_SQL["delete_attributes"], level.project, level.domain, level.workflow, resource_type)

    async def list(self, resource_type: int) -> Sequence[matchable_resource_pb2.MatchableAttributesConfiguration]:
        """Everything stored about a type, the most specific first. Raises ApiError INVALID_ARGUMENT."""
        check_resource_type(resource_type)
        return [
            matchable_resource_pb2.MatchableAttributesConfiguration(
                project=row["project"], domain=row["domain"], workflow=row["workflow"], attributes=_message(row)
            )
            for row in await self._pool.fetch(_SQL["list_attributes"], resource_type)
        ]

    async def _require_active(self, level: Level) -> None:
        await self._projects.require_active(level.project, level.domain or None)

    async def _require_known(self, level: Level) -> None:
        await self._projects.require_known(level.project, level.domain or None)


def _bears_on(level: Level, place: Level) -> bool:
    return level.project == place.project and level.domain in ("", place.domain)


def absent(level: Level, resource_type: int) -> ApiError:
    """NOT_FOUND: neither a level nor the less specific ones say anything about a type. Wording of Flyte v1."""
    name = matchable_resource_pb2.MatchableResource.DESCRIPTOR.values_by_number[resource_type].name
    return ApiError(
        grpc.StatusCode.NOT_FOUND,
        f"Resource [{{Project:{level.project} Domain:{level.domain} Workflow:{level.workflow} LaunchPlan:"
        f" ResourceType:{name}}}] not found",
    )


def _message(row: asyncpg.Record) -> matchable_resource_pb2.MatchingAttributes:
    return matchable_resource_pb2.MatchingAttributes.FromString(row["attributes"])
