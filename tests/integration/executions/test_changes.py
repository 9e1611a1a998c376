"""Terminate, archive and relaunch."""

import asyncio

import asyncpg
import grpc
import pytest
from flyteidl.admin import common_pb2, event_pb2, execution_pb2, matchable_resource_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2
from flyteidl.service import admin_pb2_grpc
from google.rpc import status_pb2
from tests.integration.executions import entities
from tests.integration.executions.entities import DOMAIN, NOON, PROJECT, EngineRows, execution_id, launch, literals

from wingbeat_propeller.core.ids import shard_of
from wingbeatidl.recovery.v1 import recovery_pb2

Admin = admin_pb2_grpc.AdminServiceStub
Phase = core_execution_pb2.WorkflowExecution


async def _get(admin: Admin, name: str) -> execution_pb2.Execution:
    return await admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id(name)))


def _terminate(name: str, cause: str = "enough") -> execution_pb2.ExecutionTerminateRequest:
    return execution_pb2.ExecutionTerminateRequest(id=execution_id(name), cause=cause)


async def test_terminate(admin: Admin, listener: asyncpg.Connection, engine: EngineRows) -> None:
    """An execution shows ABORTING with its cause at once and its engine is woken; again replaces the cause; the
    engine's ABORTED keeps it."""
    await admin.CreateExecution(launch("e1"))
    woken: asyncio.Queue[str] = asyncio.Queue()
    await listener.add_listener("wingbeat_abort", lambda *event: woken.put_nowait(event[3]))
    await admin.TerminateExecution(_terminate("e1", "first"))
    assert await woken.get() == str(shard_of(PROJECT, DOMAIN, "e1"))
    await admin.TerminateExecution(_terminate("e1", "second"))
    found = await _get(admin, "e1")
    assert found.closure.phase == Phase.ABORTING
    assert found.closure.abort_metadata.cause == "second"
    await engine.execution("e1", phase=int(Phase.ABORTED), ended_at=NOON)
    found = await _get(admin, "e1")
    assert found.closure.phase == Phase.ABORTED
    assert found.closure.abort_metadata.cause == "second"


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED, Phase.TIMED_OUT])
async def test_terminating_what_has_ended(admin: Admin, engine: EngineRows, phase: int) -> None:
    """It is FAILED_PRECONDITION, with the phase among the details, and changes nothing."""
    await admin.CreateExecution(launch("e1"))
    await engine.execution("e1", phase=int(phase), ended_at=NOON)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.TerminateExecution(_terminate("e1"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    trailers = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    reason = event_pb2.EventFailureReason()
    assert status.details[0].Unpack(reason)
    assert reason.already_in_terminal_state.current_phase == Phase.Phase.Name(phase)
    assert (await _get(admin, "e1")).closure.phase == phase


async def test_terminating_what_does_not_exist(admin: Admin) -> None:
    """NOT_FOUND for an unknown execution, INVALID_ARGUMENT for half an id and for a cause beyond bounds."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.TerminateExecution(_terminate("nothing"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    for request in (execution_pb2.ExecutionTerminateRequest(), _terminate(""), _terminate("e1", "c" * 100_000)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await admin.TerminateExecution(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_archive(admin: Admin) -> None:
    """An archived execution leaves lists unless they ask for states, can still be read, and can come back."""
    await admin.CreateExecution(launch("e1"))
    await admin.CreateExecution(launch("e2"))

    async def names(filters: str = "") -> list[str]:
        scope = common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN)
        found = await admin.ListExecutions(common_pb2.ResourceListRequest(id=scope, limit=10, filters=filters))
        return [each.id.name for each in found.executions]

    async def update(state: int) -> None:
        await admin.UpdateExecution(execution_pb2.ExecutionUpdateRequest(id=execution_id("e1"), state=state))

    await update(execution_pb2.EXECUTION_ARCHIVED)
    assert await names() == ["e2"]
    assert await names("value_in(state,0;1)") == ["e1", "e2"]
    assert await names("eq(execution.state,1)") == ["e1"]
    details = (await _get(admin, "e1")).closure.state_change_details
    assert details.state == execution_pb2.EXECUTION_ARCHIVED
    await update(execution_pb2.EXECUTION_ACTIVE)
    assert await names() == ["e1", "e2"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await update(7)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.UpdateExecution(execution_pb2.ExecutionUpdateRequest(id=execution_id("nothing")))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("size", [5, 3_000_000])
async def test_recover(admin: Admin, pool: asyncpg.Pool, size: int) -> None:
    """The same spec and inputs, the cache as it was asked for then, marked as a recovery of the source, of which its
    engine is told by row."""
    request = launch("source", text="x" * size)
    request.spec.overwrite_cache = True
    request.spec.max_parallelism = 3
    await admin.CreateExecution(request)
    created = await admin.RecoverExecution(execution_pb2.ExecutionRecoverRequest(id=execution_id("source"), name="r"))
    found = await _get(admin, created.id.name)
    assert found.id.name == "r"
    assert found.spec.metadata.mode == execution_pb2.ExecutionMetadata.RECOVERED
    assert found.spec.metadata.reference_execution == execution_id("source")
    assert (found.spec.max_parallelism, found.spec.overwrite_cache) == (3, True)
    data = await admin.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=created.id))
    assert data.full_inputs.literals["text"] == literals(text="x" * size).literals["text"]
    rows = await pool.fetch("SELECT id, source_execution_id, recovery FROM executions ORDER BY id")
    assert rows[0]["recovery"] is None
    assert rows[1]["source_execution_id"] == rows[0]["id"]
    assert recovery_pb2.Recovery.FromString(rows[1]["recovery"]) == recovery_pb2.Recovery(source=rows[0]["id"])


async def test_recovering_what_does_not_exist(admin: Admin) -> None:
    """NOT_FOUND for an unknown execution, INVALID_ARGUMENT for half an id, ALREADY_EXISTS for a name that is taken."""
    await admin.CreateExecution(launch("source"))
    for request, code in (
        (execution_pb2.ExecutionRecoverRequest(id=execution_id("nothing")), grpc.StatusCode.NOT_FOUND),
        (execution_pb2.ExecutionRecoverRequest(), grpc.StatusCode.INVALID_ARGUMENT),
        (
            execution_pb2.ExecutionRecoverRequest(id=execution_id("source"), name="source"),
            grpc.StatusCode.ALREADY_EXISTS,
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await admin.RecoverExecution(request)
        assert caught.value.code() is code


async def test_children_launched_again_are_nobodys_children(
    admin: Admin, pool: asyncpg.Pool, engine: EngineRows
) -> None:
    """An execution made of one that a node had launched has no parent, so it does not end with that one's; a recovery
    may be given one, as engines do."""
    await admin.CreateExecution(launch("parent"))
    await engine.node("parent", "n0")
    child = launch("child")
    child.spec.metadata.parent_node_execution.CopyFrom(entities.node_id("parent"))
    await admin.CreateExecution(child)
    await admin.RelaunchExecution(execution_pb2.ExecutionRelaunchRequest(id=execution_id("child"), name="relaunched"))
    await admin.RecoverExecution(execution_pb2.ExecutionRecoverRequest(id=execution_id("child"), name="recovered"))
    request = execution_pb2.ExecutionRecoverRequest(id=execution_id("child"), name="adopted")
    request.metadata.parent_node_execution.CopyFrom(entities.node_id("parent"))
    await admin.RecoverExecution(request)
    rows = await pool.fetch("SELECT name, parent_node_id FROM executions")
    assert {row["name"]: row["parent_node_id"] for row in rows} == {
        "parent": None,
        "child": "n0",
        "relaunched": None,
        "recovered": None,
        "adopted": "n0",
    }
    for name in ("relaunched", "recovered"):
        metadata = (await _get(admin, name)).spec.metadata
        assert not metadata.HasField("parent_node_execution")
        assert metadata.nesting == 0


@pytest.mark.parametrize("size", [5, 3_000_000])
async def test_relaunch(admin: Admin, pool: asyncpg.Pool, engine: EngineRows, size: int) -> None:
    """The same spec and inputs again, small or large, marked as a relaunch of the source; the cache as asked now."""
    request = launch("source", text="x" * size)
    request.spec.overwrite_cache = True
    request.spec.tags.append("nightly")
    request.spec.max_parallelism = 3
    await admin.CreateExecution(request)
    relaunch = execution_pb2.ExecutionRelaunchRequest(id=execution_id("source"), name="again")
    created = await admin.RelaunchExecution(relaunch)
    found = await _get(admin, created.id.name)
    assert found.id.name == "again"
    assert found.spec.metadata.mode == execution_pb2.ExecutionMetadata.RELAUNCH
    assert found.spec.metadata.reference_execution == execution_id("source")
    assert list(found.spec.tags) == ["nightly"]
    assert found.spec.max_parallelism == 3
    assert not found.spec.overwrite_cache
    data = await admin.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=created.id))
    assert data.full_inputs == literals(text="x" * size, count=3)
    source = await pool.fetchval("SELECT source_execution_id FROM executions WHERE name = 'again'")
    assert source == await engine.key("source")


async def test_relaunching_at_once_and_in_vain(admin: Admin, pool: asyncpg.Pool) -> None:
    """Repeated unnamed relaunches are one; an unknown source is NOT_FOUND; a task's relaunch runs the task."""
    request = launch("source", text="x", count=1)
    request.spec.launch_plan.CopyFrom(entities.identifier(identifier_pb2.TASK, "t"))
    await admin.CreateExecution(request)
    relaunch = execution_pb2.ExecutionRelaunchRequest(id=execution_id("source"))
    answers = await asyncio.gather(*(admin.RelaunchExecution(relaunch) for _ in range(4)))
    assert len({answer.id.name for answer in answers}) == 1
    assert await pool.fetchval("SELECT count(*) FROM executions WHERE launch_entity = 'task'") == 2
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.RelaunchExecution(execution_pb2.ExecutionRelaunchRequest(id=execution_id("nothing")))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_relaunching_with_other_inputs(admin: Admin, pool: asyncpg.Pool) -> None:
    """A creation that refers to an execution is shown as its relaunch, with the new inputs; with no mode as well, which
    is what the console sends."""
    await admin.CreateExecution(launch("source", text="old"))
    for name, mode in (
        ("explicit", execution_pb2.ExecutionMetadata.RELAUNCH),
        ("console", execution_pb2.ExecutionMetadata.MANUAL),
    ):
        request = launch(name, text="new")
        request.spec.metadata.mode = mode
        request.spec.metadata.reference_execution.CopyFrom(execution_id("source"))
        await admin.CreateExecution(request)
        found = await _get(admin, name)
        assert found.spec.metadata.mode == execution_pb2.ExecutionMetadata.RELAUNCH
        assert found.spec.metadata.reference_execution == execution_id("source")
        data = await admin.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=execution_id(name)))
        assert data.full_inputs == literals(text="new", count=3)
    scope = common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN)
    key = await pool.fetchval("SELECT id FROM executions WHERE name = 'source'")
    filters = f"eq(mode,{execution_pb2.ExecutionMetadata.RELAUNCH})+eq(source_execution_id,{key})"
    listed = await admin.ListExecutions(common_pb2.ResourceListRequest(id=scope, limit=10, filters=filters))
    assert {each.id.name for each in listed.executions} == {"explicit", "console"}
    request = launch("lost", text="new")
    request.spec.metadata.reference_execution.CopyFrom(execution_id("nothing"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.CreateExecution(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("overwrite", [False, True])
async def test_relaunch_decides_about_the_cache(admin: Admin, pool: asyncpg.Pool, overwrite: bool) -> None:
    """Whether results are read from the cache is said by the relaunch alone, whatever the source said."""
    source = launch("source")
    source.spec.overwrite_cache = not overwrite
    await admin.CreateExecution(source)
    await admin.RelaunchExecution(
        execution_pb2.ExecutionRelaunchRequest(id=execution_id("source"), name="again", overwrite_cache=overwrite)
    )
    assert (await _get(admin, "again")).spec.overwrite_cache is overwrite
    config = await pool.fetchval("SELECT config FROM executions WHERE name = 'again'")
    assert matchable_resource_pb2.WorkflowExecutionConfig.FromString(config).overwrite_cache is overwrite
