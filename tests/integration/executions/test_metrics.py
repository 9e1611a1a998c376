"""GetExecutionMetrics over rows that an engine wrote."""

import json
from datetime import timedelta

import asyncpg
import grpc
import pytest
from flyteidl.admin import execution_pb2
from flyteidl.core import compiler_pb2, identifier_pb2, metrics_pb2
from flyteidl.event import event_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.executions.entities import NOON, EngineRows, execution_id, launch
from tests.span_text import check, kind_of, names, walk

from wingbeat_controlplane.executions.metrics import reading
from wingbeat_controlplane.executions.metrics.reading import DEPTH_MAX, ExecutionMetrics
from wingbeat_controlplane.gateway.json_encoding import JsonEncoder
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.rows import FLAG_ARRAY, FLAG_DYNAMIC, FLAG_PARENT

Admin = admin_pb2_grpc.AdminServiceStub
DYNAMIC = FLAG_DYNAMIC | FLAG_PARENT


def _request(name: str = "e1", depth: int = -1) -> execution_pb2.WorkflowExecutionGetMetricsRequest:
    return execution_pb2.WorkflowExecutionGetMetricsRequest(id=execution_id(name), depth=depth)


async def _span(admin: Admin, name: str = "e1", depth: int = -1) -> metrics_pb2.Span:
    span = (await admin.GetExecutionMetrics(_request(name, depth))).span
    check(span, steady=False)
    return span


def _inside(span: metrics_pb2.Span) -> dict[str, list[str]]:
    """What is directly inside of each execution and node, by name."""
    return {
        inner.node_id.node_id or inner.workflow_id.name: names(inner)
        for inner, _ in walk(span)
        if kind_of(inner) != "task_id"
    }


class _Making:
    """An execution `e1` of nodes at any place, each a second long and a second after the one before."""

    def __init__(self, engine: EngineRows) -> None:
        self.engine = engine
        self.seq = 0

    async def execution(self, name: str, *, ended: bool = True) -> None:
        """It began at noon and ended a minute later."""
        end = {"phase": int(ExecutionPhase.SUCCEEDED), "ended_at": NOON + timedelta(minutes=1)} if ended else {}
        await self.engine.execution(name, created_at=NOON, updated_at=NOON + timedelta(minutes=1), **end)

    async def node(self, execution: str, node: str, kind: NodeKind = NodeKind.TASK, **columns: object) -> None:
        """A node that has ended."""
        self.seq += 1
        at = NOON + timedelta(seconds=self.seq)
        times = {"created_at": at, "started_at": at, "ended_at": at, "updated_at": at + timedelta(seconds=1)}
        await self.engine.node(execution, node, kind=int(kind), seq=self.seq, **{**times, **columns})

    async def start(self, execution: str, parent: str | None = None, attempt: int | None = None) -> None:
        """A start node."""
        node = "start-node" if parent is None else f"{parent}-start-node"
        inside = {"parent_id": parent, "parent_attempt": attempt, "spec_node_id": "start-node"}
        await self.node(execution, node, NodeKind.START, **inside)


@pytest.fixture
async def making(admin: Admin, engine: EngineRows) -> _Making:
    """`e1` with its start node."""
    await admin.CreateExecution(launch("e1"))
    making = _Making(engine)
    await making.execution("e1")
    await making.start("e1")
    return making


def _child_details(name: str) -> bytes:
    metadata = event_pb2.WorkflowNodeMetadata(execution_id=execution_id(name))
    return event_pb2.NodeExecutionEvent(workflow_node_metadata=metadata).SerializeToString()


def _dynamic_details(uri: str) -> bytes:
    event = event_pb2.NodeExecutionEvent()
    event.task_node_metadata.dynamic_workflow.dynamic_job_spec_uri = uri
    return event.SerializeToString()


def _line(*ids: str) -> compiler_pb2.CompiledWorkflowClosure:
    """A workflow of which only the order of its nodes is there."""
    closure = compiler_pb2.CompiledWorkflowClosure()
    for before, after in zip(("start-node", *ids), (*ids, "end-node"), strict=True):
        closure.primary.connections.upstream[after].ids.append(before)
    return closure


