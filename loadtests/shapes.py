"""Compiled workflows of a given shape and number of nodes, as the registry would store them.

Each node is a task of type `no-op` that hands its input on; values are small integers. `chain` is one after another,
`fan` all side by side, `diamond` one, then all but two side by side, then one that takes the list of their results.
`map` is a single array node over a list of so many items.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from flyteidl.core import (
    compiler_pb2,
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    tasks_pb2,
    types_pb2,
    workflow_pb2,
)

from wingbeat_propeller.ports.tasks import InstantRequest, TaskContext

START = "start-node"
END = "end-node"
_INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)


class Shape(StrEnum):
    """How the nodes of a workflow hang together."""

    CHAIN = "chain"
    FAN = "fan"
    DIAMOND = "diamond"
    MAP = "map"


class NoOpPlugin:
    """Tasks of type `no-op` end at once with a constant integer. Implements TaskPlugin."""

    task_types: Sequence[str] = ("no-op",)

    def __init__(self) -> None:
        self._outputs = literals_pb2.LiteralMap(literals={"o0": integer(7)}).SerializeToString()

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """No: what comes out does not depend on them."""
        return False

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> InstantRequest:
        """A request that has ended when it is launched."""
        return InstantRequest(context.name, self._outputs)


def integer(value: int) -> literals_pb2.Literal:
    """An integer literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def inputs_of(shape: Shape, nodes: int) -> literals_pb2.LiteralMap:
    """Inputs of an execution: x = 7, or as many sevens as an array has elements."""
    value = integer(7)
    if shape is Shape.MAP:
        value = literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=[value] * nodes))
    return literals_pb2.LiteralMap(literals={"x": value})


def upstream_of(shape: Shape, nodes: int) -> list[list[int]]:
    """For each of `nodes` nodes, those it takes its value from; none: the workflow's input.

    Raises ValueError for a shape that needs more nodes.
    """
    match shape:
        case Shape.CHAIN:
            return [[index - 1] if index else [] for index in range(nodes)]
        case Shape.FAN:
            return [[] for _ in range(nodes)]
        case Shape.DIAMOND:
            if nodes < 3:
                raise ValueError("a diamond has at least three nodes")
            return [[], *([0] for _ in range(nodes - 2)), list(range(1, nodes - 1))]
        case Shape.MAP:
            return [[]]


def compiled_workflow(shape: Shape, nodes: int) -> compiler_pb2.CompiledWorkflowClosure:
    """The compiled closure of such a workflow, from input `x` to output `o0`."""
    upstream = upstream_of(shape, nodes)
    last = sorted(set(range(len(upstream))) - {source for sources in upstream for source in sources})
    template = workflow_pb2.WorkflowTemplate(
        id=_identifier(identifier_pb2.WORKFLOW, f"{shape}-{nodes}"),
        interface=_interface(),
        nodes=[
            workflow_pb2.Node(id=START),
            workflow_pb2.Node(id=END, inputs=[_binding("o0", last)]),
            *(_node(shape, index, sources) for index, sources in enumerate(upstream)),
        ],
        outputs=[_binding("o0", last)],
    )
    workflow = compiler_pb2.CompiledWorkflow(template=template)
    for index, sources in enumerate(upstream):
        for source in sources or [None]:
            _connect(workflow, START if source is None else f"n{source}", f"n{index}")
    for index in last:
        _connect(workflow, f"n{index}", END)
    task = tasks_pb2.TaskTemplate(id=_identifier(identifier_pb2.TASK, "no_op"), type="no-op", interface=_interface())
    return compiler_pb2.CompiledWorkflowClosure(primary=workflow, tasks=[compiler_pb2.CompiledTask(template=task)])


def _node(shape: Shape, index: int, sources: Sequence[int]) -> workflow_pb2.Node:
    node = _task_node(index, sources)
    if shape is Shape.MAP:
        array = workflow_pb2.ArrayNode(node=node)
        return workflow_pb2.Node(id=node.id, metadata=node.metadata, inputs=node.inputs, array_node=array)
    return node


def _task_node(index: int, sources: Sequence[int]) -> workflow_pb2.Node:
    return workflow_pb2.Node(
        id=f"n{index}",
        metadata=workflow_pb2.NodeMetadata(name="no_op"),
        task_node=workflow_pb2.TaskNode(reference_id=_identifier(identifier_pb2.TASK, "no_op")),
        inputs=[_binding("x", sources)],
        upstream_node_ids=[f"n{source}" for source in sources],
    )


def _binding(var: str, sources: Sequence[int]) -> literals_pb2.Binding:
    promises = [
        literals_pb2.BindingData(promise=types_pb2.OutputReference(node_id=f"n{source}", var="o0"))
        for source in sources
    ] or [literals_pb2.BindingData(promise=types_pb2.OutputReference(var="x"))]
    if len(promises) == 1:
        return literals_pb2.Binding(var=var, binding=promises[0])
    collection = literals_pb2.BindingDataCollection(bindings=promises)
    return literals_pb2.Binding(var=var, binding=literals_pb2.BindingData(collection=collection))


def _connect(workflow: compiler_pb2.CompiledWorkflow, source: str, target: str) -> None:
    workflow.connections.downstream[source].ids.append(target)
    workflow.connections.upstream[target].ids.append(source)


def _interface() -> interface_pb2.TypedInterface:
    return interface_pb2.TypedInterface(
        inputs=interface_pb2.VariableMap(variables={"x": interface_pb2.Variable(type=_INTEGER)}),
        outputs=interface_pb2.VariableMap(variables={"o0": interface_pb2.Variable(type=_INTEGER)}),
    )


def _identifier(kind: identifier_pb2.ResourceType, name: str) -> identifier_pb2.Identifier:
    return identifier_pb2.Identifier(
        resource_type=kind, project="flytesnacks", domain="development", name=name, version="1"
    )
