"""Launch plans: immutable but for their state. At most one version of a name is active.

Activation locks the name's row, so two at once come one after the other, and the database's partial unique index would
refuse a second active version whatever happened. An active launch plan with a schedule is what the scheduler looks
for: there is no other list of schedules to keep in step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import grpc
from flyteidl.admin import common_pb2, launch_plan_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import ApiError, invalid_value, not_found
from wingbeat_controlplane.listing.query import ListQuery
from wingbeat_controlplane.registry.identifiers import check_identifier, check_name
from wingbeat_controlplane.registry.immutability import different, identical
from wingbeat_controlplane.registry.keys import identifier_of
from wingbeat_controlplane.registry.launch_plan_checks import check_request, complete
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.registry.schedules import schedule_type
from wingbeat_controlplane.registry.times import timestamp
from wingbeat_controlplane.registry.workflows import WorkflowStore
from wingbeat_propeller.compiler.digest import structure_diff, structure_digest
from wingbeat_propeller.compiler.references import entity_key
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.registry", "launch_plans.sql")


@dataclass(frozen=True, slots=True)
class LaunchPlanRecord:
    """A stored launch plan and the row id of its workflow."""

    id: int
    workflow_id: int
    launch_plan: launch_plan_pb2.LaunchPlan


class LaunchPlanStore:
    """The launch plans of an installation."""

    def __init__(self, pool: asyncpg.Pool, projects: ProjectStore, workflows: WorkflowStore) -> None:
        self._pool = pool
        self._projects = projects
        self._workflows = workflows

    async def create(self, request: launch_plan_pb2.LaunchPlanCreateRequest) -> None:
        """Complete and register one version of a launch plan; it is inactive.

        Raises ApiError: INVALID_ARGUMENT for a bad request or another structure under the same id, NOT_FOUND for an
        unknown workflow, ALREADY_EXISTS for the same structure.
        """
        check_request(request)
        identifier = request.id
        await self._projects.require_active(identifier.project, identifier.domain)
        workflow = await self._workflows.get(request.spec.workflow_id)
        interface = workflow.workflow.closure.compiled_workflow.primary.template.interface
        given = complete(request, interface)
        digest = structure_digest(given)
        if await self._insert(given, workflow.id, digest, state=common_pb2.NAMED_ENTITY_ACTIVE) is None:
            await self._refuse(given, digest)

    async def add_generated(self, launch_plan: launch_plan_pb2.LaunchPlan, workflow_id: int) -> None:
        """Store a launch plan that the server made, unless it is there."""
        await self._insert(launch_plan, workflow_id, structure_digest(launch_plan), state=common_pb2.SYSTEM_GENERATED)

    async def get(self, identifier: identifier_pb2.Identifier) -> LaunchPlanRecord:
        """One version. Raises ApiError NOT_FOUND, INVALID_ARGUMENT when the id is incomplete or of another type."""
        check_identifier(identifier, identifier_pb2.LAUNCH_PLAN)
        row = await self._pool.fetchrow(_SQL["get_launch_plan"], *entity_key(identifier))
        if row is None:
            raise not_found("LAUNCH_PLAN", identifier)
        return _record(row)

    async def active(self, identifier: common_pb2.NamedEntityIdentifier) -> LaunchPlanRecord:
        """The active version of a name. Raises ApiError NOT_FOUND."""
        check_name(identifier, identifier.name)
        key = identifier.project, identifier.domain, identifier.name
        row = await self._pool.fetchrow(_SQL["get_active_launch_plan"], *key)
        if row is None:
            raise ApiError(grpc.StatusCode.NOT_FOUND, f"No active launch plan could be found: {':'.join(key)}")
        return _record(row)

    async def list(self, query: ListQuery) -> Sequence[launch_plan_pb2.LaunchPlan]:
        """One page of launch plans, in full."""
        rows = await self._pool.fetch(query.sql(_SQL["list_launch_plans"]), *query.args)
        return [_record(row).launch_plan for row in rows]

    async def set_state(self, identifier: identifier_pb2.Identifier, state: launch_plan_pb2.LaunchPlanState) -> None:
        """Activate (which deactivates the version active so far) or deactivate; the present state again is fine.

        Raises ApiError NOT_FOUND, and INVALID_ARGUMENT when the id is incomplete (its type is not judged).
        """
        check_identifier(identifier)
        if state not in launch_plan_pb2.LaunchPlanState.values():
            raise invalid_value("state")
        key = entity_key(identifier)
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_SQL["lock_launch_plan_name"], *key[:3])
            if state == launch_plan_pb2.ACTIVE:
                await connection.execute(_SQL["deactivate_others"], *key)
            if await connection.fetchval(_SQL["set_launch_plan_state"], *key, state) is None:
                raise not_found("LAUNCH_PLAN", identifier)

    async def _insert(
        self,
        launch_plan: launch_plan_pb2.LaunchPlan,
        workflow_id: int,
        digest: bytes,
        *,
        state: common_pb2.NamedEntityState,
    ) -> int | None:
        return await self._pool.fetchval(
            _SQL["create_launch_plan"],
            *entity_key(launch_plan.id),
            workflow_id,
            digest,
            schedule_type(launch_plan.spec.entity_metadata.schedule),
            launch_plan.spec.SerializeToString(),
            launch_plan.closure.SerializeToString(),
            state,
        )

    async def _refuse(self, given: launch_plan_pb2.LaunchPlan, digest: bytes) -> None:
        row = await self._pool.fetchrow(_SQL["get_launch_plan"], *entity_key(given.id))
        assert row is not None, "versions are never deleted"
        stored = launch_plan_pb2.LaunchPlan(
            id=given.id,
            spec=launch_plan_pb2.LaunchPlanSpec.FromString(row["spec"]),
            closure=launch_plan_pb2.LaunchPlanClosure.FromString(row["closure"]),
        )
        if row["digest"] == digest or stored == given:
            raise identical(given.id)
        raise different(given.id, structure_diff(stored, given))


def _record(row: asyncpg.Record) -> LaunchPlanRecord:
    closure = launch_plan_pb2.LaunchPlanClosure.FromString(row["closure"])
    closure.state = row["state"]
    closure.created_at.CopyFrom(timestamp(row["created_at"]))
    closure.updated_at.CopyFrom(timestamp(row["updated_at"]))
    launch_plan = launch_plan_pb2.LaunchPlan(
        id=identifier_of(row, identifier_pb2.LAUNCH_PLAN),
        spec=launch_plan_pb2.LaunchPlanSpec.FromString(row["spec"]),
        closure=closure,
    )
    return LaunchPlanRecord(row["id"], row["workflow_id"], launch_plan)
