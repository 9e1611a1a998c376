"""Where the time of an execution went, by flytekit's own commands and its client."""

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import yaml
from flyteidl.admin import execution_pb2
from flyteidl.core import metrics_pb2
from tests.e2e.client import Client, execution_id, phase, succeeded
from tests.e2e.installation import Installation, until
from tests.e2e.test_gates import give
from tests.e2e.test_pyflyte import pyflyte
from tests.span_text import check, kind_of, names, operations, walk

ALL = -1
LINE = re.compile(r"(?P<operation>[A-Z_]+) +\S+ \S+ +\S+ \S+ +(?P<seconds>\d+\.\d\d)s +(?P<entity>\S+)")


def _span(client: Client, execution: Any, depth: int = ALL) -> metrics_pb2.Span:
    request = execution_pb2.WorkflowExecutionGetMetricsRequest(id=execution_id(execution.id.name), depth=depth)
    return client.admin.GetExecutionMetrics(request).span


def _inside(span: metrics_pb2.Span) -> dict[str, list[str]]:
    return {inner.node_id.node_id: names(inner) for inner, _ in walk(span) if kind_of(inner) == "node_id"}


def test_dump(installation: Installation, client: Client) -> None:
    """`pyflyte metrics dump` adds up what the whole took, and each node and attempt of it, at all levels."""
    client.register("dynamics", "quadruple_plan")
    execution = succeeded(client.run("dynamics", "everything_wf", {"number": 2}))
    done = pyflyte(installation, "metrics", "dump", execution.id.name)
    whole = yaml.safe_load(done.stdout)[execution.id.name]
    assert {"WORKFLOW_SETUP", "NODE_TRANSITION", "NODE_IDLE", "TASK_RUNTIME", "WORKFLOW_TEARDOWN"} <= set(
        whole["breakdown"]
    )
    assert whole["breakdown"]["NODE_IDLE"] >= 0.05
    dynamic = whole["nodes"]["n0"]
    assert dynamic["task_attempts"][0]["breakdown"]["TASK_RUNTIME"] > 0
    workflows = {name for node in dynamic["nodes"].values() for name in node.get("workflows", {})}
    assert len(workflows) == 1
    assert whole["breakdown"]["TASK_RUNTIME"] == pytest.approx(
        sum(span["breakdown"]["TASK_RUNTIME"] for span in _attempts(whole))
    )
    assert len(_attempts(whole)) == 7


def _attempts(span: dict[str, Any]) -> list[dict[str, Any]]:
    below = [*span.get("nodes", {}).values(), *span.get("workflows", {}).values()]
    return [*span.get("task_attempts", {}).values(), *(attempt for one in below for attempt in _attempts(one))]


def test_explain(installation: Installation, client: Client) -> None:
    """`pyflyte metrics explain` prints a line for each operation, in order."""
    execution = succeeded(client.run("shapes", "chain_wf"))
    lines = [
        LINE.match(line) for line in pyflyte(installation, "metrics", "explain", execution.id.name).stdout.splitlines()
    ]
    found = [(line["operation"], line["entity"]) for line in lines if line]
    whole = f"workflow/{execution.id.name}"
    expected = [("WORKFLOW_SETUP", whole)]
    for number in range(3):
        node = f"node/n{number}"
        expected += [("NODE_TRANSITION", node), ("NODE_SETUP", node)]
        expected += [(operation, "task/0") for operation in ("TASK_SETUP", "TASK_RUNTIME", "TASK_TEARDOWN")]
        expected += [("NODE_TEARDOWN", node)]
    assert found == [*expected, ("WORKFLOW_TEARDOWN", whole)]
    seconds = sum(float(line["seconds"]) for line in lines if line)
    took = (execution.closure.updated_at - execution.closure.created_at).total_seconds()
    assert seconds == pytest.approx(took, abs=0.005 * len(found)), "a chain has no time that nobody takes"


