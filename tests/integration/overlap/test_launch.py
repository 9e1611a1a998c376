"""What a launch does under an overlap policy, before any engine is there, and what comes of it when one is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import grpc
import pytest
from flyteidl.admin import common_pb2, execution_pb2, launch_plan_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.engine.harness import engine
from tests.integration.executions import entities
from tests.integration.executions.entities import execution_id, launch
from tests.integration.overlap.engine_process import EchoPlugin, SlowRuntime

from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_propeller.core.phases import ExecutionPhase

Admin = admin_pb2_grpc.AdminServiceStub
Phase = core_execution_pb2.WorkflowExecution
QUEUE_MAX = 3


@pytest.fixture
def options() -> ExecutionOptions:
    """A short line."""
    return ExecutionOptions(queue_max=QUEUE_MAX)


async def _register(admin: Admin, version: str = "v1", **annotations: str) -> None:
    plan = entities.launch_plan("limited", version)
    plan.spec.annotations.values.update(
        {f"wingbeat.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    )
    await admin.CreateLaunchPlan(plan)


def _launch(name: str, version: str = "v1", count: int = -1) -> execution_pb2.ExecutionCreateRequest:
    """One that runs for ever unless `count` milliseconds are given."""
    request = launch(name, plan="limited", text="x", count=count)
    request.spec.launch_plan.version = version
    return request


async def _get(admin: Admin, name: str) -> execution_pb2.Execution:
    return await admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id(name)))


async def _until(admin: Admin, name: str, phase: int) -> execution_pb2.Execution:
    async with asyncio.timeout(60):
        while (found := await _get(admin, name)).closure.phase != phase:
            await asyncio.sleep(0.01)
    return found


async def _refused(admin: Admin, request: execution_pb2.ExecutionCreateRequest) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.CreateExecution(request)
    return caught.value.code(), caught.value.details() or ""


async def _places(pool: asyncpg.Pool) -> dict[str, tuple[int, bool]]:
    rows = await pool.fetch("SELECT name, phase, waiting FROM executions ORDER BY id")
    return {row["name"]: (row["phase"], row["waiting"]) for row in rows}


@asynccontextmanager
async def _engine(pool: asyncpg.Pool, database_url: str, folder: Path) -> AsyncIterator[None]:
    async with engine(pool, database_url, folder / "blobs", SlowRuntime(), plugin=EchoPlugin()):
        yield


@pytest.mark.parametrize("key", ["overlap", "concurrency_max", "deadline", "queue_deadline", "else"])
async def test_mistakes_are_refused_at_registration(admin: Admin, pool: asyncpg.Pool, key: str) -> None:
    """Values that cannot be read and keys that do not exist are INVALID_ARGUMENT, named, and nothing is stored."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _register(admin, **{key: "sometimes"})
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"wingbeat.dev/{key.replace('_', '-')}" in (caught.value.details() or "")
    assert await pool.fetchval("SELECT count(*) FROM launch_plans WHERE name = 'limited'") == 0


