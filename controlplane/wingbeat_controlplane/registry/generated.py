"""Workflow and launch plan that the server makes so that a single task can be executed.

They are named `.flytegen.<task name>`, live in the task's project and domain under its version, are made once a task
version and never shown among a user's own. Making them again finds them, so concurrent launches do no harm.
"""

import re

import grpc
from flyteidl.admin import execution_pb2, launch_plan_pb2
from flyteidl.core import identifier_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2, workflow_pb2

from wingbeat_controlplane.errors import ApiError, invalid_argument, shown
from wingbeat_controlplane.registry.identifiers import GENERATED_PREFIX
from wingbeat_controlplane.registry.launch_plans import LaunchPlanStore
from wingbeat_controlplane.registry.tasks import TaskStore
from wingbeat_controlplane.registry.workflows import WorkflowStore
from wingbeat_propeller.compiler.errors import CompilationFailedError
from wingbeat_propeller.compiler.references import KnownReferences, entity_key
from wingbeat_propeller.compiler.workflow import compile_workflow

DEFAULT_RETRIES = 3
NODE_ID_LENGTH_MAX = 63

_NOT_IN_NODE_IDS = re.compile(r"[^A-Za-z0-9-]")


class GeneratedEntities:
    """Makes the workflow and launch plan of single tasks."""

    def __init__(self, tasks: TaskStore, workflows: WorkflowStore, launch_plans: LaunchPlanStore) -> None:
        self._tasks = tasks
        self._workflows = workflows
        self._launch_plans = launch_plans

    async def ensure(self, task: identifier_pb2.Identifier, spec: execution_pb2.ExecutionSpec) -> None:
        """Make both unless they are there; `spec` is that of the first execution, whose identity the launch plan keeps.

        Raises ApiError NOT_FOUND for an unknown task, INVALID_ARGUMENT when its interface cannot be compiled.
        """
        template = (await self._tasks.get(task)).task.closure.compiled_task.template
        try:
            await self._launch_plans.get(generated_id(template.id, identifier_pb2.LAUNCH_PLAN))
        except ApiError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                raise
        else:
            return
        workflow = single_task_workflow(template)
        try:
            closure = compile_workflow(workflow, [], KnownReferences({entity_key(template.id): template}, {}))
        except CompilationFailedError as error:
            raise invalid_argument(
                f"failed to compile workflow for [{shown(workflow.id)}] with err: {error}"
            ) from error
        workflow_id = await self._workflows.add_generated(closure)
        await self._launch_plans.add_generated(single_task_launch_plan(template, spec), workflow_id)


def generated_id(
    task_id: identifier_pb2.Identifier, resource_type: identifier_pb2.ResourceType
) -> identifier_pb2.Identifier:
    """Id of the generated workflow or launch plan of a task."""
    return identifier_pb2.Identifier(
        resource_type=resource_type,
        project=task_id.project,
        domain=task_id.domain,
        name=GENERATED_PREFIX + task_id.name,
        version=task_id.version,
    )


def node_id_of(task_name: str) -> str:
    """Id of the one node: the name's last characters, without what a node id may not hold."""
    return _NOT_IN_NODE_IDS.sub("", task_name[-NODE_ID_LENGTH_MAX:])


def single_task_workflow(template: tasks_pb2.TaskTemplate) -> workflow_pb2.WorkflowTemplate:
    """A workflow of one node that has the task's interface."""
    node_id = node_id_of(template.id.name)
    retries = template.metadata.retries if template.metadata.HasField("retries") else None
    node = workflow_pb2.Node(
        id=node_id,
        metadata=workflow_pb2.NodeMetadata(
            name=node_id, retries=retries or literals_pb2.RetryStrategy(retries=DEFAULT_RETRIES)
        ),
        inputs=[_promise(name, "", name) for name in sorted(template.interface.inputs.variables)],
        task_node=workflow_pb2.TaskNode(reference_id=template.id),
    )
    return workflow_pb2.WorkflowTemplate(
        id=generated_id(template.id, identifier_pb2.WORKFLOW),
        interface=template.interface,
        nodes=[node],
        outputs=[_promise(name, node_id, name) for name in sorted(template.interface.outputs.variables)],
    )


def single_task_launch_plan(
    template: tasks_pb2.TaskTemplate, spec: execution_pb2.ExecutionSpec
) -> launch_plan_pb2.LaunchPlan:
    """A launch plan of the generated workflow: every input is required."""
    inputs = template.interface.inputs.variables
    expected = interface_pb2.ParameterMap(
        parameters={name: interface_pb2.Parameter(var=variable, required=True) for name, variable in inputs.items()}
    )
    return launch_plan_pb2.LaunchPlan(
        id=generated_id(template.id, identifier_pb2.LAUNCH_PLAN),
        spec=launch_plan_pb2.LaunchPlanSpec(
            workflow_id=generated_id(template.id, identifier_pb2.WORKFLOW),
            entity_metadata=launch_plan_pb2.LaunchPlanMetadata(),
            default_inputs=expected,
            fixed_inputs=literals_pb2.LiteralMap(),
            auth_role=spec.auth_role if spec.HasField("auth_role") else None,
            security_context=spec.security_context if spec.HasField("security_context") else None,
        ),
        closure=launch_plan_pb2.LaunchPlanClosure(
            expected_inputs=expected, expected_outputs=template.interface.outputs
        ),
    )


def _promise(variable: str, node_id: str, output: str) -> literals_pb2.Binding:
    promise = types_pb2.OutputReference(node_id=node_id, var=output)
    return literals_pb2.Binding(var=variable, binding=literals_pb2.BindingData(promise=promise))
