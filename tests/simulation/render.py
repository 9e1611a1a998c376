"""From the model of a workflow to the compiled closure that the registry would have stored."""

from flyteidl.core import (
    compiler_pb2,
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    tasks_pb2,
    types_pb2,
    workflow_pb2,
)

from tests.simulation.programs import (
    INPUT,
    OUTPUT,
    Listed,
    Mapped,
    Node,
    Number,
    Of,
    Task,
    TaskNode,
    Value,
    Workflow,
    WorkflowNode,
    read_by,
)

PROJECT = "sim"
DOMAIN = "development"
CONTAINER = "container"
INSTANT = "instant"
_INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)
_START = "start-node"
_END = "end-node"


def node_id(number: int) -> str:
    """Id of a node by its number."""
    return f"n{number}" if number else _START


def integer(value: int) -> literals_pb2.Literal:
    """An integer literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def closure(workflow: Workflow) -> compiler_pb2.CompiledWorkflowClosure:
    """The compiled closure of a workflow with all that it is made of."""
    made = compiler_pb2.CompiledWorkflowClosure(primary=_compiled(workflow))
    _gather(workflow, made, set())
    return made


def _gather(workflow: Workflow, into: compiler_pb2.CompiledWorkflowClosure, seen: set[str]) -> None:
    for node in workflow.nodes:
        match node:
            case TaskNode():
                if node.task.name not in seen:
                    seen.add(node.task.name)
                    into.tasks.append(compiler_pb2.CompiledTask(template=_task(node.task)))
            case WorkflowNode():
                if node.workflow.name not in seen:
                    seen.add(node.workflow.name)
                    into.sub_workflows.append(_compiled(node.workflow))
                    _gather(node.workflow, into, seen)


def _compiled(workflow: Workflow) -> compiler_pb2.CompiledWorkflow:
    template = workflow_pb2.WorkflowTemplate(
        id=_identifier(identifier_pb2.WORKFLOW, workflow.name),
        metadata=workflow_pb2.WorkflowMetadata(on_failure=int(workflow.policy)),
        interface=_interface(),
        nodes=[
            workflow_pb2.Node(id=_START),
            workflow_pb2.Node(id=_END, inputs=[_binding(OUTPUT, workflow.result)]),
            *(_node(node, number) for number, node in enumerate(workflow.nodes, 1)),
        ],
        outputs=[_binding(OUTPUT, workflow.result)],
    )
    made = compiler_pb2.CompiledWorkflow(template=template)
    followed: set[int] = set()
    for number in range(1, len(workflow.nodes) + 1):
        for source in sorted(workflow.sources(number)):
            followed.add(source)
            _connect(made, node_id(source), node_id(number))
    for source in range(len(workflow.nodes) + 1):
        if source in read_by(workflow.result) or source not in followed:
            _connect(made, node_id(source), _END)
    return made


def _node(node: Node, number: int) -> workflow_pb2.Node:
    made = workflow_pb2.Node(
        id=node_id(number),
        metadata=workflow_pb2.NodeMetadata(name=node_id(number)),
        inputs=[_binding(INPUT, node.given)],
        upstream_node_ids=[node_id(source) for source in sorted(node.after) if source],
    )
    match node:
        case TaskNode():
            made.task_node.reference_id.CopyFrom(_identifier(identifier_pb2.TASK, node.task.name))
            made.metadata.retries.retries = node.attempts_max - 1
            if node.task.timeout_s:
                made.metadata.timeout.FromMicroseconds(round(node.task.timeout_s * 1e6))
        case WorkflowNode():
            made.workflow_node.sub_workflow_ref.CopyFrom(_identifier(identifier_pb2.WORKFLOW, node.workflow.name))
    return made


def _task(task: Task) -> tasks_pb2.TaskTemplate:
    return tasks_pb2.TaskTemplate(
        id=_identifier(identifier_pb2.TASK, task.name),
        type=CONTAINER if task.is_container else INSTANT,
        interface=_interface(),
    )


def _binding(var: str, value: Value) -> literals_pb2.Binding:
    return literals_pb2.Binding(var=var, binding=_data(value))


def _data(value: Value) -> literals_pb2.BindingData:
    match value:
        case Number():
            return literals_pb2.BindingData(scalar=integer(value.value).scalar)
        case Of():
            var = OUTPUT if value.node else INPUT
            promise = types_pb2.OutputReference(node_id=node_id(value.node) if value.node else "", var=var)
            return literals_pb2.BindingData(promise=promise)
        case Listed():
            elements = literals_pb2.BindingDataCollection(bindings=map(_data, value.elements))
            return literals_pb2.BindingData(collection=elements)
        case Mapped():
            entries = {f"k{i}": _data(element) for i, element in enumerate(value.elements)}
            return literals_pb2.BindingData(map=literals_pb2.BindingDataMap(bindings=entries))


def _connect(workflow: compiler_pb2.CompiledWorkflow, source: str, target: str) -> None:
    workflow.connections.downstream[source].ids.append(target)
    workflow.connections.upstream[target].ids.append(source)


def _interface() -> interface_pb2.TypedInterface:
    return interface_pb2.TypedInterface(
        inputs=interface_pb2.VariableMap(variables={INPUT: interface_pb2.Variable(type=_INTEGER)}),
        outputs=interface_pb2.VariableMap(variables={OUTPUT: interface_pb2.Variable(type=_INTEGER)}),
    )


def _identifier(kind: identifier_pb2.ResourceType, name: str) -> identifier_pb2.Identifier:
    return identifier_pb2.Identifier(resource_type=kind, project=PROJECT, domain=DOMAIN, name=name, version="1")
