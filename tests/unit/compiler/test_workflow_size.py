"""Large and deep workflows: length costs no stack, depth has a limit with a sentence."""

import sys
from collections.abc import Callable, Iterator

import pytest
from flyteidl.core import types_pb2, workflow_pb2
from tests.unit.compiler.builders import (
    FLOAT,
    INT,
    STR,
    bindings,
    branch,
    compare,
    compiled,
    identifier,
    list_of,
    mistakes,
    node,
    promise,
    task,
    union,
    workflow,
)

from wingbeat_propeller.compiler.errors import CompilationFailedError

LENGTH = 5_000


@pytest.fixture
def small_stack() -> Iterator[None]:
    """Little room for recursion, so that one frame a node would fail."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(600)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("small_stack")
def test_long_chain() -> None:
    """A chain of thousands of nodes compiles."""
    nodes = [node("n0", a=promise("", "a"))]
    nodes += [node(f"n{index}", a=promise(f"n{index - 1}")) for index in range(1, LENGTH)]
    closure = compiled(workflow(nodes, outputs={"o0": INT}, returns={"o0": promise(f"n{LENGTH - 1}")}))
    assert len(closure.primary.template.nodes) == LENGTH + 2
    assert len(closure.tasks) == 1


@pytest.mark.usefixtures("small_stack")
def test_long_chain_of_approvals() -> None:
    """The type of the last approval of thousands, listed backwards, is that of the first one's input."""
    nodes = [
        workflow_pb2.Node(
            id=f"n{index}",
            gate_node={"approve": {"signal_id": f"s{index}"}},
            inputs=bindings({"a": promise(f"n{index - 1}" if index else "", "a")}),
        )
        for index in reversed(range(LENGTH))
    ]
    assert mistakes(workflow([*nodes, node("last", a=promise(f"n{LENGTH - 1}", "a"))])) == []


def test_wide_fan() -> None:
    """Thousands of nodes meet in one list."""
    nodes = [node(f"n{index}", a=index) for index in range(LENGTH)]
    joined = node("sum", "total", values=[promise(f"n{index}") for index in range(LENGTH)])
    closure = compiled(workflow([*nodes, joined]))
    assert len(closure.primary.connections.upstream["sum"].ids) == LENGTH


def test_long_cycle_is_shown_in_short() -> None:
    """A cycle through a thousand nodes is reported without listing all of them."""
    nodes = [node("n0", upstream=["", "n999"], a=1)]
    nodes += [node(f"n{index}", a=promise(f"n{index - 1}")) for index in range(1, 1_000)]
    ((code, _, text),) = mistakes(workflow(nodes))
    assert code == "CycleDetected"
    assert len(text) < 500


def test_many_mistakes_are_counted() -> None:
    """A workflow that is wrong everywhere is told the first hundred mistakes and how many there are."""
    with pytest.raises(CompilationFailedError) as caught:
        compiled(workflow([node(f"n{index}", a="x") for index in range(500)]))
    lines = str(caught.value).split("\n")
    assert (lines[0], lines[-1]) == ("Collected Errors: 500", "\t... and 400 more")
    assert len(caught.value.errors) == len(lines) - 2 == 100


def _nested_branch(levels: int) -> workflow_pb2.Node:
    current = node("n0", a=1)
    for _ in range(levels):
        current = branch("n0", [(compare("$x", 1), current)], x=promise("", "a"))
    return current


def _nested_list(levels: int) -> object:
    return [_nested_list(levels - 1)] if levels else 1


def _nested_type(levels: int) -> types_pb2.LiteralType:
    return list_of(_nested_type(levels - 1)) if levels else INT


@pytest.mark.usefixtures("small_stack")
def test_depth_that_fits_the_wire_compiles() -> None:
    """Whatever protobuf can parse, the compiler can compile."""
    assert mistakes(workflow([_nested_branch(20)])) == []
    found = mistakes(workflow([node("n0", "total", values=_nested_list(40))]))
    assert [mistake[0] for mistake in found] == ["MismatchingBindings"]
    deep = _nested_type(80)
    assert (
        mistakes(workflow([node("n0", a=1)], inputs={"x": deep}, outputs={"y": deep}, returns={"y": promise("", "x")}))
        == []
    )


def _deep_branches() -> workflow_pb2.WorkflowTemplate:
    template = workflow([node("n0", a=1)])
    current = template.nodes[0]
    for _ in range(60):
        current.id = "n0"
        current = current.branch_node.if_else.case.then_node
    return template


def _deep_bindings() -> workflow_pb2.WorkflowTemplate:
    template = workflow([node("n0", "total", values=1)])
    current = template.nodes[0].inputs[0].binding
    for _ in range(120):
        current = current.collection.bindings.add()
    return template


def _deep_types() -> workflow_pb2.WorkflowTemplate:
    template = workflow([node("n0", a=1)])
    current = template.interface.inputs.variables["x"].type
    for _ in range(200):
        current = current.collection_type
    current.simple = types_pb2.INTEGER
    return template


@pytest.mark.parametrize("build", [_deep_branches, _deep_bindings, _deep_types])
def test_depth_that_does_not_fit_is_refused(build: Callable[[], workflow_pb2.WorkflowTemplate]) -> None:
    """Deeper nesting than messages can have is one clear mistake."""
    ((code, place, text),) = mistakes(build())
    assert (code, place) == ("WorkflowBuildError", "p:d:w:v")
    assert "nested too deeply" in text


def test_depth_of_sub_workflows_is_limited() -> None:
    """Sub-workflows in sub-workflows end at fifty levels."""

    def chain(length: int) -> list[workflow_pb2.WorkflowTemplate]:
        calls = [
            workflow(
                [
                    workflow_pb2.Node(
                        id="n0",
                        workflow_node={"sub_workflow_ref": identifier(f"w{level + 1}")},
                        inputs=bindings({"a": promise("", "a")}),
                    )
                ],
                name=f"w{level}",
            )
            for level in range(length)
        ]
        return [*calls, workflow([node("n0", a=1)], name=f"w{length}")]

    first, *others = chain(50)
    assert mistakes(first, *others) == []
    first, *others = chain(51)
    assert [mistake[0] for mistake in mistakes(first, *others)] == ["WorkflowBuildError"]
    first, *others = chain(1_000)
    assert [mistake[0] for mistake in mistakes(first, *others)] == ["WorkflowBuildError"]


def test_nested_unions_in_bindings_end() -> None:
    """Lists of unions of lists of unions are tried once a pair of binding and variant, not once a path."""
    kind = union(list_of(FLOAT), list_of(STR))
    for _ in range(7):
        kind = union(list_of(kind), list_of(union(kind, STR)))
    template = workflow([node("n0", "deep", values=_nested_list(8))])
    with pytest.raises(CompilationFailedError, match="BindingUnionValue"):
        compiled(template, tasks=[task("deep", {"values": kind})])
