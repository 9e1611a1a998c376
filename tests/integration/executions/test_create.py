"""CreateExecution over real rpcs and a real database."""

import asyncio
import itertools

import asyncpg
import grpc
import pytest
from flyteidl.admin import common_pb2, execution_pb2, launch_plan_pb2, matchable_resource_pb2, project_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.executions import entities
from tests.integration.executions.attributes import attributes
from tests.integration.executions.conftest import CLIENT_OPTIONS
from tests.integration.executions.entities import DOMAIN, PROJECT, EngineRows, launch, literals

from wingbeat_controlplane.executions.parts import Executions
from wingbeat_controlplane.registry.attributes import Level
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.registry import open_registry
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.ids import shard_of

Admin = admin_pb2_grpc.AdminServiceStub


async def _refused(admin: Admin, request: execution_pb2.ExecutionCreateRequest) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.CreateExecution(request)
    return caught.value.code(), caught.value.details() or ""


async def _count(pool: asyncpg.Pool) -> int:
    return await pool.fetchval("SELECT count(*) FROM executions")


async def test_what_was_asked_for_is_shown(admin: Admin) -> None:
    """GetExecution returns the spec as sent, but for the fields that the server decides."""
    request = launch()
    request.spec.tags.append("nightly")
    request.spec.labels.values["team"] = "a"
    request.spec.envs.values.add(key="K", value="V")
    created = await admin.CreateExecution(request)
    assert created.id.name.startswith("a")
    assert len(created.id.name) == 20
    found = await admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=created.id))
    assert found.id == created.id
    assert found.spec.launch_plan == request.spec.launch_plan
    assert found.spec.metadata.principal == ""
    assert found.spec.metadata.system_metadata.namespace == f"{PROJECT}-{DOMAIN}"
    assert found.spec.security_context.HasField("run_as")
    assert found.spec.max_parallelism == 25
    assert list(found.spec.tags) == ["nightly"]
    assert dict(found.spec.labels.values) == {"team": "a"}
    assert found.spec.envs == request.spec.envs
    assert not found.spec.HasField("inputs")
    assert found.closure.phase == 0
    assert found.closure.workflow_id == entities.identifier(identifier_pb2.WORKFLOW, "w")
    assert found.closure.created_at == found.closure.updated_at


async def test_row_for_the_engine(admin: Admin, pool: asyncpg.Pool, listener: asyncpg.Connection) -> None:
    """The row holds the shard, effective settings, all inputs and what the caller gave; the shard's engine is told of
    it by shard and row id."""
    woken: asyncio.Queue[str] = asyncio.Queue()
    await listener.add_listener("wingbeat_new", lambda *event: woken.put_nowait(event[3]))
    await admin.CreateExecution(launch("e1"))
    shard = shard_of(PROJECT, DOMAIN, "e1")
    told = await woken.get()
    row = await pool.fetchrow("SELECT * FROM executions")
    assert row is not None
    assert told == f"{shard}:{row['id']}"
    assert (row["shard"], row["phase"], row["launch_entity"]) == (shard, 0, "launch_plan")
    assert literals_pb2.LiteralMap.FromString(row["inputs"]) == literals(text="hi", count=3)
    assert literals_pb2.LiteralMap.FromString(row["user_inputs"]) == literals(text="hi")
    config = matchable_resource_pb2.WorkflowExecutionConfig.FromString(row["config"])
    assert config.max_parallelism == 25


async def test_project_labels_reach_the_engine(admin: Admin, pool: asyncpg.Pool) -> None:
    """Labels of the project fill what the request leaves open; the shown spec keeps what was asked for."""
    project = project_pb2.Project(id="labelled", name="l", labels=common_pb2.Labels(values={"cost": "7"}))
    await admin.RegisterProject(project_pb2.ProjectRegisterRequest(project=project))
    request = launch("e1")
    request.project = "labelled"
    created = await admin.CreateExecution(request)
    config = matchable_resource_pb2.WorkflowExecutionConfig.FromString(
        await pool.fetchval("SELECT config FROM executions")
    )
    assert dict(config.labels.values) == {"cost": "7"}
    found = await admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=created.id))
    assert not found.spec.labels.values


