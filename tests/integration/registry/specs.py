"""Small valid requests to register things, for tests to vary."""

import asyncio
from collections.abc import Awaitable, Iterable

import grpc
from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import (
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    tasks_pb2,
    types_pb2,
)
from flyteidl.core import (
    workflow_pb2 as core_workflow_pb2,
)
from google.protobuf.message import Message

INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)


def identifier(kind: int, name: str, version: str = "v1", project: str = "flytesnacks") -> identifier_pb2.Identifier:
    """An id in the development domain."""
    return identifier_pb2.Identifier(
        resource_type=kind, project=project, domain="development", name=name, version=version
    )


def variables(names: Iterable[str]) -> interface_pb2.VariableMap:
    """Integers of these names."""
    return interface_pb2.VariableMap(variables={name: interface_pb2.Variable(type=INTEGER) for name in names})


def task(name: str = "t", version: str = "v1", **container: object) -> task_pb2.TaskCreateRequest:
    """A container task from an integer `x` to an integer `y`."""
    return task_pb2.TaskCreateRequest(
        id=identifier(identifier_pb2.TASK, name, version),
        spec=task_pb2.TaskSpec(
            template=tasks_pb2.TaskTemplate(
                type="container",
                metadata=tasks_pb2.TaskMetadata(
                    runtime=tasks_pb2.RuntimeMetadata(version="1", flavor="python"),
                    retries=literals_pb2.RetryStrategy(retries=2),
                ),
                interface=interface_pb2.TypedInterface(inputs=variables(["x"]), outputs=variables(["y"])),
                container=tasks_pb2.Container(**{"image": "i", "args": ["run"], **container}),
            )
        ),
    )


def promise(var: str, node_id: str, output: str) -> literals_pb2.Binding:
    """A binding to an output of a node; an empty node id is the workflow's input."""
    reference = types_pb2.OutputReference(node_id=node_id, var=output)
    return literals_pb2.Binding(var=var, binding=literals_pb2.BindingData(promise=reference))


def workflow(name: str = "w", version: str = "v1", nodes: int = 1) -> workflow_pb2.WorkflowCreateRequest:
    """A chain of `nodes` times the task `t`, from an integer `x` to an integer `y`."""
    chain = [
        core_workflow_pb2.Node(
            id=f"n{index}",
            metadata=core_workflow_pb2.NodeMetadata(name=f"n{index}"),
            inputs=[promise("x", f"n{index - 1}" if index else "", "y" if index else "x")],
            task_node=core_workflow_pb2.TaskNode(reference_id=identifier(identifier_pb2.TASK, "t")),
        )
        for index in range(nodes)
    ]
    return workflow_pb2.WorkflowCreateRequest(
        id=identifier(identifier_pb2.WORKFLOW, name, version),
        spec=workflow_pb2.WorkflowSpec(
            template=core_workflow_pb2.WorkflowTemplate(
                interface=interface_pb2.TypedInterface(inputs=variables(["x"]), outputs=variables(["y"])),
                nodes=chain,
                outputs=[promise("y", f"n{nodes - 1}", "y")],
            )
        ),
    )


def launch_plan(name: str = "w", version: str = "v1") -> launch_plan_pb2.LaunchPlanCreateRequest:
    """The launch plan of workflow `w` without any input given."""
    return launch_plan_pb2.LaunchPlanCreateRequest(
        id=identifier(identifier_pb2.LAUNCH_PLAN, name, version),
        spec=launch_plan_pb2.LaunchPlanSpec(workflow_id=identifier(identifier_pb2.WORKFLOW, "w")),
    )


def integer(value: int) -> literals_pb2.Literal:
    """An integer literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


async def refusal(call: Awaitable[Message]) -> tuple[grpc.StatusCode, str]:
    """Code and message with which a call is refused."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    raise AssertionError(f"not refused: {answer}")


async def outcomes(calls: Iterable[Awaitable[Message]]) -> list[grpc.StatusCode]:
    """Codes of calls made at once, sorted by name."""

    async def code(call: Awaitable[Message]) -> grpc.StatusCode:
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return error.code()
        return grpc.StatusCode.OK

    return sorted(await asyncio.gather(*map(code, calls)), key=lambda code: code.name)
