"""Entities as bare messages, for what flytekit cannot write: raw programs, and graphs that are wrong on purpose."""

from collections.abc import Mapping, Sequence

from flyteidl.admin import task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2
from flyteidl.core import workflow_pb2 as core_workflow_pb2
from tests.e2e.client import DOMAIN, PROJECT

INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)
STRING = types_pb2.LiteralType(simple=types_pb2.STRING)
NUMBERS = types_pb2.LiteralType(collection_type=INTEGER)

Types = Mapping[str, types_pb2.LiteralType]


def identifier(kind: int, name: str, version: str) -> identifier_pb2.Identifier:
    """Identifier in this project and domain; `kind` is a ResourceType."""
    return identifier_pb2.Identifier(resource_type=kind, project=PROJECT, domain=DOMAIN, name=name, version=version)


def interface(inputs: Types, outputs: Types) -> interface_pb2.TypedInterface:
    """Typed interface."""
    return interface_pb2.TypedInterface(inputs=_variables(inputs), outputs=_variables(outputs))


def task_request(
    name: str, version: str, *, inputs: Types, outputs: Types, args: Sequence[str]
) -> task_pb2.TaskCreateRequest:
    """A container task with any program."""
    template = tasks_pb2.TaskTemplate(
        id=identifier(identifier_pb2.TASK, name, version),
        type="python-task",
        metadata=tasks_pb2.TaskMetadata(runtime=tasks_pb2.RuntimeMetadata(version="1.16.31", flavor="python")),
        interface=interface(inputs, outputs),
        container=tasks_pb2.Container(image="raw", args=list(args)),
    )
    return task_pb2.TaskCreateRequest(id=template.id, spec=task_pb2.TaskSpec(template=template))


def node(node_id: str, task: identifier_pb2.Identifier, **inputs: literals_pb2.BindingData) -> core_workflow_pb2.Node:
    """A task node."""
    return core_workflow_pb2.Node(
        id=node_id,
        metadata=core_workflow_pb2.NodeMetadata(name=node_id),
        inputs=[literals_pb2.Binding(var=name, binding=data) for name, data in inputs.items()],
        task_node=core_workflow_pb2.TaskNode(reference_id=task),
        upstream_node_ids=sorted({data.promise.node_id for data in inputs.values() if data.promise.node_id}),
    )


def promise(node_id: str, variable: str) -> literals_pb2.BindingData:
    """Output of another node; of the workflow's inputs when `node_id` is empty."""
    return literals_pb2.BindingData(promise=types_pb2.OutputReference(node_id=node_id, var=variable))


def workflow_request(
    name: str,
    version: str,
    nodes: Sequence[core_workflow_pb2.Node],
    *,
    inputs: Types | None = None,
    outputs: Types | None = None,
    results: Mapping[str, literals_pb2.BindingData] | None = None,
) -> workflow_pb2.WorkflowCreateRequest:
    """A workflow of given nodes; `results` binds its outputs."""
    template = core_workflow_pb2.WorkflowTemplate(
        id=identifier(identifier_pb2.WORKFLOW, name, version),
        metadata=core_workflow_pb2.WorkflowMetadata(),
        metadata_defaults=core_workflow_pb2.WorkflowMetadataDefaults(),
        interface=interface(inputs or {}, outputs or {}),
        nodes=list(nodes),
        outputs=[literals_pb2.Binding(var=variable, binding=data) for variable, data in (results or {}).items()],
    )
    return workflow_pb2.WorkflowCreateRequest(id=template.id, spec=workflow_pb2.WorkflowSpec(template=template))


def _variables(types: Types) -> interface_pb2.VariableMap:
    return interface_pb2.VariableMap(
        variables={name: interface_pb2.Variable(type=kind) for name, kind in types.items()}
    )
