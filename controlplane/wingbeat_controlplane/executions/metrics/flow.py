"""What leads to what in a compiled workflow: all that spans need of it. Pure.

Kept for each version instead of the closure, which is a hundred times larger.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from flyteidl.core import compiler_pb2

from wingbeat_propeller.compiler.references import EntityKey, entity_key, walk_nodes

END_ID = "end-node"


@dataclass(frozen=True, slots=True)
class Flow:
    """One workflow, by the ids that its nodes have in it."""

    upstream: Mapping[str, tuple[str, ...]]
    """What a node waits for. A failure node waits for whichever node ends last, and the end for the failure node."""
    inside: "Mapping[str, Flow]"
    """The workflows of sub-workflow nodes, also of those that are arms of branches."""
    size: int
    """Number of nodes, those inside of it included."""


NO_FLOW = Flow(MappingProxyType({}), MappingProxyType({}), 0)
"""Of a workflow that cannot be read any more."""


def flow_of(closure: compiler_pb2.CompiledWorkflowClosure) -> Flow:
    """The flow of a closure as the compiler has made it: no sub-workflow contains itself."""
    workflows = {entity_key(workflow.template.id): workflow for workflow in closure.sub_workflows}
    made: dict[EntityKey, Flow] = {}

    def build(workflow: compiler_pb2.CompiledWorkflow) -> Flow:
        inside: dict[str, Flow] = {}
        for node in walk_nodes(workflow.template):
            if node.workflow_node.HasField("sub_workflow_ref"):
                key = entity_key(node.workflow_node.sub_workflow_ref)
                if key not in made:
                    made[key] = build(workflows[key]) if key in workflows else NO_FLOW
                inside[node.id] = made[key]
        upstream = _upstream(workflow)
        return Flow(upstream, inside, len(upstream) + sum(flow.size for flow in inside.values()))

    return build(closure.primary)


def _upstream(workflow: compiler_pb2.CompiledWorkflow) -> dict[str, tuple[str, ...]]:
    connections = workflow.connections.upstream
    upstream = {node_id: tuple(connections[node_id].ids) for node_id in connections}
    template = workflow.template
    if template.HasField("failure_node"):
        handler = template.failure_node.id
        upstream[handler] = tuple(node.id for node in template.nodes if node.id != END_ID)
        upstream[END_ID] = (*upstream.get(END_ID, ()), handler)
    return upstream
