"""What a new execution runs: a launch plan and its workflow, found once and kept, since neither ever changes.

The state of a launch plan is no part of it: launching an inactive one is allowed.
"""

from dataclasses import dataclass

from flyteidl.admin import execution_pb2, launch_plan_pb2
from flyteidl.core import identifier_pb2, interface_pb2

from wingbeat_controlplane.registry.generated import LaunchIdentity, ensure_single_task_entities
from wingbeat_controlplane.registry.launch_plans import LaunchPlanStore
from wingbeat_controlplane.registry.recent import Recent
from wingbeat_controlplane.registry.tasks import TaskStore
from wingbeat_controlplane.registry.workflows import WorkflowStore
from wingbeat_propeller.compiler.references import EntityKey, entity_key

KEPT_BYTES_MAX = 32 << 20
"""Launch plans kept in memory, as serialized."""

_OVERHEAD_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class LaunchTarget:
    """Rows that an execution refers to, and what its launch plan says. The messages are shared: read only."""

    launch_plan_id: int
    workflow_id: int
    task_id: int | None
    """Set when a single task is executed; launch plan and workflow are the ones made for it."""
    identifier: identifier_pb2.Identifier
    """Of the launch plan."""
    spec: launch_plan_pb2.LaunchPlanSpec
    expected: interface_pb2.ParameterMap

    @property
    def concurrency_max(self) -> int:
        """Executions of the launch plan's name that may be under way at once before new ones are refused; 0: any."""
        policy = self.spec.concurrency_policy
        if self.task_id is not None or policy.behavior != launch_plan_pb2.CONCURRENCY_LIMIT_BEHAVIOR_SKIP:
            return 0
        return policy.max


class LaunchTargets:
    """Finds what requests refer to."""

    def __init__(self, launch_plans: LaunchPlanStore, workflows: WorkflowStore, tasks: TaskStore) -> None:
        self._launch_plans = launch_plans
        self._workflows = workflows
        self._tasks = tasks
        self._kept: Recent[tuple[int, EntityKey], LaunchTarget] = Recent(KEPT_BYTES_MAX)

    async def find(self, spec: execution_pb2.ExecutionSpec) -> LaunchTarget:
        """The target of `spec.launch_plan`, whose type is LAUNCH_PLAN or TASK. Raises ApiError NOT_FOUND."""
        key = (int(spec.launch_plan.resource_type), entity_key(spec.launch_plan))
        target = self._kept.get(key)
        if target is None:
            target = await self._load(spec)
            weight = target.spec.ByteSize() + target.expected.ByteSize() + _OVERHEAD_BYTES
            self._kept.put(key, target, weight)
        return target

    async def _load(self, spec: execution_pb2.ExecutionSpec) -> LaunchTarget:
        task_id = None
        if spec.launch_plan.resource_type == identifier_pb2.TASK:
            task = await self._tasks.get(spec.launch_plan)
            task_id = task.id
            record = await ensure_single_task_entities(self._launch_plans, self._workflows, task, _identity(spec))
        else:
            record = await self._launch_plans.get(spec.launch_plan)
        return LaunchTarget(
            launch_plan_id=record.id,
            workflow_id=record.workflow_id,
            task_id=task_id,
            identifier=record.launch_plan.id,
            spec=record.launch_plan.spec,
            expected=record.launch_plan.closure.expected_inputs,
        )


def _identity(spec: execution_pb2.ExecutionSpec) -> LaunchIdentity:
    return LaunchIdentity(
        auth_role=spec.auth_role if spec.HasField("auth_role") else None,
        security_context=spec.security_context if spec.HasField("security_context") else None,
    )
