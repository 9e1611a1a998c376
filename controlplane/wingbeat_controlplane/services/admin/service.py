"""AdminService put together: each noun's rpcs come from a class of its own, the stores they need from here.

An rpc that none of the classes has is answered UNIMPLEMENTED by the table of rpcs.
"""

from collections.abc import Callable

from wingbeat_controlplane.executions.parts import Executions
from wingbeat_controlplane.registry.registry import Registry
from wingbeat_controlplane.services.admin.description_entities import DescriptionEntityRpcs
from wingbeat_controlplane.services.admin.executions import ExecutionRpcs
from wingbeat_controlplane.services.admin.launch_plans import LaunchPlanRpcs
from wingbeat_controlplane.services.admin.named_entities import NamedEntityRpcs
from wingbeat_controlplane.services.admin.node_executions import NodeExecutionRpcs
from wingbeat_controlplane.services.admin.projects import ProjectRpcs
from wingbeat_controlplane.services.admin.task_executions import TaskExecutionRpcs
from wingbeat_controlplane.services.admin.tasks import TaskRpcs
from wingbeat_controlplane.services.admin.version import VersionOptions, VersionRpcs
from wingbeat_controlplane.services.admin.workflows import WorkflowRpcs
from wingbeat_controlplane.services.rpcs import CallContext


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


class AdminServicer(RegistryRpcs, ExecutionRpcs, NodeExecutionRpcs, TaskExecutionRpcs):
    """All rpcs of AdminService that this release serves."""

    def __init__(
        self,
        *,
        registry: Registry,
        executions: Executions,
        version: VersionOptions,
        principal: Callable[[CallContext], str],
    ) -> None:
        super().__init__(registry=registry, version=version)
        self.executions = executions
        self.principal = principal
