"""Which node of an execution launched another one is told by names and times."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.unit.core.plans import fan, task

from wingbeat_catalog.lineage.eager import eager_nodes, launchers
from wingbeat_catalog.lineage.execution_graph import ExecutionGraph, GraphRow
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import NodeKind

T0 = datetime(2026, 5, 1, tzinfo=UTC)


def _graph(*names: str) -> ExecutionGraph:
    """Nodes n0, n1 ... with eager tasks of these names, one after the other, a minute each; the last one still runs."""
    targets = [task(f"flows.{name}") for name in names]
    for target in targets:
        target.template.metadata.is_eager = True
    plan = replace(fan(len(names) + 1), targets=(None, None, *targets, task("flows.plain")))
    rows = [
        GraphRow(
            *(f"n{index}", f"n{index}", None, 0, "", NodeKind.TASK, 0, NodePhase.SUCCEEDED, 0, None),
            started_at=T0 + timedelta(minutes=index),
            ended_at=T0 + timedelta(minutes=index + 1) if index < len(names) - 1 else None,
        )
        for index in range(len(names) + 1)
    ]
    return ExecutionGraph(plan, {row.node_id: row for row in rows}, {})


def test_by_name() -> None:
    """flytekit puts the eager task's name, cut and made fit for DNS, into that of what it launches."""
    graph = _graph("My_Long_Workflow", "mylonger", "other")
    assert eager_nodes(graph) == ["n0", "n1", "n2"]
    assert launchers(graph, "abcdefgh", "e--my--long-abcde-double-0123456789abcdef", T0) == ["n0"]
    assert launchers(graph, "abcdefgh", "e-other-abcde-double-0123456789abcdef", T0) == ["n2"]


def test_by_time() -> None:
    """The same task in several nodes: the one that ran. Of names that say nothing, too; a clock that is off by more
    leaves all of them."""
    graph = _graph("flow", "flow", "flow")
    for name in ("e-flow-abcde-double-0123456789abcdef", "something-else"):
        assert launchers(graph, "abcdefgh", name, T0 + timedelta(seconds=90)) == ["n1"]
        assert launchers(graph, "abcdefgh", name, T0 + timedelta(hours=1)) == ["n2"]
        assert launchers(graph, "abcdefgh", name, T0 - timedelta(hours=1)) == ["n0", "n1", "n2"]


def test_nobody() -> None:
    """An execution without eager tasks has launched nothing."""
    assert launchers(_graph(), "abcdefgh", "e-flow-abcde-double-0123456789abcdef", T0) == []