async def test_queued_executions_are_shown_and_woken_in_order(
    admin: Admin, pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """What waits is QUEUED for every reader, from the log on; it begins once another one has ended, in the order of
    launch."""
    await _register(admin, overlap="queue", concurrency_max="2")
    for number in range(5):
        await admin.CreateExecution(_launch(f"e{number}"))
    running, queued = (ExecutionPhase.UNDEFINED, False), (ExecutionPhase.QUEUED, True)
    assert await _places(pool) == {"e0": running, "e1": running, "e2": queued, "e3": queued, "e4": queued}
    assert (await _get(admin, "e4")).closure.phase == Phase.QUEUED
    assert await pool.fetchval("SELECT count(*) FROM transitions WHERE phase = 1 AND node_id IS NULL") == 3
    scope = common_pb2.NamedEntityIdentifier(project=entities.PROJECT, domain=entities.DOMAIN)
    asked = common_pb2.ResourceListRequest(id=scope, limit=10, filters="value_in(phase,QUEUED)")
    assert len((await admin.ListExecutions(asked)).executions) == 3
    async with _engine(pool, database_url, tmp_path):
        for name, following in (("e1", "e2"), ("e0", "e3"), ("e3", "e4")):
            await _until(admin, name, Phase.RUNNING)
            await admin.TerminateExecution(execution_pb2.ExecutionTerminateRequest(id=execution_id(name)))
            found = await _until(admin, following, Phase.RUNNING)
            assert (
                found.closure.started_at.ToDatetime()
                >= (await _until(admin, name, Phase.ABORTED)).closure.updated_at.ToDatetime()
            )


async def test_versions_share_a_line(admin: Admin, pool: asyncpg.Pool) -> None:
    """A version with more room does not overtake one with less, and one without a policy is alive and goes its way."""
    await _register(admin, "v1", overlap="queue")
    await _register(admin, "v2", overlap="queue", concurrency_max="3")
    await _register(admin, "v3")
    await _register(admin, "v4", overlap="skip", concurrency_max="3")
    await admin.CreateExecution(_launch("e0", "v3"))
    await admin.CreateExecution(_launch("e1", "v1"))
    await admin.CreateExecution(_launch("e2", "v2"))
    await admin.CreateExecution(_launch("e3", "v3"))
    code, details = await _refused(admin, _launch("e4", "v4"))
    assert code is grpc.StatusCode.ALREADY_EXISTS
    assert "concurrency limit (3) reached for launch plan limited" in details
    waits = {name: waiting for name, (_, waiting) in (await _places(pool)).items()}
    assert waits == {"e0": False, "e1": True, "e2": True, "e3": False}
    admit = "SELECT admit_executions('flytesnacks', 'development', 'limited')"
    assert await pool.fetchval(admit) == 0
    await pool.execute("UPDATE executions SET phase = 4, ended_at = now() WHERE name IN ('e0', 'e3')")
    assert await pool.fetchval(admit) == 2
    assert not any(waiting for _, waiting in (await _places(pool)).values())


async def test_a_full_line_refuses(admin: Admin, pool: asyncpg.Pool) -> None:
    """As many as the setting allows wait; the next is RESOURCE_EXHAUSTED with a sentence, and nothing is stored."""
    await _register(admin, overlap="queue")
    answers = await asyncio.gather(
        *(admin.CreateExecution(_launch(f"e{number}")) for number in range(8)), return_exceptions=True
    )
    errors = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert {error.code() for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(errors) == 8 - QUEUE_MAX - 1
    assert f"{QUEUE_MAX} executions of launch plan limited wait already" in (errors[0].details() or "")
    assert sorted((await _places(pool)).values()) == [(0, False), *[(1, True)] * QUEUE_MAX]


async def test_a_queued_execution_is_terminated(
    admin: Admin, pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """It ends ABORTED without having begun, with its cause, and the others of its line move up."""
    await _register(admin, overlap="queue")
    for number in range(3):
        await admin.CreateExecution(_launch(f"e{number}"))
    async with _engine(pool, database_url, tmp_path):
        await _until(admin, "e0", Phase.RUNNING)
        await admin.TerminateExecution(execution_pb2.ExecutionTerminateRequest(id=execution_id("e1"), cause="no need"))
        found = await _until(admin, "e1", Phase.ABORTED)
        assert found.closure.abort_metadata.cause == "no need"
        assert not found.closure.HasField("started_at")
        await admin.TerminateExecution(execution_pb2.ExecutionTerminateRequest(id=execution_id("e0")))
        await _until(admin, "e2", Phase.RUNNING)
    assert (
        await pool.fetchval(
            "SELECT count(*) FROM node_executions JOIN executions ON id = execution_id WHERE name = 'e1'"
        )
        == 0
    )


async def test_the_newest_replaces(admin: Admin, pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """The oldest is aborted with a cause that names the new one, which begins once it has ended; one that still waits
    is replaced as well."""
    await _register(admin, overlap="replace")
    await admin.CreateExecution(_launch("e0"))
    await admin.CreateExecution(_launch("e1"))
    await admin.CreateExecution(_launch("e2"))
    assert {name: phase for name, (phase, _) in (await _places(pool)).items()} == {
        "e0": ExecutionPhase.ABORTING,
        "e1": ExecutionPhase.ABORTING,
        "e2": ExecutionPhase.QUEUED,
    }
    found = await _get(admin, "e0")
    label = f"{entities.PROJECT}:{entities.DOMAIN}:e1"
    assert found.closure.abort_metadata.cause == f"replaced by execution [{label}] of launch plan limited"
    async with _engine(pool, database_url, tmp_path):
        found = await _until(admin, "e2", Phase.RUNNING)
        for name in ("e0", "e1"):
            assert (await _get(admin, name)).closure.phase == Phase.ABORTED
        await admin.CreateExecution(_launch("e3", count=1))
        found = await _until(admin, "e3", Phase.SUCCEEDED)
        replaced = await _until(admin, "e2", Phase.ABORTED)
        assert replaced.closure.updated_at.ToDatetime() <= found.closure.started_at.ToDatetime()


async def test_a_replacement_waits_for_those_it_replaces(admin: Admin, pool: asyncpg.Pool) -> None:
    """Room that another execution leaves is not enough: what it replaces must have ended."""
    await _register(admin, overlap="replace", concurrency_max="2")
    for number in range(3):
        await admin.CreateExecution(_launch(f"e{number}"))
    admit = "SELECT admit_executions('flytesnacks', 'development', 'limited')"
    await pool.execute("UPDATE executions SET phase = 4, ended_at = now() WHERE name = 'e1'")
    assert await pool.fetchval(admit) == 0
    await pool.execute("UPDATE executions SET phase = 7, ended_at = now() WHERE name = 'e0'")
    assert await pool.fetchval(admit) == 1


async def test_relaunch_obeys(admin: Admin, pool: asyncpg.Pool) -> None:
    """A relaunch stands in line like every other launch."""
    await _register(admin, overlap="queue")
    await admin.CreateExecution(_launch("e0"))
    await admin.RelaunchExecution(execution_pb2.ExecutionRelaunchRequest(id=execution_id("e0"), name="again"))
    assert (await _places(pool))["again"] == (ExecutionPhase.QUEUED, True)


async def test_policies_of_flyteidl_still_skip(admin: Admin) -> None:
    """Without annotations the policy of FlyteIDL means what it means in Flyte."""
    plan = entities.launch_plan("limited")
    plan.spec.concurrency_policy.max = 1
    plan.spec.concurrency_policy.behavior = launch_plan_pb2.CONCURRENCY_LIMIT_BEHAVIOR_SKIP
    await admin.CreateLaunchPlan(plan)
    await admin.CreateExecution(_launch("e0"))
    assert (await _refused(admin, _launch("e1")))[0] is grpc.StatusCode.ALREADY_EXISTS
