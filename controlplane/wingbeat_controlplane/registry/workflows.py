"""Workflows: compiled at registration, immutable by project, domain, name and version.

Compiling comes before the look at what is stored, so a workflow registered again with broken content is a compile
error. It needs what the template refers to (tasks, launch plans), fetched in one query a kind, and runs in a thread:
a large template must not hold up every other call.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from flyteidl.admin import common_pb2, workflow_pb2
from flyteidl.core import compiler_pb2, identifier_pb2, interface_pb2

from wingbeat_controlplane.errors import ApiError, invalid_argument, missing, not_found, shown
from wingbeat_controlplane.listing.query import ListQuery
from wingbeat_controlplane.registry.description_entities import description_body
from wingbeat_controlplane.registry.identifiers import check_identifier
from wingbeat_controlplane.registry.immutability import different, identical
from wingbeat_controlplane.registry.keys import identifier_of
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.registry.recent import Recent
from wingbeat_controlplane.registry.references import load_references
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_propeller.compiler.digest import structure_diff, structure_digest
from wingbeat_propeller.compiler.errors import CompilationFailedError
from wingbeat_propeller.compiler.references import EntityKey, References, entity_key
from wingbeat_propeller.compiler.workflow import compile_workflow
from wingbeat_propeller.postgres.queries import load_queries

REMEMBERED_BYTES_MAX = 64 * 1024 * 1024

_SQL = load_queries("wingbeat_controlplane.registry", "workflows.sql")


@dataclass(frozen=True, slots=True)
class WorkflowRecord:
    """A stored workflow. The message is shared: nobody changes it."""

    id: int
    workflow: workflow_pb2.Workflow


class WorkflowStore:
    """The workflows of an installation."""

    def __init__(self, pool: asyncpg.Pool, projects: ProjectStore, options: RegistryOptions) -> None:
        self._pool = pool
        self._projects = projects
        self._options = options
        self._recent: Recent[EntityKey, WorkflowRecord] = Recent(REMEMBERED_BYTES_MAX)

    async def create(self, request: workflow_pb2.WorkflowCreateRequest) -> None:
        """Compile and register one version of a workflow.

        Raises ApiError: INVALID_ARGUMENT for a bad request, a template that does not compile or another structure under
        the same id; ALREADY_EXISTS for the same one.
        """
        if not request.HasField("id"):
            raise missing("id")
        identifier = request.id
        check_identifier(identifier, identifier_pb2.WORKFLOW)
        if not request.spec.HasField("template"):
            raise missing("template")
        await self._projects.require_active(identifier.project, identifier.domain)
        nodes = len(request.spec.template.nodes)
        if 0 < self._options.node_limit < nodes:
            raise invalid_argument(f"number of nodes in workflow exceeds limit ({nodes} > {self._options.node_limit})")
        request.spec.template.id.CopyFrom(identifier)
        closure, digest = await self._compile(request)
        description = request.spec.description if request.spec.HasField("description") else None
        made = await self._insert(
            identifier,
            closure,
            digest,
            state=common_pb2.NAMED_ENTITY_ACTIVE,
            short_description=description.short_description if description is not None else "",
            description=description_body(identifier, description) if description is not None else None,
        )
        if made is None:
            await self._refuse(identifier, digest, closure)

    async def add_generated(self, closure: compiler_pb2.CompiledWorkflowClosure) -> int:
        """Store a workflow that the server made, unless it is there; returns its row id."""
        identifier = closure.primary.template.id
        state = common_pb2.SYSTEM_GENERATED
        made = await self._insert(
            identifier, closure, structure_digest(closure), state=state, short_description="", description=None
        )
        return made if made is not None else (await self.get(identifier)).id

    async def get(self, identifier: identifier_pb2.Identifier) -> WorkflowRecord:
        """One version. Raises ApiError NOT_FOUND, INVALID_ARGUMENT when the id is incomplete or of another type."""
        key = entity_key(identifier)
        if (known := self._recent.get(key)) is not None and identifier.resource_type == identifier_pb2.WORKFLOW:
            return known
        check_identifier(identifier, identifier_pb2.WORKFLOW)
        row = await self._pool.fetchrow(_SQL["get_workflow"], *key)
        if row is None:
            raise not_found("WORKFLOW", identifier)
        record = WorkflowRecord(
            row["id"], _message(row, compiler_pb2.CompiledWorkflowClosure.FromString(row["closure"]))
        )
        self._recent.put(key, record, len(row["closure"]))
        return record

    async def list(self, query: ListQuery) -> Sequence[workflow_pb2.Workflow]:
        """One page of workflows; of the closure only the interface."""
        rows = await self._pool.fetch(query.sql(_SQL["list_workflows"]), *query.args)
        return [_message(row, _interface_only(row["typed_interface"])) for row in rows]

    async def _compile(
        self, request: workflow_pb2.WorkflowCreateRequest
    ) -> tuple[compiler_pb2.CompiledWorkflowClosure, bytes]:
        spec = request.spec
        try:
            references = await load_references(self._pool, spec.template, spec.sub_workflows)
            return await asyncio.to_thread(_compile, spec, references)
        except ApiError as error:
            reason, cause = error.message, error
        except CompilationFailedError as error:
            reason, cause = str(error), error
        raise invalid_argument(f"failed to compile workflow for [{shown(request.id)}] with err: {reason}") from cause

    async def _insert(
        self,
        identifier: identifier_pb2.Identifier,
        closure: compiler_pb2.CompiledWorkflowClosure,
        digest: bytes,
        *,
        state: common_pb2.NamedEntityState,
        short_description: str,
        description: bytes | None,
    ) -> int | None:
        return await self._pool.fetchval(
            _SQL["create_workflow"],
            *entity_key(identifier),
            digest,
            short_description,
            closure.primary.template.interface.SerializeToString(),
            closure.SerializeToString(),
            state,
            description,
        )

    async def _refuse(
        self, identifier: identifier_pb2.Identifier, digest: bytes, closure: compiler_pb2.CompiledWorkflowClosure
    ) -> None:
        row = await self._pool.fetchrow(_SQL["get_workflow"], *entity_key(identifier))
        assert row is not None, "versions are never deleted"
        stored = compiler_pb2.CompiledWorkflowClosure.FromString(row["closure"])
        if row["digest"] == digest or stored == closure:
            raise identical(identifier)
        raise different(identifier, await asyncio.to_thread(structure_diff, stored, closure))


def _compile(
    spec: workflow_pb2.WorkflowSpec, references: References
) -> tuple[compiler_pb2.CompiledWorkflowClosure, bytes]:
    closure = compile_workflow(spec.template, spec.sub_workflows, references)
    return closure, structure_digest(closure)


def _interface_only(interface: bytes) -> compiler_pb2.CompiledWorkflowClosure:
    closure = compiler_pb2.CompiledWorkflowClosure()
    closure.primary.template.interface.CopyFrom(interface_pb2.TypedInterface.FromString(interface))
    return closure


def _message(row: asyncpg.Record, closure: compiler_pb2.CompiledWorkflowClosure) -> workflow_pb2.Workflow:
    return workflow_pb2.Workflow(
        id=identifier_of(row, identifier_pb2.WORKFLOW),
        closure=workflow_pb2.WorkflowClosure(compiled_workflow=closure, created_at=timestamp(row["created_at"])),
        short_description=row["short_description"],
    )
