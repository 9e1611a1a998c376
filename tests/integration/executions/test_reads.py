"""Reads of executions, nodes and attempts whose rows an engine wrote."""

from datetime import UTC, timedelta

import asyncpg
import grpc
import pytest
from flyteidl.admin import common_pb2, execution_pb2, node_execution_pb2, task_execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.executions.entities import (
    DOMAIN,
    NOON,
    PROJECT,
    EngineRows,
    error,
    execution_id,
    launch,
    literals,
    node_id,
    task_id,
)

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.rows import FLAG_ARRAY, FLAG_PARENT
from wingbeat_propeller.postgres.queries import load_queries

Admin = admin_pb2_grpc.AdminServiceStub
SCOPE = common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN)
LONG = "y" * 10_000_000


async def _nodes(
    admin: Admin, execution: str = "e1", *, limit: int = 100, token: str = "", parent: str = "", filters: str = ""
) -> node_execution_pb2.NodeExecutionList:
    return await admin.ListNodeExecutions(
        node_execution_pb2.NodeExecutionListRequest(
            workflow_execution_id=execution_id(execution),
            limit=limit,
            token=token,
            unique_parent_id=parent,
            filters=filters,
            sort_by=common_pb2.Sort(key="created_at", direction=common_pb2.Sort.ASCENDING),
        )
    )


async def test_list_of_executions(admin: Admin, engine: EngineRows) -> None:
    """Filters, order, pages and a name; entries have short errors and no inputs."""
    for number in range(5):
        request = launch(f"e{number}", text=str(number))
        request.spec.tags.append(f"tag{number % 2}")
        request.spec.labels.values["number"] = str(number)
        await admin.CreateExecution(request)
    await engine.execution("e1", phase=int(ExecutionPhase.FAILED), ended_at=NOON, error=error("x" * 5_000))

    async def names(limit: int = 100, token: str = "", filters: str = "", name: str = "") -> tuple[list[str], str]:
        found = await admin.ListExecutions(
            common_pb2.ResourceListRequest(
                id=common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN, name=name),
                limit=limit,
                token=token,
                filters=filters,
                sort_by=common_pb2.Sort(key="created_at"),
            )
        )
        return [each.id.name for each in found.executions], found.token

    assert await names(limit=2) == (["e4", "e3"], "2")
    assert await names(limit=2, token="4") == (["e0"], "")
    assert await names(name="e3") == (["e3"], "")
    assert await names(filters="eq(phase,FAILED)") == (["e1"], "")
    assert await names(filters="eq(execution_tag.key,tag1)") == (["e3", "e1"], "")
    assert await names(filters="eq(execution_tag.key,number)+eq(execution_tag.value,2)") == (["e2"], "")
    assert await names(filters="eq(launch_plan.name,lp)+eq(workflow.name,w)", limit=5) == (
        ["e4", "e3", "e2", "e1", "e0"],
        "5",
    )
    found = await admin.ListExecutions(common_pb2.ResourceListRequest(id=SCOPE, limit=100, filters="eq(phase,FAILED)"))
    assert found.executions[0].closure.error.message == "x" * 100
    whole = await admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id("e1")))
    assert whole.closure.error.message == "x" * 5_000