async def test_changes_hold_for_the_next_launch_of_every_process(admin: Admin, pool: asyncpg.Pool) -> None:
    """Whatever a server remembers of launches before: attributes, labels and the state of a project hold at once when
    another process changes them."""
    elsewhere = open_registry(pool, RegistryOptions())
    level = Level(PROJECT, DOMAIN)
    kind = matchable_resource_pb2.WORKFLOW_EXECUTION_CONFIG
    numbers = itertools.count()

    async def launched() -> matchable_resource_pb2.WorkflowExecutionConfig:
        name = f"e{next(numbers)}"
        await admin.CreateExecution(launch(name))
        stored = await pool.fetchval("SELECT config FROM executions WHERE name = $1", name)
        return matchable_resource_pb2.WorkflowExecutionConfig.FromString(stored)

    first = await launched()
    assert await launched() == first
    await elsewhere.attributes.update(level, attributes(workflow_execution_config={"max_parallelism": 3}))
    assert (await launched()).max_parallelism == 3
    await elsewhere.attributes.delete(level, kind)
    assert await launched() == first
    labels = common_pb2.Labels(values={"team": "a"})
    await elsewhere.projects.update(project_pb2.Project(id=PROJECT, labels=labels))
    assert dict((await launched()).labels.values) == {"team": "a"}
    await elsewhere.projects.update(project_pb2.Project(id=PROJECT, state=project_pb2.Project.ARCHIVED))
    code, text = await _refused(admin, launch("late"))
    assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, f"project [{PROJECT}] is not active")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"text": "x", "z": 1}, "invalid input z"),
        ({"count": 1}, "expected_inputs text missing"),
        ({"text": 1}, "invalid text input wrong type"),
    ],
)
async def test_wrong_inputs(admin: Admin, pool: asyncpg.Pool, values: dict[str, int | str], sentence: str) -> None:
    """Inputs that the launch plan does not expect are INVALID_ARGUMENT, and nothing is written."""
    code, details = await _refused(admin, launch(**values))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in details
    assert await _count(pool) == 0


async def test_fixed_inputs_cannot_be_overridden(admin: Admin) -> None:
    """What a launch plan fixes is added by the server and refused from callers."""
    plan = entities.launch_plan("fixed")
    plan.spec.default_inputs.Clear()
    plan.spec.fixed_inputs.CopyFrom(literals(count=9))
    await admin.CreateLaunchPlan(plan)
    code, details = await _refused(admin, launch(plan="fixed", text="x", count=1))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "count" in details
    created = await admin.CreateExecution(launch(plan="fixed", text="x"))
    data = await admin.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=created.id))
    assert data.full_inputs == literals(text="x", count=9)


