"""What a workflow template refers to, loaded in one query a kind before it is compiled."""

from collections.abc import Sequence

import asyncpg
from flyteidl.admin import launch_plan_pb2, task_pb2
from flyteidl.core import identifier_pb2, workflow_pb2

from wingbeat_controlplane.errors import not_found
from wingbeat_propeller.compiler.references import (
    EntityKey,
    KnownReferences,
    LaunchPlanInterface,
    entity_key,
    referenced_ids,
)
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.registry", "references.sql")


async def load_references(
    pool: asyncpg.Pool,
    template: workflow_pb2.WorkflowTemplate,
    sub_workflows: Sequence[workflow_pb2.WorkflowTemplate],
) -> KnownReferences:
    """Every task and launch plan that the template and its sub-workflows use.

    Raises ApiError NOT_FOUND for the first that is not registered.
    """
    asked = referenced_ids(template, sub_workflows)
    tasks = {
        _key(row): task_pb2.TaskClosure.FromString(row["closure"]).compiled_task.template
        for row in await _fetch(pool, "referenced_tasks", asked.tasks)
    }
    launch_plans = {
        _key(row): _interface(row) for row in await _fetch(pool, "referenced_launch_plans", asked.launch_plans)
    }
    for kind, identifiers, known in (("TASK", asked.tasks, tasks), ("LAUNCH_PLAN", asked.launch_plans, launch_plans)):
        for identifier in identifiers:
            if entity_key(identifier) not in known:
                raise not_found(kind, identifier)
    return KnownReferences(tasks, launch_plans)


async def _fetch(
    pool: asyncpg.Pool, query: str, identifiers: Sequence[identifier_pb2.Identifier]
) -> Sequence[asyncpg.Record]:
    if not identifiers:
        return ()
    keys = [entity_key(identifier) for identifier in identifiers]
    return await pool.fetch(_SQL[query], *(list(column) for column in zip(*keys, strict=True)))


def _key(row: asyncpg.Record) -> EntityKey:
    return row["project"], row["domain"], row["name"], row["version"]


def _interface(row: asyncpg.Record) -> LaunchPlanInterface:
    closure = launch_plan_pb2.LaunchPlanClosure.FromString(row["closure"])
    return LaunchPlanInterface(
        workflow_id=launch_plan_pb2.LaunchPlanSpec.FromString(row["spec"]).workflow_id,
        expected_inputs=closure.expected_inputs,
        expected_outputs=closure.expected_outputs,
    )
