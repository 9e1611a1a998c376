"""Properties of compiled workflows over random graphs."""

from dataclasses import dataclass

from flyteidl.core import types_pb2, workflow_pb2
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.compiler.builders import (
    INT,
    STR,
    compiled,
    enum,
    list_of,
    map_of,
    mistakes,
    node,
    promise,
    union,
    workflow,
)
from wingbeat_propeller.compiler.castability import is_castable


@dataclass(frozen=True)
class Graph:
    """For each node the earlier nodes it reads and those it only follows, and an order in which to list them."""

    reads: list[list[int]]
    follows: list[list[int]]
    order: list[int]

    def nodes(self) -> list[workflow_pb2.Node]:
        """The nodes as listed."""
        made = [
            node(
                f"n{index}",
                "total",
                upstream=[f"n{source}" for source in self.follows[index]],
                values=[promise(f"n{source}") for source in self.reads[index]],
            )
            for index in range(len(self.reads))
        ]
        return [made[index] for index in self.order]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random acyclic graphs."""
    size = draw(st.integers(1, 12))
    earlier = [
        st.lists(st.integers(0, index - 1), unique=True, max_size=3) if index else st.just([]) for index in range(size)
    ]
    return Graph(
        reads=[draw(strategy) for strategy in earlier],
        follows=[draw(strategy) for strategy in earlier],
        order=draw(st.permutations(range(size))),
    )


@given(graphs())
def test_connections_are_the_graph(graph: Graph) -> None:
    """Whatever the order of listing: edges are those of the program, loose ends hang on start and end."""
    connections = compiled(workflow(graph.nodes())).primary.connections
    sources = {
        f"n{index}": {f"n{source}" for source in (*reads, *follows)}
        for index, (reads, follows) in enumerate(zip(graph.reads, graph.follows, strict=True))
    }
    for node_id, expected in sources.items():
        assert set(connections.upstream[node_id].ids) == (expected or {"start-node"})
    read = set[str]().union(*sources.values())
    assert set(connections.upstream["end-node"].ids) == sources.keys() - read
    for node_id, targets in connections.downstream.items():
        assert all(node_id in connections.upstream[target].ids for target in targets.ids)


@given(graphs(), st.data())
def test_a_back_edge_is_noticed(graph: Graph, data: st.DataObject) -> None:
    """An edge from a node back to one that leads to it makes a cycle, which is reported in one way or the other."""
    edges = [(index, source) for index, reads in enumerate(graph.reads) for source in (*reads, *graph.follows[index])]
    if not edges:
        return
    later, earlier = data.draw(st.sampled_from(edges))
    graph.follows[earlier].append(later)
    codes = {mistake[0] for mistake in mistakes(workflow(graph.nodes()))}
    assert codes
    assert codes <= {"CycleDetected", "UnreachableNodes"}


types = st.recursive(
    st.sampled_from([INT, STR, enum("a", "b"), types_pb2.LiteralType(simple=types_pb2.NONE)]),
    lambda inner: st.one_of(
        inner.map(list_of),
        inner.map(map_of),
        st.lists(inner, min_size=1, max_size=3).map(lambda variants: union(*variants)),
    ),
    max_leaves=8,
)


@given(types)
def test_every_type_is_castable_to_itself(literal_type: types_pb2.LiteralType) -> None:
    """A value fits where its own type is expected."""
    assert is_castable(literal_type, literal_type)


@given(types, types)
def test_lists_are_castable_when_their_elements_are(
    upstream: types_pb2.LiteralType, downstream: types_pb2.LiteralType
) -> None:
    """Wrapping both sides changes nothing, but that empty lists fit everywhere."""
    is_empty = upstream.WhichOneof("type") == "simple" and upstream.simple == types_pb2.NONE
    assert is_castable(list_of(upstream), list_of(downstream)) == (is_empty or is_castable(upstream, downstream))
