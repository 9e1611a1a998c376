"""Tasks: immutable by project, domain, name and version.

A template is checked, stored as sent under the id of the request, and never changes, so reads are remembered. Of two
equal registrations at once one wins and the other is told that it exists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from flyteidl.admin import matchable_resource_pb2, task_pb2
from flyteidl.core import compiler_pb2, identifier_pb2

from wingbeat_controlplane.errors import invalid_argument, missing, not_found
from wingbeat_controlplane.listing.query import ListQuery
from wingbeat_controlplane.registry.attributes import AttributeStore, Level
from wingbeat_controlplane.registry.description_entities import description_body
from wingbeat_controlplane.registry.identifiers import check_identifier
from wingbeat_controlplane.registry.immutability import different, identical
from wingbeat_controlplane.registry.keys import identifier_of
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.registry.recent import Recent
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.compiler.digest import structure_diff, structure_digest
from wingbeat_propeller.compiler.references import EntityKey, entity_key
from wingbeat_propeller.compiler.resources import PlatformResources, Quantities
from wingbeat_propeller.compiler.task import validate_task_template
from wingbeat_propeller.postgres.queries import load_queries

REMEMBERED_BYTES_MAX = 32 * 1024 * 1024

_SQL = load_queries("wingbeat_controlplane.registry", "tasks.sql")


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A stored task. The message is shared: nobody changes it."""

    id: int
    task: task_pb2.Task


class TaskStore:
    """The tasks of an installation."""

    def __init__(
        self, pool: asyncpg.Pool, projects: ProjectStore, attributes: AttributeStore, options: RegistryOptions
    ) -> None:
        self._pool = pool
        self._projects = projects
        self._attributes = attributes
        self._resources = options.resources
        self._recent: Recent[EntityKey, TaskRecord] = Recent(REMEMBERED_BYTES_MAX)

    async def create(self, request: task_pb2.TaskCreateRequest) -> None:
        """Register one version of a task.

        Raises ApiError: INVALID_ARGUMENT for a bad request or another structure under the same id, ALREADY_EXISTS for
        the same one.
        """
        if not request.HasField("id"):
            raise missing("id")
        identifier = request.id
        check_identifier(identifier, identifier_pb2.TASK)
        if not request.spec.HasField("template"):
            raise missing("template")
        await self._projects.require_active(identifier.project, identifier.domain)
        compiled = compiler_pb2.CompiledTask(template=request.spec.template)
        compiled.template.id.CopyFrom(identifier)
        if problems := validate_task_template(compiled.template, await self._limits(identifier)):
            raise invalid_argument("\n".join(problem.description for problem in problems))
        digest = structure_digest(compiled)
        description = request.spec.description if request.spec.HasField("description") else None
        made = await self._pool.fetchval(
            _SQL["create_task"],
            *entity_key(identifier),
            digest,
            compiled.template.type,
            description.short_description if description is not None else "",
            task_pb2.TaskClosure(compiled_task=compiled).SerializeToString(),
            description_body(identifier, description) if description is not None else None,
        )
        if made is None:
            await self._refuse(identifier, digest, compiled)

    async def get(self, identifier: identifier_pb2.Identifier) -> TaskRecord:
        """One version; the id's type is not judged. Raises ApiError NOT_FOUND, INVALID_ARGUMENT if incomplete."""
        key = entity_key(identifier)
        if (known := self._recent.get(key)) is not None:
            return known
        check_identifier(identifier)
        row = await self._pool.fetchrow(_SQL["get_task"], *key)
        if row is None:
            raise not_found("TASK", identifier)
        record = TaskRecord(row["id"], _message(row))
        self._recent.put(key, record, len(row["closure"]))
        return record

    async def list(self, query: ListQuery) -> Sequence[task_pb2.Task]:
        """One page of tasks, in full."""
        return [_message(row) for row in await self._pool.fetch(query.sql(_SQL["list_tasks"]), *query.args)]

    async def _limits(self, identifier: identifier_pb2.Identifier) -> Quantities:
        """The most that a task of this project and domain may ask for; what attributes say replaces the platform's."""
        level = Level(identifier.project, identifier.domain)
        for match in await self._attributes.match(level, (matchable_resource_pb2.TASK_RESOURCE,)):
            return PlatformResources.parse(match.attributes.task_resource_attributes).limits
        return self._resources.limits

    async def _refuse(
        self, identifier: identifier_pb2.Identifier, digest: bytes, compiled: compiler_pb2.CompiledTask
    ) -> None:
        row = await self._pool.fetchrow(_SQL["get_task"], *entity_key(identifier))
        assert row is not None, "versions are never deleted"
        stored = task_pb2.TaskClosure.FromString(row["closure"]).compiled_task
        if row["digest"] == digest or stored == compiled:
            raise identical(identifier)
        raise different(identifier, structure_diff(stored, compiled))


def _message(row: asyncpg.Record) -> task_pb2.Task:
    closure = task_pb2.TaskClosure.FromString(row["closure"])
    closure.created_at.CopyFrom(timestamp(row["created_at"]))
    return task_pb2.Task(
        id=identifier_of(row, identifier_pb2.TASK), closure=closure, short_description=row["short_description"]
    )