async def test_task_with_attempts(admin: Admin, making: _Making) -> None:
    """Ids are complete, times are those of the rows, the depth is obeyed."""
    await making.node("e1", "n0", updated_at=NOON + timedelta(seconds=50))
    for number in range(2):
        at = NOON + timedelta(seconds=10 * number + 5)
        ended = at + timedelta(seconds=7)
        await making.engine.attempt(
            "e1", number, created_at=at, started_at=at, ended_at=ended, updated_at=ended + timedelta(seconds=1)
        )
    span = await _span(admin)
    assert span.workflow_id == execution_id("e1")
    assert (span.end_time.ToNanoseconds() - span.start_time.ToNanoseconds()) / 1e9 == 60
    assert names(span) == ["WORKFLOW_SETUP", "node_id", "WORKFLOW_TEARDOWN"]
    node = span.spans[1]
    assert node.node_id == identifier_pb2.NodeExecutionIdentifier(node_id="n0", execution_id=execution_id("e1"))
    inside = ["NODE_TRANSITION", "NODE_SETUP", "task_id", "NODE_RESET", "task_id", "NODE_TEARDOWN"]
    assert names(node) == inside
    attempt = node.spans[4].task_id
    assert (attempt.task_id.resource_type, attempt.task_id.name, attempt.task_id.version) == (
        identifier_pb2.TASK,
        "t",
        "v1",
    )
    assert attempt.node_execution_id == node.node_id
    assert attempt.retry_attempt == 1
    assert await _span(admin, depth=3) == span
    assert _inside(await _span(admin, depth=2))["n0"] == [name for name in inside if name != "task_id"]
    assert _inside(await _span(admin, depth=1)) == {"e1": names(span), "n0": ["NODE_TRANSITION"]}
    assert _inside(await _span(admin, depth=0)) == {"e1": []}


async def test_launched_a_moment_ago(admin: Admin) -> None:
    """No engine has seen it yet."""
    await admin.CreateExecution(launch("e1"))
    assert _inside(await _span(admin)) == {"e1": ["WORKFLOW_SETUP"]}


async def test_dynamic_node(admin: Admin, making: _Making, blobs: FolderBlobs) -> None:
    """The workflow it has made is read for what leads to what; without it the nodes are there all the same."""
    uri = f"{blobs.base}/n0/futures.pb"
    await blobs.put(f"{blobs.base}/n0/dynamic_compiled.pb", _line("dn0", "dn1").SerializeToString())
    for node, futures in (("n0", uri), ("n1", f"{blobs.base}/gone/futures.pb")):
        await making.node("e1", node, flags=DYNAMIC, details=_dynamic_details(futures))
        await making.start("e1", node, 0)
        for inner in ("dn0", "dn1"):
            inside = {"parent_id": node, "parent_attempt": 0, "spec_node_id": inner}
            await making.node("e1", f"{node}-0-{inner}", **inside)
    found = _inside(await _span(admin))
    assert found["n0"] == ["NODE_TRANSITION", "NODE_SETUP", "node_id", "node_id"]
    assert found["n0-0-dn1"] == ["NODE_TRANSITION", "NODE_SETUP"]
    assert found["n1-0-dn1"] == ["NODE_SETUP"]
    assert set(_inside(await _span(admin, depth=1))) == {"e1", "n0", "n1"}


async def test_generations(admin: Admin, making: _Making) -> None:
    """Executions of launch plan nodes are inside of them, theirs as well; one that is gone is not. A recovered node
    names the child of the execution that was recovered, which is no part of this one."""
    for name, child in (("e1", "e2"), ("e2", "e3"), ("e3", "gone")):
        if name != "e1":
            await admin.CreateExecution(launch(name))
            await making.execution(name)
            await making.start(name)
        await making.node(name, f"{name}n0", NodeKind.LAUNCH_PLAN, details=_child_details(child), spec_node_id="n0")
    recovered = {"phase": int(NodePhase.RECOVERED), "details": _child_details("e3")}
    await making.node("e1", "again", NodeKind.LAUNCH_PLAN, **recovered)
    found = _inside(await _span(admin))
    assert set(found) == {"e1", "e1n0", "e2", "e2n0", "e3", "e3n0", "again"}
    assert found["e2n0"] == ["NODE_TRANSITION", "NODE_SETUP", "workflow_id"]
    assert found["e3n0"] == ["NODE_TRANSITION", "NODE_SETUP"]
    assert found["again"] == ["NODE_SETUP"]
    assert _inside(await _span(admin, depth=2))["e2"] == []
    assert "e3" not in _inside(await _span(admin, depth=3))
    assert "e3" in _inside(await _span(admin, depth=4))


