"""What a new execution runs: a launch plan and its workflow, found once and kept, since neither ever changes.

The state of a launch plan is no part of it: launching an inactive one is allowed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from flyteidl.admin import execution_pb2, launch_plan_pb2
from flyteidl.core import identifier_pb2, interface_pb2

from wingbeat_controlplane.registry.deadlines import Deadlines, stated_deadlines
from wingbeat_controlplane.registry.generated import generated_id
from wingbeat_controlplane.registry.overlap import OverlapPolicy, overlap_policy
from wingbeat_controlplane.registry.recent import Recent
from wingbeat_controlplane.registry.registry import Registry
from wingbeat_propeller.compiler.inputs import ExpectedInputs
from wingbeat_propeller.compiler.references import EntityKey, entity_key
from wingbeat_propeller.core.references import may_refer

KEPT_BYTES_MAX = 32 << 20
"""Launch plans kept in memory, as serialized."""

_OVERHEAD_BYTES = 2_000
_SILENT = launch_plan_pb2.LaunchPlanSpec()


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
    inputs: ExpectedInputs
    """That and what the launch plan fixes."""
    referring: frozenset[str]
    """Inputs whose type can refer to something outside of them."""
    overlap: OverlapPolicy | None
    """None: any number of executions may be alive at once."""
    deadlines: Deadlines
    """For executions that say nothing themselves."""
    queries: Mapping[str, interface_pb2.Parameter]
    """Inputs that an artifact is looked for, unless the caller gives them."""

    @property
    def settings(self) -> launch_plan_pb2.LaunchPlanSpec:
        """What the launch plan says about how executions run; the one made for a single task has no say in that."""
        return self.spec if self.task_id is None else _SILENT


class LaunchTargets:
    """Finds what requests refer to."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: Recent[tuple[int, EntityKey], LaunchTarget] = Recent(KEPT_BYTES_MAX)

    def known(self, spec: execution_pb2.ExecutionSpec) -> LaunchTarget | None:
        """As `find`, if nothing has to be looked up."""
        return self._kept.get(_key(spec))

    async def find(self, spec: execution_pb2.ExecutionSpec) -> LaunchTarget:
        """The target of `spec.launch_plan`, whose type is LAUNCH_PLAN or TASK. Raises ApiError NOT_FOUND, and
        INVALID_ARGUMENT for a launch plan that an older release let pass with annotations that cannot be read."""
        target = self.known(spec)
        if target is None:
            target = await self._load(spec)
            weight = target.spec.ByteSize() + target.expected.ByteSize() + _OVERHEAD_BYTES
            self._kept.put(_key(spec), target, weight)
        return target

    async def _load(self, spec: execution_pb2.ExecutionSpec) -> LaunchTarget:
        task_id = None
        launch_plan = spec.launch_plan
        if launch_plan.resource_type == identifier_pb2.TASK:
            task_id = (await self._registry.tasks.get(launch_plan)).id
            await self._registry.generated.ensure(launch_plan, spec)
            launch_plan = generated_id(launch_plan, identifier_pb2.LAUNCH_PLAN)
        record = await self._registry.launch_plans.get(launch_plan)
        plan_spec, expected = record.launch_plan.spec, record.launch_plan.closure.expected_inputs
        return LaunchTarget(
            launch_plan_id=record.id,
            workflow_id=record.workflow_id,
            task_id=task_id,
            identifier=record.launch_plan.id,
            spec=plan_spec,
            expected=expected,
            inputs=ExpectedInputs(expected, plan_spec.fixed_inputs),
            referring=frozenset(name for name, each in expected.parameters.items() if may_refer(each.var.type)),
            overlap=overlap_policy(plan_spec) if task_id is None else None,
            queries={
                name: parameter
                for name, parameter in expected.parameters.items()
                if parameter.WhichOneof("behavior") in ("artifact_query", "artifact_id")
            },
            deadlines=(
                stated_deadlines(plan_spec.annotations.values, plan_spec.quality_of_service)
                if task_id is None
                else Deadlines()
            ),
        )


def _key(spec: execution_pb2.ExecutionSpec) -> tuple[int, EntityKey]:
    return int(spec.launch_plan.resource_type), entity_key(spec.launch_plan)
