"""What leads to what, taken from compiled workflows."""

from flyteidl.core import identifier_pb2, workflow_pb2
from tests.unit.compiler.builders import branch, compare, compiled, identifier, node, promise, workflow

from wingbeat_controlplane.executions.metrics.flow import flow_of


def _sub(node_id: str, name: str, **inputs: object) -> workflow_pb2.Node:
    made = node(node_id, **inputs)
    made.workflow_node.sub_workflow_ref.CopyFrom(identifier(name, identifier_pb2.WORKFLOW))
    return made


def test_nodes_and_sub_workflows() -> None:
    """Upstream ids of each node, and the same inside of sub-workflows, also where one is an arm; both know one flow."""
    inner = workflow([node("a", a=promise("", "a")), node("b", a=promise("a"))], name="inner")
    choice = branch("n2", [(compare("$x", 1), _sub("n0", "inner", a=1))], node("n1", a=1), x=promise("n0"))
    flow = flow_of(
        compiled(workflow([node("n0", a=promise("", "a")), _sub("n1", "inner", a=promise("n0")), choice]), inner)
    )
    assert {ids: flow.upstream[ids] for ids in ("n0", "n1", "n2", "end-node")} == {
        "n0": ("start-node",),
        "n1": ("n0",),
        "n2": ("n0",),
        "end-node": ("n1", "n2"),
    }
    assert set(flow.inside) == {"n1", "n2-n0"}
    assert flow.inside["n1"] is flow.inside["n2-n0"]
    assert flow.inside["n1"].upstream == {"a": ("start-node",), "b": ("a",), "end-node": ("b",)}
    assert flow.inside["n1"].size == 3
    assert flow.size == len(flow.upstream) + 2 * 3


def test_failure_node() -> None:
    """It follows whichever node ends last, and the end follows it."""
    template = workflow([node("n0", a=1), node("n1", a=2)])
    template.failure_node.CopyFrom(node("fn", a=promise("", "a")))
    flow = flow_of(compiled(template))
    assert flow.upstream["fn"] == ("start-node", "n0", "n1")
    assert flow.upstream["end-node"] == ("n0", "n1", "fn")