async def test_literal_without_a_value(admin: Admin) -> None:
    """A literal that holds nothing is refused."""
    request = launch()
    request.inputs.literals["text"].Clear()
    code, _ = await _refused(admin, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_unknown_things(admin: Admin, pool: asyncpg.Pool) -> None:
    """An unknown launch plan or task is NOT_FOUND; an unknown or archived project and an unknown domain are not."""
    assert (await _refused(admin, launch(plan="other")))[0] is grpc.StatusCode.NOT_FOUND
    request = launch()
    request.spec.launch_plan.resource_type = identifier_pb2.TASK
    request.spec.launch_plan.name = "nothing"
    assert (await _refused(admin, request))[0] is grpc.StatusCode.NOT_FOUND
    request = launch()
    request.project = "nowhere"
    assert (await _refused(admin, request))[0] is grpc.StatusCode.INVALID_ARGUMENT
    request = launch()
    request.domain = "nowhere"
    assert (await _refused(admin, request))[0] is grpc.StatusCode.INVALID_ARGUMENT
    await admin.UpdateProject(project_pb2.Project(id=PROJECT, state=project_pb2.Project.ARCHIVED))
    code, details = await _refused(admin, launch())
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "not active" in details
    assert await _count(pool) == 0


async def test_twenty_of_one_name(admin: Admin, pool: asyncpg.Pool) -> None:
    """Of many creations of one name at once exactly one wins; the others are told that it exists."""
    answers = await asyncio.gather(*(admin.CreateExecution(launch("same")) for _ in range(20)), return_exceptions=True)
    errors = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(errors) == 19
    assert {error.code() for error in errors} == {grpc.StatusCode.ALREADY_EXISTS}
    assert await _count(pool) == 1


async def test_identical_unnamed_calls_at_once(admin: Admin, pool: asyncpg.Pool) -> None:
    """Four identical calls of one channel make one execution, also when one comes later; another request its own."""
    answers = await asyncio.gather(*(admin.CreateExecution(launch()) for _ in range(4)))
    answers.append(await admin.CreateExecution(launch()))
    assert len({answer.id.name for answer in answers}) == 1
    await admin.CreateExecution(launch(text="other"))
    assert await _count(pool) == 2


async def test_other_channels_are_other_callers(admin: Admin, address: str, pool: asyncpg.Pool) -> None:
    """The same request over another connection is another execution."""
    await admin.CreateExecution(launch())
    options = [*CLIENT_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        await Admin(channel).CreateExecution(launch())
    assert await _count(pool) == 2


async def test_failed_calls_are_not_remembered(admin: Admin, pool: asyncpg.Pool) -> None:
    """A call that was refused succeeds when its reason is gone."""
    assert (await _refused(admin, launch(plan="late")))[0] is grpc.StatusCode.NOT_FOUND
    await admin.CreateLaunchPlan(entities.launch_plan("late"))
    await admin.CreateExecution(launch(plan="late"))
    assert await _count(pool) == 1


async def test_a_caller_that_hangs_up(admin: Admin, executions: Executions, pool: asyncpg.Pool) -> None:
    """A call whose client goes away and comes back made one execution."""
    call = admin.CreateExecution(launch())
    call.cancel()
    again = await admin.CreateExecution(launch())
    await executions.launcher.drained()
    assert await pool.fetchval("SELECT name FROM executions") == again.id.name
    assert await _count(pool) == 1


async def test_concurrency_limit_holds_under_parallel_creates(
    admin: Admin, pool: asyncpg.Pool, engine: EngineRows
) -> None:
    """A limit of two over all versions of a name lets two of many through, and another once one has ended."""
    for version in ("v1", "v2"):
        plan = entities.launch_plan("limited", version)
        plan.spec.concurrency_policy.max = 2
        plan.spec.concurrency_policy.behavior = launch_plan_pb2.CONCURRENCY_LIMIT_BEHAVIOR_SKIP
        await admin.CreateLaunchPlan(plan)

    def request(number: int) -> execution_pb2.ExecutionCreateRequest:
        request = launch(f"e{number}", plan="limited")
        request.spec.launch_plan.version = f"v{number % 2 + 1}"
        return request

    answers = await asyncio.gather(
        *(admin.CreateExecution(request(number)) for number in range(12)), return_exceptions=True
    )
    errors = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(errors) == 10
    assert {error.code() for error in errors} == {grpc.StatusCode.ALREADY_EXISTS}
    assert "concurrency limit (2) reached for launch plan limited" in (errors[0].details() or "")
    name = await pool.fetchval("SELECT name FROM executions LIMIT 1")
    await engine.execution(name, phase=4, ended_at=entities.NOON)
    await admin.CreateExecution(request(20))
    assert (await _refused(admin, request(21)))[0] is grpc.StatusCode.ALREADY_EXISTS


async def test_large_inputs_are_blobs(admin: Admin, pool: asyncpg.Pool, blobs: FolderBlobs) -> None:
    """Three megabytes go to the store and come back whole; a taken name leaves the blobs of its owner alone."""
    text = "s" * 3_000_000
    created = await admin.CreateExecution(launch("large", text=text))
    row = await pool.fetchrow("SELECT inputs, inputs_uri, user_inputs, user_inputs_uri FROM executions")
    assert row is not None
    folder = f"{blobs.base}/metadata/admin/{PROJECT}/{DOMAIN}/large"
    assert tuple(row) == (None, f"{folder}/inputs", None, f"{folder}/user_inputs")
    code, _ = await _refused(admin, launch("large", text="t" * 3_000_000))
    assert code is grpc.StatusCode.ALREADY_EXISTS
    data = await admin.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=created.id))
    assert data.full_inputs == literals(text=text, count=3)


