"""Executions that eager tasks have started, which go with the execution of the task."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from flyteidl.admin import execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.executions.entities import NOON, EngineRows, execution_id, launch

from wingbeat_controlplane.executions.children import ChildExecutions, open_children
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.registry import open_registry
from wingbeat_propeller.blobs.folder import FolderBlobs

Admin = admin_pb2_grpc.AdminServiceStub
Phase = core_execution_pb2.WorkflowExecution


@pytest.fixture
def children(pool: asyncpg.Pool, blobs: FolderBlobs, options: ExecutionOptions) -> ChildExecutions:
    """What an engine sweeps with."""
    return open_children(pool, blobs, open_registry(pool, RegistryOptions()), options)


async def _launch(admin: Admin, name: str, parent: str | None = None) -> None:
    request = launch(name)
    if parent is not None:
        request.spec.labels.values.update({"eager-exec": parent, "eager-root-exec": "e1"})
    await admin.CreateExecution(request)


async def _closure(admin: Admin, name: str) -> execution_pb2.ExecutionClosure:
    request = execution_pb2.WorkflowExecutionGetRequest(id=execution_id(name))
    return (await admin.GetExecution(request)).closure


async def test_terminating_goes_down(admin: Admin, engine: EngineRows) -> None:
    """Children and grandchildren abort with a cause that names their parent's; what has ended and what belongs to
    others stays as it is."""
    await _launch(admin, "e1")
    for name, parent in (("child", "e1"), ("done", "e1"), ("grandchild", "child"), ("other", "e2"), ("free", None)):
        await _launch(admin, name, parent)
    await engine.execution("done", phase=int(Phase.SUCCEEDED), ended_at=NOON)
    await admin.TerminateExecution(execution_pb2.ExecutionTerminateRequest(id=execution_id("e1"), cause="enough"))
    for name in ("child", "grandchild"):
        closure = await _closure(admin, name)
        assert closure.phase == Phase.ABORTING
        assert closure.abort_metadata.cause == "cascading abort as eager execution [e1] was aborted, reason [enough]"
    assert [(await _closure(admin, name)).phase for name in ("done", "other", "free")] == [
        Phase.SUCCEEDED,
        Phase.UNDEFINED,
        Phase.UNDEFINED,
    ]


async def test_children_are_known_to_be_waited_for(admin: Admin, pool: asyncpg.Pool) -> None:
    """An engine whose memory is full takes up what an eager task has launched all the same, so the row says so."""
    await _launch(admin, "e1")
    await _launch(admin, "child", "e1")
    rows = await pool.fetch("SELECT name, awaited FROM executions")
    assert {row["name"]: row["awaited"] for row in rows} == {"e1": False, "child": True}


@pytest.mark.parametrize(
    ("phase", "aborted"),
    [(Phase.FAILED, True), (Phase.ABORTED, True), (Phase.TIMED_OUT, True), (Phase.SUCCEEDED, False)],
)
async def test_orphans(admin: Admin, engine: EngineRows, children: ChildExecutions, phase: int, aborted: bool) -> None:
    """When an eager execution has failed the sweep terminates what it had started, once; a success leaves it alone."""
    await _launch(admin, "e1")
    await _launch(admin, "child", "e1")
    assert await children.abort_orphans() == 0
    await engine.execution("e1", phase=int(phase), ended_at=datetime.now(UTC))
    assert await children.abort_orphans() == int(aborted)
    assert await children.abort_orphans() == 0
    assert (await _closure(admin, "child")).phase == (Phase.ABORTING if aborted else Phase.UNDEFINED)


async def test_children_that_came_too_late(admin: Admin, engine: EngineRows, children: ChildExecutions) -> None:
    """What a task starts while it is being ended is found; what somebody launches with the same labels later is not."""
    await _launch(admin, "e1")
    await admin.TerminateExecution(execution_pb2.ExecutionTerminateRequest(id=execution_id("e1"), cause="enough"))
    await _launch(admin, "late", "e1")
    await _launch(admin, "again", "e1")
    await engine.execution("again", created_at=datetime.now(UTC) + timedelta(minutes=2))
    assert await children.abort_orphans() == 1
    assert (await _closure(admin, "late")).abort_metadata.cause == ("cascading abort as eager execution [e1] has ended")
    assert (await _closure(admin, "again")).phase == Phase.UNDEFINED
