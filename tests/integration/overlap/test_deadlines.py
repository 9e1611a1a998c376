"""Deadlines of executions: to begin in, and to end in, over restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import grpc
import pytest
from flyteidl.admin import execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.engine.harness import engine
from tests.integration.executions import entities
from tests.integration.executions.entities import execution_id, launch
from tests.integration.overlap.engine_process import EchoPlugin, SlowRuntime

from wingbeat_propeller.core.phases import NodePhase

Admin = admin_pb2_grpc.AdminServiceStub
Phase = core_execution_pb2.WorkflowExecution


async def _until(admin: Admin, name: str, phase: int) -> execution_pb2.Execution:
    asked = execution_pb2.WorkflowExecutionGetRequest(id=execution_id(name))
    async with asyncio.timeout(60):
        while (found := await admin.GetExecution(asked)).closure.phase != phase:
            await asyncio.sleep(0.01)
    return found


@asynccontextmanager
async def _engine(pool: asyncpg.Pool, database_url: str, folder: Path) -> AsyncIterator[SlowRuntime]:
    runtime = SlowRuntime()
    async with engine(pool, database_url, folder / "blobs", runtime, plugin=EchoPlugin()):
        yield runtime


def _launch(name: str, count: int = -1, plan: str = "lp", **annotations: str) -> execution_pb2.ExecutionCreateRequest:
    request = launch(name, plan=plan, text="x", count=count)
    request.spec.annotations.values.update(
        {f"wingbeat.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    )
    return request


async def test_which_deadline_counts(admin: Admin, pool: asyncpg.Pool) -> None:
    """Each of the two comes from the execution, else from its launch plan, even if the execution has annotations of its
    own; other annotations change nothing."""
    plan = entities.launch_plan("timed")
    plan.spec.annotations.values.update({"wingbeat.dev/deadline": "2h", "wingbeat.dev/queue-deadline": "1h"})
    plan.spec.quality_of_service.spec.queueing_budget.seconds = 60
    await admin.CreateLaunchPlan(plan)
    await admin.CreateExecution(_launch("none"))
    await admin.CreateExecution(_launch("plan", plan="timed"))
    own = _launch("own", plan="timed", deadline="90s")
    own.spec.annotations.values["team"] = "a"
    own.spec.quality_of_service.spec.queueing_budget.seconds = 7
    await admin.CreateExecution(own)
    rows = await pool.fetch(
        "SELECT name, deadline_s, extract(epoch FROM begin_by - created_at)::float8 AS queue_s FROM executions"
    )
    found = {row["name"]: (row["queue_s"], row["deadline_s"]) for row in rows}
    assert found == {"none": (None, None), "plan": (60.0, 7200.0), "own": (7.0, 90.0)}


@pytest.mark.parametrize("key", ["deadline", "queue_deadline", "overlap", "elsewhere"])
async def test_mistakes_are_refused(admin: Admin, pool: asyncpg.Pool, key: str) -> None:
    """A request with an annotation that cannot be read, or is not an execution's, is INVALID_ARGUMENT."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.CreateExecution(_launch("e", **{key: "soon"}))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"wingbeat.dev/{key.replace('_', '-')}" in (caught.value.details() or "")
    assert await pool.fetchval("SELECT count(*) FROM executions") == 0


async def test_an_execution_past_its_deadline(
    admin: Admin, pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """It ends TIMED_OUT with a reason that names the deadline, and what runs is aborted; one in time is left alone."""
    async with _engine(pool, database_url, tmp_path) as runtime:
        await admin.CreateExecution(_launch("quick", 1, deadline="1h"))
        await admin.CreateExecution(_launch("slow", 60_000, deadline="300ms"))
        await _until(admin, "quick", Phase.SUCCEEDED)
        found = await _until(admin, "slow", Phase.TIMED_OUT)
        assert found.closure.error.code == "DeadlineExceeded"
        assert found.closure.error.kind == core_execution_pb2.ExecutionError.USER
        assert "longer than its deadline allows (0.3 s)" in found.closure.error.message
        assert found.closure.duration.ToTimedelta().total_seconds() >= 0.3
        async with asyncio.timeout(60):
            while runtime.running:
                await asyncio.sleep(0.01)
    phases = await pool.fetch(
        "SELECT DISTINCT n.phase FROM node_executions n JOIN executions e ON e.id = n.execution_id"
        " WHERE e.name = 'slow' AND n.node_id = 'n0'"
    )
    assert [row["phase"] for row in phases] == [NodePhase.ABORTED]


async def test_a_deadline_survives_restarts(
    admin: Admin, pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """One that comes while no engine runs is met when the next one does; one that is to come counts from the begin."""
    async with _engine(pool, database_url, tmp_path):
        await admin.CreateExecution(_launch("past", deadline="1h"))
        await admin.CreateExecution(_launch("future", deadline="1h"))
        for name in ("past", "future"):
            await _until(admin, name, Phase.RUNNING)
    await pool.execute("UPDATE executions SET started_at = now() - interval '61 minutes' WHERE name = 'past'")
    await pool.execute(
        "UPDATE executions SET started_at = now() - interval '1 hour' + interval '700 ms' WHERE name = 'future'"
    )
    async with _engine(pool, database_url, tmp_path) as runtime:
        await _until(admin, "past", Phase.TIMED_OUT)
        found = await _until(admin, "future", Phase.TIMED_OUT)
        assert found.closure.duration.ToTimedelta().total_seconds() >= 3600
        async with asyncio.timeout(60):
            while runtime.running:
                await asyncio.sleep(0.01)


async def test_the_wait_in_line_is_over(admin: Admin, pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """An execution that waits for its turn beyond its queue deadline ends TIMED_OUT without having begun; those behind
    it move up."""
    plan = entities.launch_plan("single")
    plan.spec.annotations.values["wingbeat.dev/overlap"] = "queue"
    await admin.CreateLaunchPlan(plan)
    async with _engine(pool, database_url, tmp_path):
        await admin.CreateExecution(_launch("first", plan="single"))
        await admin.CreateExecution(_launch("late", plan="single", queue_deadline="400ms"))
        await admin.CreateExecution(_launch("patient", plan="single", queue_deadline="1h"))
        found = await _until(admin, "late", Phase.TIMED_OUT)
        assert found.closure.error.code == "QueueDeadlineExceeded"
        assert "did not begin within its queue deadline (0.4 s)" in found.closure.error.message
        assert not found.closure.HasField("started_at")
        await _until(admin, "first", Phase.RUNNING)
        await admin.TerminateExecution(execution_pb2.ExecutionTerminateRequest(id=execution_id("first")))
        await _until(admin, "patient", Phase.RUNNING)


async def test_nobody_was_there_to_begin_it(
    admin: Admin, pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """The queue deadline also holds for an execution that waits for an engine."""
    await admin.CreateExecution(_launch("alone", queue_deadline="1h"))
    await pool.execute("UPDATE executions SET begin_by = now()")
    async with _engine(pool, database_url, tmp_path):
        found = await _until(admin, "alone", Phase.TIMED_OUT)
        assert not found.closure.HasField("started_at")