async def test_single_task(admin: Admin, pool: asyncpg.Pool) -> None:
    """A task alone runs under a workflow made for it; its type stays visible, and many at once make it once."""

    def request(number: int) -> execution_pb2.ExecutionCreateRequest:
        request = launch(f"e{number}", text="x", count=number)
        request.spec.launch_plan.CopyFrom(entities.identifier(identifier_pb2.TASK, "t"))
        return request

    answers = await asyncio.gather(*(admin.CreateExecution(request(number)) for number in range(5)))
    found = await admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=answers[0].id))
    assert found.spec.launch_plan == entities.identifier(identifier_pb2.TASK, "t")
    assert found.closure.workflow_id.name == ".flytegen.t"
    rows = await pool.fetch("SELECT launch_entity, launch_plan_id, task_id, workflow_id FROM executions")
    assert {row["launch_entity"] for row in rows} == {"task"}
    assert {row["launch_plan_id"] for row in rows} == {None}
    assert len({row["workflow_id"] for row in rows}) == 1
    code, details = await _refused(admin, _without_count(request(9)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected_inputs count missing" in details


def _without_count(request: execution_pb2.ExecutionCreateRequest) -> execution_pb2.ExecutionCreateRequest:
    del request.inputs.literals["count"]
    return request


async def test_children_inherit(admin: Admin, pool: asyncpg.Pool, engine: EngineRows) -> None:
    """An execution made by a node is one deeper, keeps the cluster label, and knows its parent; an absent node is
    NOT_FOUND."""
    parent = launch("parent")
    parent.spec.execution_cluster_label.value = "gpu"
    await admin.CreateExecution(parent)
    child = launch("child")
    child.spec.metadata.parent_node_execution.CopyFrom(entities.node_id("parent"))
    assert (await _refused(admin, child))[0] is grpc.StatusCode.NOT_FOUND
    await engine.node("parent")
    created = await admin.CreateExecution(child)
    found = await admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=created.id))
    assert found.spec.metadata.nesting == 1
    assert found.spec.execution_cluster_label.value == "gpu"
    row = await pool.fetchrow(
        "SELECT parent_execution_id, parent_node_id, source_execution_id, awaited FROM executions WHERE name = 'child'"
    )
    assert row is not None
    key = await engine.key("parent")
    assert tuple(row) == (key, "n0", key, True)


@pytest.mark.parametrize("field", ["tag", "cause"])
async def test_text_that_cannot_be_stored(admin: Admin, field: str) -> None:
    """A NUL character is the caller's mistake, wherever it stands."""
    if field == "tag":
        request = launch()
        request.spec.tags.append("a\0b")
        assert (await _refused(admin, request))[0] is grpc.StatusCode.INVALID_ARGUMENT
    else:
        created = await admin.CreateExecution(launch())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await admin.TerminateExecution(execution_pb2.ExecutionTerminateRequest(id=created.id, cause="a\0b"))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