@pytest.mark.parametrize(
    "request_",
    [
        common_pb2.ResourceListRequest(id=SCOPE),
        common_pb2.ResourceListRequest(id=common_pb2.NamedEntityIdentifier(project=PROJECT), limit=1),
        common_pb2.ResourceListRequest(id=SCOPE, limit=1, token="x"),
        common_pb2.ResourceListRequest(id=SCOPE, limit=1, filters="eq(nothing,1)"),
        common_pb2.ResourceListRequest(id=SCOPE, limit=1, sort_by=common_pb2.Sort(key="nothing")),
    ],
)
async def test_malformed_lists(admin: Admin, request_: common_pb2.ResourceListRequest) -> None:
    """Missing scope or limit, a bad token, filter or sort key are INVALID_ARGUMENT."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.ListExecutions(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_unknown_ids(admin: Admin) -> None:
    """Get of what does not exist is NOT_FOUND, of half an id INVALID_ARGUMENT; lists of it are empty."""
    await admin.CreateExecution(launch("e1"))
    get_node = node_execution_pb2.NodeExecutionGetRequest
    get_task = task_execution_pb2.TaskExecutionGetRequest
    far = task_id("e1", attempt=2**32 - 1)
    unknown = (
        admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id("nothing"))),
        admin.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=execution_id("nothing"))),
        admin.GetNodeExecution(get_node(id=node_id("e1"))),
        admin.GetNodeExecution(get_node(id=node_id("nothing"))),
        admin.GetNodeExecutionData(node_execution_pb2.NodeExecutionGetDataRequest(id=node_id("e1"))),
        admin.GetTaskExecution(get_task(id=task_id("e1"))),
        admin.GetTaskExecution(get_task(id=far)),
        admin.GetTaskExecutionData(task_execution_pb2.TaskExecutionGetDataRequest(id=task_id("nothing"))),
        admin.ListNodeExecutionsForTask(
            node_execution_pb2.NodeExecutionForTaskListRequest(task_execution_id=task_id("e1"), limit=1)
        ),
        _nodes(admin, parent="nothing"),
        _nodes(admin, "nothing", parent="n0"),
    )
    for call in unknown:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    half = (
        admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest()),
        admin.GetNodeExecution(get_node(id=identifier_pb2.NodeExecutionIdentifier(node_id="n0"))),
        admin.GetTaskExecution(get_task(id=identifier_pb2.TaskExecutionIdentifier())),
        admin.ListTaskExecutions(task_execution_pb2.TaskExecutionListRequest(limit=1)),
        _nodes(admin, limit=0),
    )
    for call in half:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not (await _nodes(admin)).node_executions
    assert not (await _nodes(admin, "nothing")).node_executions
    found = await admin.ListTaskExecutions(
        task_execution_pb2.TaskExecutionListRequest(node_execution_id=node_id("nothing"), limit=1)
    )
    assert not found.task_executions


async def test_thousand_nodes_in_pages(admin: Admin, engine: EngineRows) -> None:
    """Pages of a hundred hold every node once, oldest first, though many began in the same moment."""
    await admin.CreateExecution(launch("e1"))
    for number in range(1_000):
        await engine.node("e1", f"n{number}", seq=number, created_at=NOON + timedelta(seconds=number // 100))
    names: list[str] = []
    token = ""
    while True:
        page = await _nodes(admin, token=token)
        names += [node.id.node_id for node in page.node_executions]
        token = page.token
        if not token:
            break
    assert names == [f"n{number}" for number in range(1_000)]


async def test_children(admin: Admin, engine: EngineRows) -> None:
    """Without a parent only the top level is listed, with one its direct children; a childless node has none."""
    await admin.CreateExecution(launch("e1"))
    await engine.node("e1", "n0", kind=int(NodeKind.WORKFLOW), flags=FLAG_PARENT)
    await engine.node("e1", "n0-1-n3", seq=1, spec_node_id="n3", parent_id="n0", parent_attempt=1)
    await engine.node("e1", "n1", seq=2, phase=int(NodePhase.RUNNING))
    assert [node.id.node_id for node in (await _nodes(admin)).node_executions] == ["n0", "n1"]
    children = (await _nodes(admin, parent="n0")).node_executions
    assert [(node.id.node_id, node.metadata.spec_node_id, node.metadata.retry_group) for node in children] == [
        ("n0-1-n3", "n3", "1")
    ]
    assert not (await _nodes(admin, parent="n1")).node_executions
    running = (await _nodes(admin, filters="eq(phase,RUNNING)")).node_executions
    assert [node.id.node_id for node in running] == ["n1"]


async def test_attempts(admin: Admin, engine: EngineRows) -> None:
    """All attempts of a node are listed; Get finds one by its full id, and not under another task."""
    await admin.CreateExecution(launch("e1"))
    await engine.node("e1", attempt=1)
    await engine.attempt("e1", 0, phase=int(TaskPhase.FAILED), error=error("no"))
    await engine.attempt("e1", 1)
    found = await admin.ListTaskExecutions(
        task_execution_pb2.TaskExecutionListRequest(node_execution_id=node_id("e1"), limit=10)
    )
    assert [(each.id.retry_attempt, each.closure.phase) for each in found.task_executions] == [
        (0, core_execution_pb2.TaskExecution.FAILED),
        (1, core_execution_pb2.TaskExecution.SUCCEEDED),
    ]
    one = await admin.GetTaskExecution(task_execution_pb2.TaskExecutionGetRequest(id=task_id("e1", 1)))
    assert one == found.task_executions[1]
    stranger = task_id("e1")
    stranger.task_id.name = "other"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.GetTaskExecution(task_execution_pb2.TaskExecutionGetRequest(id=stranger))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    legacy = await admin.ListNodeExecutionsForTask(
        node_execution_pb2.NodeExecutionForTaskListRequest(task_execution_id=task_id("e1"), limit=1)
    )
    assert not legacy.node_executions


async def test_elements_of_an_array(admin: Admin, engine: EngineRows) -> None:
    """The task execution of an array tells of its elements, whether it is listed or asked for."""
    await admin.CreateExecution(launch("e1"))
    await engine.node("e1", kind=int(NodeKind.ARRAY), flags=FLAG_ARRAY)
    details = task_execution_pb2.TaskExecutionClosure()
    details.custom_info["size"] = 4
    await engine.attempt("e1", task_type="container_array", details=details.SerializeToString())
    await engine.element("e1", 3)
    await engine.element("e1", 1, phase=int(TaskPhase.RETRYABLE_FAILED), error=error("no"))
    await engine.element("e1", 1, attempt=1, phase=int(TaskPhase.RUNNING), ended_at=None)
    one = await admin.GetTaskExecution(task_execution_pb2.TaskExecutionGetRequest(id=task_id("e1")))
    entries = one.closure.metadata.external_resources
    assert [(entry.index, entry.retry_attempt) for entry in entries] == [(0, 0), (1, 0), (1, 1), (2, 0), (3, 0)]
    assert entries[1].custom_info["error"] == "no"
    assert one.closure.custom_info["succeeded"] == 1
    assert one.closure.updated_at.ToDatetime(UTC) == NOON + timedelta(seconds=3)
    found = await admin.ListTaskExecutions(
        task_execution_pb2.TaskExecutionListRequest(node_execution_id=node_id("e1"), limit=10)
    )
    assert found.task_executions[0] == one
    node = await admin.GetNodeExecution(node_execution_pb2.NodeExecutionGetRequest(id=node_id("e1")))
    assert node.metadata.is_array
    assert not node.closure.HasField("task_node_metadata")


async def test_long_errors(admin: Admin, engine: EngineRows, blobs: FolderBlobs) -> None:
    """A message of ten megabytes comes back whole from each Get, while lists stay small."""
    await admin.CreateExecution(launch("e1"))
    uri = f"{blobs.base}/error"
    await blobs.put(uri, error(LONG))
    failure = {"error": error(LONG[:50_000]), "error_uri": uri}
    await engine.execution("e1", phase=int(ExecutionPhase.FAILED), ended_at=NOON, **failure)
    await engine.node("e1", phase=int(NodePhase.FAILED), **failure)
    await engine.attempt("e1", phase=int(TaskPhase.FAILED), **failure)
    execution = await admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id("e1")))
    node = await admin.GetNodeExecution(node_execution_pb2.NodeExecutionGetRequest(id=node_id("e1")))
    task = await admin.GetTaskExecution(task_execution_pb2.TaskExecutionGetRequest(id=task_id("e1")))
    for each in (execution, node, task):
        assert each.closure.error.message == LONG
    executions = await admin.ListExecutions(common_pb2.ResourceListRequest(id=SCOPE, limit=10))
    assert len(executions.executions[0].closure.error.message) == 100
    assert len((await _nodes(admin)).node_executions[0].closure.error.message) == 100
    tasks = await admin.ListTaskExecutions(
        task_execution_pb2.TaskExecutionListRequest(node_execution_id=node_id("e1"), limit=10)
    )
    assert len(tasks.task_executions[0].closure.error.message) == 50_000


async def test_small_values(admin: Admin, engine: EngineRows) -> None:
    """Values in rows come back from each of the three data rpcs, with references to them."""
    await admin.CreateExecution(launch("e1"))
    inputs, outputs = literals(text="hi", count=3), literals(text="ho")
    values = {"inputs": inputs.SerializeToString(), "outputs": outputs.SerializeToString()}
    await engine.execution("e1", phase=int(ExecutionPhase.SUCCEEDED), ended_at=NOON, outputs=values["outputs"])
    await engine.node("e1", deck_uri="file:///deck.html", attempt=1, **values)
    await engine.attempt("e1", 0, phase=int(TaskPhase.FAILED), error=error("no"))
    await engine.attempt("e1", 1)
    execution = await admin.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=execution_id("e1")))
    assert (execution.full_inputs, execution.full_outputs) == (inputs, outputs)
    node = await admin.GetNodeExecutionData(node_execution_pb2.NodeExecutionGetDataRequest(id=node_id("e1")))
    assert (node.full_inputs, node.full_outputs) == (inputs, outputs)
    reference = f"flyte://v1/{PROJECT}/{DOMAIN}/e1/n0"
    assert (node.flyte_urls.inputs, node.flyte_urls.outputs) == (f"{reference}/i", f"{reference}/o")
    assert node.flyte_urls.deck == f"{reference}/d"
    get_data = task_execution_pb2.TaskExecutionGetDataRequest
    last = await admin.GetTaskExecutionData(get_data(id=task_id("e1", 1)))
    assert (last.full_inputs, last.full_outputs) == (inputs, outputs)
    assert last.flyte_urls.outputs == f"{reference}/1/o"
    first = await admin.GetTaskExecutionData(get_data(id=task_id("e1", 0)))
    assert first.full_inputs == inputs
    assert not first.full_outputs.literals


async def test_three_megabytes_inline(admin: Admin, engine: EngineRows, blobs: FolderBlobs) -> None:
    """A text of three megabytes in a blob is inline in the answer."""
    await admin.CreateExecution(launch("e1"))
    outputs = literals(text="s" * 3_000_000)
    uri = f"{blobs.base}/outputs.pb"
    await blobs.put(uri, outputs.SerializeToString())
    await engine.execution("e1", phase=int(ExecutionPhase.SUCCEEDED), ended_at=NOON, outputs_uri=uri)
    data = await admin.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=execution_id("e1")))
    assert data.full_outputs == outputs
    assert data.outputs.bytes == 0
    found = await admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id("e1")))
    assert found.closure.outputs.uri == uri


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    ("file", "query"),
    [
        ("execution_reads.sql", "get_execution"),
        ("execution_reads.sql", "get_execution_data"),
        ("execution_keys.sql", "find_execution"),
    ],
)
async def test_one_is_found_by_its_name_alone(pool: asyncpg.Pool, file: str, query: str, mode: str) -> None:
    """Reads of one execution go by the index of names also in a database that has never been analyzed."""
    sql = load_queries("wingbeat_controlplane.executions", file)[query]
    async with pool.acquire() as connection, connection.transaction():
        assert await connection.fetchval("SELECT reltuples FROM pg_class WHERE relname = 'executions'") == -1
        await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
        rows = await connection.fetch(f"EXPLAIN {sql}", PROJECT, DOMAIN, "e1")
    plan = "\n".join(row[0] for row in rows)
    assert "using executions_project_domain_name_key" in plan, plan
