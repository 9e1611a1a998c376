"""The rpcs about what is registered, put together."""

from wingbeat_controlplane.registry.registry import Registry
from wingbeat_controlplane.services.admin.description_entities import DescriptionEntityRpcs
from wingbeat_controlplane.services.admin.launch_plans import LaunchPlanRpcs
from wingbeat_controlplane.services.admin.named_entities import NamedEntityRpcs
from wingbeat_controlplane.services.admin.projects import ProjectRpcs
from wingbeat_controlplane.services.admin.tasks import TaskRpcs
from wingbeat_controlplane.services.admin.version import VersionOptions, VersionRpcs
from wingbeat_controlplane.services.admin.workflows import WorkflowRpcs


class RegistryRpcs(
    ProjectRpcs, TaskRpcs, WorkflowRpcs, LaunchPlanRpcs, NamedEntityRpcs, DescriptionEntityRpcs, VersionRpcs
):
    """The rpcs about what is registered, without executions."""

    def __init__(self, *, registry: Registry, version: VersionOptions) -> None:
        self.projects = registry.projects
        self.tasks = registry.tasks
        self.workflows = registry.workflows
        self.launch_plans = registry.launch_plans
        self.named_entities = registry.named_entities
        self.description_entities = registry.description_entities
        self.version = version