async def test_elements_are_left_out(admin: Admin, making: _Making, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array is one span, and what its elements are made of does not count."""
    await making.node("e1", "n0", NodeKind.ARRAY, flags=FLAG_ARRAY)
    for element in range(20):
        inside = {"parent_id": f"n0-0-n{element}", "parent_attempt": 0}
        await making.node("e1", f"n0-0-n{element}-0-n0", **inside)
    monkeypatch.setattr(reading, "ROWS_MAX", 3)
    assert _inside(await _span(admin)) == {
        "e1": ["WORKFLOW_SETUP", "node_id", "WORKFLOW_TEARDOWN"],
        "n0": ["NODE_TRANSITION"],
    }


@pytest.mark.parametrize("rows", [2, 3, 4])
async def test_more_than_an_answer_holds(
    admin: Admin, making: _Making, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Nodes, attempts and children count; fewer levels are still answered."""
    await admin.CreateExecution(launch("e2"))
    await making.node("e1", "n0")
    await making.engine.attempt("e1")
    await making.node("e1", "n1", NodeKind.LAUNCH_PLAN, details=_child_details("e2"))
    monkeypatch.setattr(reading, "ROWS_MAX", 5)
    await _span(admin)
    monkeypatch.setattr(reading, "ROWS_MAX", rows)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.GetExecutionMetrics(_request())
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert f"more than {rows} nodes" in (caught.value.details() or "")
    assert _inside(await _span(admin, depth=0)) == {"e1": []}


async def test_deeper_than_protobuf_goes(admin: Admin, making: _Making) -> None:
    """What is below the deepest level is left out, so that clients can read the answer, as JSON too."""
    parent = None
    for level in range(DEPTH_MAX + 20):
        inside = {"parent_id": parent, "parent_attempt": None if parent is None else 0, "spec_node_id": "n0"}
        await making.node("e1", f"n{level}", NodeKind.WORKFLOW, flags=FLAG_PARENT, **inside)
        parent = f"n{level}"
        await making.start("e1", parent, 0)
    span = await _span(admin)
    assert max(depth for _, depth in walk(span)) == DEPTH_MAX
    answer = execution_pb2.WorkflowExecutionGetMetricsResponse(span=span)
    assert json.loads(JsonEncoder(proto_names=False).encode(answer))["span"]["spans"]


async def test_statements_do_not_grow_with_nodes(
    admin: Admin, making: _Making, database_url: str, blobs: FolderBlobs
) -> None:
    """However many nodes, attempts and children there are, a generation is read at once."""
    statements: list[str] = []

    async def listen(connection: asyncpg.Connection) -> None:
        connection.add_query_logger(lambda logged: statements.append(logged.query))

    async def add(numbers: range) -> None:
        for number in numbers:
            await admin.CreateExecution(launch(f"child{number}"))
            await making.execution(f"child{number}")
            await making.start(f"child{number}")
            details = _child_details(f"child{number}")
            await making.node("e1", f"plan{number}", NodeKind.LAUNCH_PLAN, details=details, spec_node_id="n0")
            await making.node("e1", f"sub{number}", NodeKind.WORKFLOW, flags=FLAG_PARENT)
            await making.start("e1", f"sub{number}", 0)
            await making.node("e1", f"task{number}", parent_id=f"sub{number}", parent_attempt=0)
            await making.engine.attempt("e1", node_id=f"task{number}")

    async with asyncpg.create_pool(database_url, min_size=1, max_size=1, init=listen) as pool:
        metrics = ExecutionMetrics(pool, blobs)

        async def asked() -> tuple[int, int]:
            statements.clear()
            answer = execution_pb2.WorkflowExecutionGetMetricsResponse.FromString(await metrics.get(_request()))
            return len(statements), len(list(walk(answer.span)))

        await add(range(1))
        await asked()  # from now on the workflow is known
        few, spans_of_few = await asked()
        await add(range(1, 40))
        many, spans_of_many = await asked()
    assert (spans_of_few, spans_of_many) == (1 + 5, 1 + 5 * 40)
    assert 0 < few == many


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (execution_pb2.WorkflowExecutionGetMetricsRequest(depth=1), grpc.StatusCode.INVALID_ARGUMENT),
        (_request(""), grpc.StatusCode.INVALID_ARGUMENT),
        (_request("nowhere"), grpc.StatusCode.NOT_FOUND),
        (_request("nowhere", 0), grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_what_is_not_there(
    admin: Admin, request_: execution_pb2.WorkflowExecutionGetMetricsRequest, code: grpc.StatusCode
) -> None:
    """The same answers as to GetExecution."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.GetExecutionMetrics(request_)
    assert caught.value.code() is code
    with pytest.raises(grpc.aio.AioRpcError) as also:
        await admin.GetExecution(
            execution_pb2.WorkflowExecutionGetRequest(id=request_.id if request_.HasField("id") else None)
        )
    assert (also.value.code(), also.value.details()) == (caught.value.code(), caught.value.details())
