# ruff: noqa: N802 - rpcs carry the names of the protos
"""What the tests of launching register: a workflow that waits for an hour, and one of three `echo` nodes."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Protocol

from flyteidl.admin import execution_pb2, launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2
from flyteidl.core import workflow_pb2 as core_workflow_pb2

from loadtests.installation import DOMAIN, PROJECT

_INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)


class Admin(Protocol):
    """What is used of AdminService over grpc.aio; its generated stub carries no types."""

    def CreateTask(self, request: task_pb2.TaskCreateRequest) -> Awaitable[task_pb2.TaskCreateResponse]: ...
    def CreateWorkflow(
        self, request: workflow_pb2.WorkflowCreateRequest
    ) -> Awaitable[workflow_pb2.WorkflowCreateResponse]: ...
    def CreateLaunchPlan(
        self, request: launch_plan_pb2.LaunchPlanCreateRequest
    ) -> Awaitable[launch_plan_pb2.LaunchPlanCreateResponse]: ...
    def CreateExecution(
        self, request: execution_pb2.ExecutionCreateRequest
    ) -> Awaitable[execution_pb2.ExecutionCreateResponse]: ...


async def register(admin: Admin) -> None:
    """A workflow that waits for an hour, and one of three echo nodes."""
    hold = core_workflow_pb2.WorkflowTemplate(id=identifier(identifier_pb2.WORKFLOW, "load.hold"))
    gate = hold.nodes.add(id="n0", metadata=core_workflow_pb2.NodeMetadata(name="hold"))
    gate.gate_node.sleep.duration.FromTimedelta(timedelta(hours=1))
    await _register(admin, hold)
    echo = tasks_pb2.TaskTemplate(
        id=identifier(identifier_pb2.TASK, "load.echo"),
        type="echo",
        interface=interface_pb2.TypedInterface(inputs=_variables("x"), outputs=_variables("o0")),
        metadata=tasks_pb2.TaskMetadata(runtime=tasks_pb2.RuntimeMetadata(version="1.16.31", flavor="python")),
    )
    await admin.CreateTask(task_pb2.TaskCreateRequest(id=echo.id, spec=task_pb2.TaskSpec(template=echo)))
    move = core_workflow_pb2.WorkflowTemplate(
        id=identifier(identifier_pb2.WORKFLOW, "load.move"),
        interface=interface_pb2.TypedInterface(inputs=_variables("x"), outputs=_variables("o0")),
    )
    for number in range(3):
        node = move.nodes.add(id=f"n{number}", metadata=core_workflow_pb2.NodeMetadata(name=f"n{number}"))
        node.task_node.reference_id.CopyFrom(echo.id)
        node.inputs.add(var="x", binding=_promise(f"n{number - 1}", "o0") if number else _promise("", "x"))
    move.outputs.add(var="o0", binding=_promise("n2", "o0"))
    await _register(admin, move)


async def _register(admin: Admin, template: core_workflow_pb2.WorkflowTemplate) -> None:
    await admin.CreateWorkflow(
        workflow_pb2.WorkflowCreateRequest(id=template.id, spec=workflow_pb2.WorkflowSpec(template=template))
    )
    plan = identifier(identifier_pb2.LAUNCH_PLAN, template.id.name)
    spec = launch_plan_pb2.LaunchPlanSpec(workflow_id=template.id)
    await admin.CreateLaunchPlan(launch_plan_pb2.LaunchPlanCreateRequest(id=plan, spec=spec))


def identifier(kind: identifier_pb2.ResourceType, name: str) -> identifier_pb2.Identifier:
    """An id in the project and domain of the tests."""
    return identifier_pb2.Identifier(resource_type=kind, project=PROJECT, domain=DOMAIN, name=name, version="load")


def _variables(*names: str) -> interface_pb2.VariableMap:
    return interface_pb2.VariableMap(variables={name: interface_pb2.Variable(type=_INTEGER) for name in names})


def _promise(node: str, var: str) -> literals_pb2.BindingData:
    return literals_pb2.BindingData(promise=types_pb2.OutputReference(node_id=node, var=var))
