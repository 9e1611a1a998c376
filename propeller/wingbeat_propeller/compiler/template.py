"""One workflow template, compiled in place: start and end node, full node ids, checked bindings, connections.

The steps, in order: name all nodes, find out what each produces, connect and check what each consumes, hang loose ends
onto start and end, look for cycles.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from flyteidl.core import compiler_pb2, literals_pb2, workflow_pb2

from wingbeat_propeller.compiler.binding_types import END_ID, START_ID, Scope, promises
from wingbeat_propeller.compiler.bindings import check_bindings
from wingbeat_propeller.compiler.branches import check_branch
from wingbeat_propeller.compiler.errors import ErrorCode, ErrorCollector
from wingbeat_propeller.compiler.graph import WorkflowGraph
from wingbeat_propeller.compiler.interfaces import InterfaceResolver, NodeInterface, variable_types
from wingbeat_propeller.compiler.references import EntityKey, References, arms, id_text, walk_inner


def compile_template(
    template: workflow_pb2.WorkflowTemplate,
    sub_workflows: Mapping[EntityKey, workflow_pb2.WorkflowTemplate],
    references: References,
    errors: ErrorCollector,
) -> compiler_pb2.ConnectionSet:
    """Complete `template` in place and return its connections; mistakes go to `errors`.

    The nodes become start-node, end-node and the given ones. Arms of branches are renamed `<branch>-<arm>`, promises of
    the empty node id become promises of the start node, lists of upstream ids are sorted.
    """
    name = id_text(template.id)
    if not template.HasField("id"):
        errors.report(ErrorCode.VALUE_REQUIRED, "<workflow>", "Value required [Id]")
    nodes = [node for node in template.nodes if not _is_sentinel(node)]
    if not nodes:
        errors.report(ErrorCode.NO_NODES_FOUND, name, f"No nodes found in the workflow [{name}]")
        return compiler_pb2.ConnectionSet()
    inputs = variable_types(template.interface.inputs, START_ID, "the workflow", errors)
    outputs = variable_types(template.interface.outputs, END_ID, "the workflow", errors)
    template.interface.inputs.SetInParent()
    template.interface.outputs.SetInParent()
    del template.nodes[:]
    template.nodes.extend(nodes)
    if not _complete_ids(template, errors):
        return compiler_pb2.ConnectionSet()

    resolver = InterfaceResolver(
        template,
        None if inputs is None or outputs is None else NodeInterface(inputs, outputs),
        references=references,
        sub_workflows=sub_workflows,
        errors=errors,
    )
    resolver.resolve()
    scope = Scope(resolver.outputs, errors)
    graph = WorkflowGraph([node.id for node in template.nodes])
    for node in template.nodes:
        graph.connect(_upstream(scope, node), node.id)
        _check_node(scope, resolver, node)
        for inner in _inner_arms(node):
            graph.connect_inner(_sources(scope, inner.id, inner.inputs), inner.id, within=node.id)
            _check_node(scope, resolver, inner)
    if template.HasField("failure_node"):
        for node in (template.failure_node, *_inner_arms(template.failure_node)):
            graph.connect_inner(_sources(scope, node.id, node.inputs), node.id, within=None)
            _check_node(scope, resolver, node)
    graph.connect(_sources(scope, END_ID, template.outputs), END_ID)
    if outputs is not None:
        check_bindings(scope, END_ID, template.outputs, outputs)
    graph.close()
    graph.check(errors)

    given = list(template.nodes)
    del template.nodes[:]
    template.nodes.add(id=START_ID)
    template.nodes.add(id=END_ID, inputs=template.outputs)
    template.nodes.extend(given)
    return graph.connections()


def _is_sentinel(node: workflow_pb2.Node) -> bool:
    """Start and end nodes that a template fetched from a closure still carries; they are made anew."""
    return node.id in (START_ID, END_ID) and node.WhichOneof("target") is None


def _complete_ids(template: workflow_pb2.WorkflowTemplate, errors: ErrorCollector) -> bool:
    """Give arms their full ids, sort upstream ids, name the start node in promises.

    False when ids are missing or doubled, which is reported: nothing else can be said about such a workflow.
    """
    reported = len(errors)
    seen = {START_ID, END_ID}
    failure = [template.failure_node] if template.HasField("failure_node") else []
    for node in [*template.nodes, *failure]:
        for inner in (node, *_inner_arms(node)):
            # An arm gets its prefix when its branch is met, which is before the arm itself.
            for arm in arms(inner.branch_node):
                if not arm.id:
                    errors.report(ErrorCode.VALUE_REQUIRED, inner.id, "Value required [Id] of a node in the branch")
                arm.id = f"{inner.id}-{arm.id}"
            if not inner.id:
                errors.report(ErrorCode.VALUE_REQUIRED, "<node>", "Value required [Id]")
            elif inner.id in seen:
                errors.report(ErrorCode.DUPLICATE_ID, inner.id, f"The id [{inner.id}] belongs to more than one node")
            seen.add(inner.id)
        for inner in walk_inner(node):
            inner.upstream_node_ids.sort()
            _name_start(inner.inputs)
    _name_start(template.outputs)
    return len(errors) == reported


def _name_start(bindings: Iterable[literals_pb2.Binding]) -> None:
    for promise in promises(bindings):
        promise.node_id = promise.node_id or START_ID


def _inner_arms(node: workflow_pb2.Node) -> Iterator[workflow_pb2.Node]:
    """The nodes inside a branch node, those of branches inside it included; none for other nodes."""
    pending = deque(arms(node.branch_node))
    while pending:
        arm = pending.popleft()
        yield arm
        pending.extend(arms(arm.branch_node))


def _upstream(scope: Scope, node: workflow_pb2.Node) -> set[str]:
    """Ids of the nodes that a node follows, by declaration or by data."""
    sources = _sources(scope, node.id, node.inputs)
    for upstream_id in node.upstream_node_ids:
        _add_source(scope, node.id, upstream_id or START_ID, sources)
    return sources


def _sources(scope: Scope, node_id: str, bindings: Iterable[literals_pb2.Binding]) -> set[str]:
    """Ids of the nodes that some bindings read; unknown ones are reported."""
    sources: set[str] = set()
    for promise in promises(bindings):
        _add_source(scope, node_id, promise.node_id, sources)
    return sources


def _add_source(scope: Scope, node_id: str, upstream_id: str, sources: set[str]) -> None:
    if upstream_id in scope.outputs:
        sources.add(upstream_id)
    else:
        scope.errors.report(ErrorCode.NODE_REFERENCE_NOT_FOUND, node_id, f"Referenced node [{upstream_id}] not found")


def _check_node(scope: Scope, resolver: InterfaceResolver, node: workflow_pb2.Node) -> None:
    interface = resolver.interface(node)
    if interface is not None:
        check_bindings(scope, node.id, node.inputs, interface.inputs)
    if node.WhichOneof("target") == "branch_node":
        check_branch(scope, node)
