"""All stores of what is registered, put together over one pool."""

from dataclasses import dataclass

import asyncpg

from wingbeat_controlplane.registry.attributes import AttributeStore
from wingbeat_controlplane.registry.description_entities import DescriptionEntityStore
from wingbeat_controlplane.registry.generated import GeneratedEntities
from wingbeat_controlplane.registry.launch_plans import LaunchPlanStore
from wingbeat_controlplane.registry.named_entities import NamedEntityStore
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.registry.tasks import TaskStore
from wingbeat_controlplane.registry.tenant_shares import TenantShareStore
from wingbeat_controlplane.registry.workflows import WorkflowStore


@dataclass(frozen=True, slots=True)
class Registry:
    """The stores that servicers and the launch path share."""

    projects: ProjectStore
    attributes: AttributeStore
    tasks: TaskStore
    workflows: WorkflowStore
    launch_plans: LaunchPlanStore
    named_entities: NamedEntityStore
    description_entities: DescriptionEntityStore
    generated: GeneratedEntities
    tenant_shares: TenantShareStore


def open_registry(pool: asyncpg.Pool, options: RegistryOptions) -> Registry:
    """The registry kept in the database of `pool`."""
    projects = ProjectStore(pool, options)
    attributes = AttributeStore(pool, projects)
    tasks = TaskStore(pool, projects, attributes, options)
    workflows = WorkflowStore(pool, projects, options)
    launch_plans = LaunchPlanStore(pool, projects, workflows)
    return Registry(
        projects=projects,
        attributes=attributes,
        tasks=tasks,
        workflows=workflows,
        launch_plans=launch_plans,
        named_entities=NamedEntityStore(pool),
        description_entities=DescriptionEntityStore(pool),
        generated=GeneratedEntities(tasks, workflows, launch_plans),
        tenant_shares=TenantShareStore(pool, projects),
    )