def test_remote(client: Client) -> None:
    """FlyteRemote asks for ten levels; the answer is what everybody else gets."""
    execution = succeeded(client.run("launch_plans", "grandparent_wf", {"number": 2}))
    span = client.remote.get_execution_metrics(execution.id).to_flyte_idl()
    check(span, steady=True)
    assert span == _span(client, execution)
    generations = [inner.workflow_id.name for inner, _ in walk(span) if inner.HasField("workflow_id")]
    assert len(generations) == 3
    assert generations[0] == execution.id.name


def test_retries_failures_and_maps(client: Client, marks: Path) -> None:
    """Resets between the attempts of a dynamic task; after a failure the node that handles it; a map is one span."""
    execution = succeeded(client.run("dynamics", "hesitating_wf", {"path": str(marks)}))
    span = _span(client, execution)
    check(span, steady=True)
    attempt = ["task_id", "NODE_RESET"]
    assert _inside(span)["n0"] == ["NODE_TRANSITION", "NODE_SETUP", *attempt * 3, "node_id", "NODE_TEARDOWN"]
    failed = client.run("dynamics", "failing_wf", {"number": 1})
    assert phase(failed) == "FAILED"
    check(_span(client, failed), steady=True)
    assert _inside(_span(client, failed))["n0"][-1] == "node_id"
    handled = _span(client, client.run("failure_nodes", "told_wf", {"path": str(marks)}))
    check(handled, steady=True)
    first, handler = (inner for inner in handled.spans if inner.HasField("node_id"))
    assert names(handler)[:2] == ["NODE_TRANSITION", "NODE_SETUP"]
    assert handler.spans[0].start_time == first.end_time
    assert handled.spans[-1].operation_id == "WORKFLOW_TEARDOWN"
    assert handled.spans[-1].start_time == handler.end_time
    mapped = succeeded(client.run("maps", "map_wf", {"numbers": [1, 2]}))
    assert _inside(_span(client, mapped))["n0"] == ["NODE_TRANSITION"]


def test_cache(client: Client, marks: Path) -> None:
    """What comes from the cache is set-up alone."""
    inputs = {"marks": str(marks), "what": "metrics"}
    first, second = (
        # Under names of their own, or the second would be taken for the first, repeated.
        succeeded(client.wait(client.launch("caching", "plain", inputs, execution_name=f"metrics-{uuid4().hex[:12]}")))
        for _ in range(2)
    )
    assert "task_id" in _inside(_span(client, first))["n0"]
    assert _inside(_span(client, second)) == {node: ["NODE_TRANSITION", "NODE_SETUP"] for node in ("n0", "n1")}


def test_while_it_runs(client: Client) -> None:
    """A gate that waits is idle so far; nothing is torn down."""
    execution = client.launch("gates", "input_wf", {"report": "all is well"})

    def span() -> metrics_pb2.Span:
        return _span(client, execution)

    until(lambda: "NODE_IDLE" in [name for inside in _inside(span()).values() for name in inside], what="the gate")
    assert _inside(span()) == {"n0": ["NODE_TRANSITION", "NODE_SETUP", "NODE_IDLE"]}
    assert [inner.operation_id for inner in operations(span())] == ["WORKFLOW_SETUP"]
    give(client, execution, "title", "Weather", str)
    succeeded(client.wait(execution))
    assert _inside(span())["n0"] == ["NODE_TRANSITION", "NODE_SETUP", "NODE_IDLE", "NODE_TEARDOWN"]
    assert [inner.operation_id for inner in operations(span())] == ["WORKFLOW_SETUP", "WORKFLOW_TEARDOWN"]


def test_unknown(installation: Installation, client: Client) -> None:
    """As of any execution that is not there."""
    request = execution_pb2.WorkflowExecutionGetMetricsRequest(id=execution_id("nowhere"), depth=ALL)
    with pytest.raises(grpc.RpcError) as caught:
        client.admin.GetExecutionMetrics(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]
    done = pyflyte(installation, "metrics", "explain", "nowhere", check=False)
    assert done.returncode
