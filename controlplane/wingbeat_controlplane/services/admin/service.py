"""AdminService put together: each noun's rpcs come from a class of its own, the stores they need from here.

An rpc that none of the classes has is answered UNIMPLEMENTED by the table of rpcs.
"""

from collections.abc import Callable

from wingbeat_controlplane.executions.parts import Executions
from wingbeat_controlplane.launching.back_pressure import BackPressure
from wingbeat_controlplane.registry.registry import Registry
from wingbeat_controlplane.services.admin.attributes import AttributeRpcs
from wingbeat_controlplane.services.admin.executions import ExecutionRpcs
from wingbeat_controlplane.services.admin.node_executions import NodeExecutionRpcs
from wingbeat_controlplane.services.admin.registry import RegistryRpcs
from wingbeat_controlplane.services.admin.task_executions import TaskExecutionRpcs
from wingbeat_controlplane.services.admin.version import VersionOptions
from wingbeat_controlplane.services.rpcs import CallContext


class AdminServicer(RegistryRpcs, AttributeRpcs, ExecutionRpcs, NodeExecutionRpcs, TaskExecutionRpcs):
    """All rpcs of AdminService that this release serves."""

    def __init__(
        self,
        *,
        registry: Registry,
        executions: Executions,
        version: VersionOptions,
        principal: Callable[[CallContext], str],
        pressure: BackPressure,
    ) -> None:
        super().__init__(registry=registry, version=version)
        self.attributes = registry.attributes
        self.execution_defaults = executions.defaults
        self.executions = executions
        self.principal = principal
        self.pressure = pressure
