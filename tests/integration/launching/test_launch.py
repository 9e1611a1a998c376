"""LaunchService over gRPC and a real Postgres."""

import asyncio

import asyncpg
import grpc
import pytest
from flyteidl.admin import execution_pb2, launch_plan_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from google.rpc import error_details_pb2, status_pb2
from tests.integration.executions import entities
from tests.integration.launching.conftest import TEMPLATE, Client

from wingbeat_controlplane.launching.launch_stream import BUFFERED_BYTES_MAX
from wingbeat_propeller.core.values import INLINE_BYTES_MAX
from wingbeatidl.launch.v1 import item_pb2, launch_pb2
from wingbeatidl.launch.v1.outcome_pb2 import (
    LAUNCH_STATUS_CONFLICT,
    LAUNCH_STATUS_CREATED,
    LAUNCH_STATUS_EXISTING,
    LAUNCH_STATUS_REFUSED,
)


def _item(key: str = "", *, json: str = "", name: str = "", **fields: object) -> item_pb2.LaunchItem:
    inputs = item_pb2.Inputs(json=json) if json else None
    return item_pb2.LaunchItem(idempotency_key=key, inputs=inputs, name=name, **fields)


async def _inputs(pool: asyncpg.Pool, name: str) -> literals_pb2.LiteralMap:
    return literals_pb2.LiteralMap.FromString(
        await pool.fetchval("SELECT inputs FROM executions WHERE name = $1", name)
    )


async def test_an_execution_is_what_create_execution_makes(client: Client, pool: asyncpg.Pool) -> None:
    """Every column of the row is as if AdminService had been called, and so are tags and notification."""
    await client.admin.CreateExecution(entities.launch("single", text="hi"))
    [outcome] = await client.launch(
        [_item(name="bulk")],
        item_pb2.LaunchTemplate(
            target=item_pb2.Target(name="lp", version="v1"),
            inputs=item_pb2.Inputs(literals=entities.literals(text="hi").SerializeToString()),
        ),
    )
    assert (outcome.status, outcome.execution.name) == (LAUNCH_STATUS_CREATED, "bulk")
    single, bulk = (dict(row) for row in await pool.fetch("SELECT * FROM executions ORDER BY id"))
    differing = {"id", "name", "shard", "spec", "created_at", "updated_at"}
    assert {name: single[name] for name in single.keys() - differing} == {
        name: bulk[name] for name in bulk.keys() - differing
    }
    one, other = (execution_pb2.ExecutionSpec.FromString(row["spec"]) for row in (single, bulk))
    one.ClearField("notifications")
    assert one == other


async def test_each_has_its_own_outcome(client: Client, pool: asyncpg.Pool) -> None:
    """Bad items say what is wrong with them, where; their neighbours are launched."""
    nul = execution_pb2.ExecutionSpec(cluster_assignment={"cluster_pool_name": "a\0b"})
    outcomes = await client.launch(
        [
            _item(json='{"count": 5}', labels={"team": "vision"}, priority=7),
            _item(json='{"count": "five"}'),
            _item(json='{"cuont": 5}'),
            _item(json="{"),
            _item(name="No Name"),
            _item(target=item_pb2.Target(name="other", version="v1")),
            _item(target=item_pb2.Target(name="other")),
            _item(labels={"-": "x"}),
            _item(key="k" * 257),
            _item(priority=101),
            _item(project="nowhere"),
            item_pb2.LaunchItem(inputs={"literals": b"\xff"}),
            _item(overrides={"execution_spec": b"\xff"}),
            _item(overrides={"execution_spec": nul.SerializeToString()}),
            _item(labels={"a": "b" * 1_000_000}),
            _item(),
        ]
    )
    assert sum(outcome.ByteSize() for outcome in outcomes) < 10_000  # nobody gets a megabyte back
    assert [outcome.status for outcome in outcomes] == [
        LAUNCH_STATUS_CREATED,
        *[LAUNCH_STATUS_REFUSED] * 14,
        LAUNCH_STATUS_CREATED,
    ]
    invalid, not_found = grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.NOT_FOUND.value[0]
    assert [(one.code, one.violations[0].field) for one in outcomes[1:15]] == [
        (invalid, "inputs.count"),
        (invalid, "inputs.cuont"),
        (invalid, "inputs.json"),
        (invalid, "name"),
        (not_found, "target"),
        (not_found, "target"),
        (invalid, ""),
        (invalid, "idempotency_key"),
        (invalid, "priority"),
        (invalid, ""),
        (invalid, "inputs.literals"),
        (invalid, "overrides.execution_spec"),
        (invalid, ""),
        (invalid, ""),
    ]
    rows = await pool.fetch("SELECT name, priority FROM executions ORDER BY id")
    assert [(row["name"], row["priority"]) for row in rows] == [
        (outcomes[0].execution.name, 7),
        (outcomes[15].execution.name, 0),
    ]
    assert (await _inputs(pool, rows[0]["name"])).literals["count"].scalar.primitive.integer == 5
    assert (await _inputs(pool, rows[1]["name"])).literals["count"].scalar.primitive.integer == 3  # the default
    assert await pool.fetch("SELECT key, value FROM execution_tags") == [("team", "vision")]


async def test_keys(client: Client, pool: asyncpg.Pool) -> None:
    """The same item is launched once, however it is written; another one with the key is a conflict."""
    [first] = await client.launch([_item("k", json='{"count": 5, "text": "hi"}', labels={"a": "1", "b": "2"})])
    assert first.status == LAUNCH_STATUS_CREATED
    again, other, third = await client.launch(
        [
            _item("k", json='{"text":"hi","count":5}', labels={"b": "2", "a": "1"}),
            _item("k", json='{"count": 6}', labels={"a": "1", "b": "2"}),
            _item("other", json='{"count": 5}', labels={"a": "1", "b": "2"}),
        ]
    )
    assert (again.status, again.execution) == (LAUNCH_STATUS_EXISTING, first.execution)
    assert (other.status, other.execution, other.code) == (LAUNCH_STATUS_CONFLICT, first.execution, 6)
    assert third.status == LAUNCH_STATUS_CREATED
    [shared] = await client.launch(
        [_item("k")],
        item_pb2.LaunchTemplate(
            target=item_pb2.Target(name="lp", version="v1", kind="TARGET_KIND_LAUNCH_PLAN", project=entities.PROJECT),
            inputs=item_pb2.Inputs(json='{"count": 5, "text": "hi"}'),
            labels={"b": "2", "a": "1"},
        ),
    )
    assert (shared.status, shared.execution) == (LAUNCH_STATUS_EXISTING, first.execution)
    assert await pool.fetchval("SELECT count(*) FROM executions") == 2


async def test_a_key_belongs_to_a_project_and_domain(client: Client) -> None:
    """The same key elsewhere is another key."""
    target = item_pb2.Target(name="lp", version="v1", project=entities.PROJECT, domain=entities.DOMAIN)
    outcomes = await client.launch(
        [_item("k", target=target), _item("k", target=target, domain="staging"), _item("k", target=target)]
    )
    assert [one.status for one in outcomes] == [LAUNCH_STATUS_CREATED, LAUNCH_STATUS_CREATED, LAUNCH_STATUS_EXISTING]


async def test_keys_within_one_call(client: Client, pool: asyncpg.Pool) -> None:
    """Items of one call do as items of two; a refused item leaves its key free."""
    outcomes = await client.launch(
        [
            _item("a", json='{"count": "x"}'),
            _item("a", json='{"count": 1}'),
            _item("a", json='{"count": 1}'),
            _item("a", json='{"count": 2}'),
            _item("b", name="n"),
            _item("c", name="n"),
        ]
    )
    assert [one.status for one in outcomes] == [
        LAUNCH_STATUS_REFUSED,
        LAUNCH_STATUS_CREATED,
        LAUNCH_STATUS_EXISTING,
        LAUNCH_STATUS_CONFLICT,
        LAUNCH_STATUS_CREATED,
        LAUNCH_STATUS_CONFLICT,
    ]
    assert outcomes[5].violations[0].field == "name"
    [free] = await client.launch([_item("c", name="m")])
    assert free.status == LAUNCH_STATUS_CREATED
    assert await pool.fetchval("SELECT count(*) FROM launch_keys") == 3


async def test_a_taken_name(client: Client, pool: asyncpg.Pool) -> None:
    """It is a conflict with that execution, the key stays free, and the others of the portion are launched."""
    await client.admin.CreateExecution(entities.launch("taken"))
    outcomes = await client.launch([_item("k", name="taken"), _item("l", name="free")])
    assert [(one.status, one.execution.name) for one in outcomes] == [
        (LAUNCH_STATUS_CONFLICT, "taken"),
        (LAUNCH_STATUS_CREATED, "free"),
    ]
    assert await pool.fetchval("SELECT count(*) FROM launch_keys") == 1


async def test_versions(client: Client, pool: asyncpg.Pool) -> None:
    """Fixed, newest and active versions of launch plans, workflows and tasks; a repeated key keeps what it meant."""
    await client.admin.CreateLaunchPlan(entities.launch_plan("w", "v1"))
    await client.admin.CreateLaunchPlan(entities.launch_plan("lp", "v2"))
    await client.admin.UpdateLaunchPlan(
        launch_plan_pb2.LaunchPlanUpdateRequest(
            id=entities.identifier(identifier_pb2.LAUNCH_PLAN, "lp"), state=launch_plan_pb2.ACTIVE
        )
    )
    newest = item_pb2.Target(name="lp")
    active = item_pb2.Target(name="lp", selection=item_pb2.VERSION_SELECTION_ACTIVE)
    workflow = item_pb2.Target(name="w", kind=item_pb2.TARGET_KIND_WORKFLOW)
    task = item_pb2.Target(name="t", kind=item_pb2.TARGET_KIND_TASK)
    outcomes = await client.launch(
        [
            _item("n", target=newest),
            _item(target=active),
            _item(target=workflow),
            _item(target=task, json='{"count": 1}'),
            _item(target=item_pb2.Target(name="w", kind="TARGET_KIND_WORKFLOW", selection="VERSION_SELECTION_ACTIVE")),
            _item(target=item_pb2.Target(name="t", kind="TARGET_KIND_TASK", selection="VERSION_SELECTION_ACTIVE")),
        ]
    )
    assert [one.status for one in outcomes] == [*[LAUNCH_STATUS_CREATED] * 4, *[LAUNCH_STATUS_REFUSED] * 2]
    specs = [
        execution_pb2.ExecutionSpec.FromString(row["spec"]).launch_plan
        for row in await pool.fetch("SELECT spec FROM executions ORDER BY id")
    ]
    assert [(spec.name, spec.version, spec.resource_type) for spec in specs] == [
        ("lp", "v2", identifier_pb2.LAUNCH_PLAN),
        ("lp", "v1", identifier_pb2.LAUNCH_PLAN),
        ("w", "v1", identifier_pb2.LAUNCH_PLAN),
        ("t", "v1", identifier_pb2.TASK),
    ]
    await client.admin.CreateLaunchPlan(entities.launch_plan("lp", "v3"))
    [again] = await client.launch([_item("n", target=newest)])
    assert (again.status, again.execution) == (LAUNCH_STATUS_EXISTING, outcomes[0].execution)


async def test_overrides(client: Client, pool: asyncpg.Pool) -> None:
    """They are settings of the execution; of template and item the item goes first, maps are merged."""
    template = item_pb2.LaunchTemplate()
    template.CopyFrom(TEMPLATE)
    template.priority = 3
    template.overrides.MergeFrom(
        item_pb2.Overrides(max_parallelism=4, envs={"A": "1", "B": "1"}, interruptible=True, tags=["x"])
    )
    spec = execution_pb2.ExecutionSpec(cluster_assignment={"cluster_pool_name": "gpu"}, max_parallelism=9)
    await client.launch(
        [
            _item(
                overrides=item_pb2.Overrides(
                    max_parallelism=5,
                    envs={"B": "2"},
                    interruptible=False,
                    overwrite_cache=True,
                    raw_output_prefix="s3://b",
                    service_account="sa",
                    execution_spec=spec.SerializeToString(),
                ),
                annotations={"who": "me"},
            )
        ],
        template,
    )
    row = await pool.fetchrow("SELECT * FROM executions")
    shown = execution_pb2.ExecutionSpec.FromString(row["spec"])
    assert (row["priority"], row["cluster_pool"]) == (3, "gpu")
    assert (shown.max_parallelism, shown.interruptible.value, shown.overwrite_cache) == (5, False, True)
    assert shown.raw_output_data_config.output_location_prefix == "s3://b"
    assert {env.key: env.value for env in shown.envs.values} == {"A": "1", "B": "2"}
    assert (shown.security_context.run_as.k8s_service_account, list(shown.tags)) == ("sa", ["x"])
    assert dict(shown.annotations.values) == {"who": "me", "wingbeat.dev/priority": "3"}


async def test_large_inputs_and_overlap(client: Client, pool: asyncpg.Pool, blobs: object) -> None:
    """What does not fit the row becomes a blob, and launch plans keep their limits, in bulk as one by one."""
    plan = entities.launch_plan("one-at-a-time")
    plan.spec.annotations.values.update({"wingbeat.dev/overlap": "skip", "wingbeat.dev/concurrency-max": "1"})
    await client.admin.CreateLaunchPlan(plan)
    only = item_pb2.Target(name="one-at-a-time", version="v1")
    outcomes = await client.launch(
        [
            _item("large", json=f'{{"text": "{"x" * (INLINE_BYTES_MAX + 1)}"}}'),
            _item("a", target=only),
            _item("b", target=only),
            _item("a", target=only),
            _item(),
        ]
    )
    created = [one.status for one in outcomes]
    assert created[0] == created[4] == LAUNCH_STATUS_CREATED
    assert sorted(created[1:3]) == [LAUNCH_STATUS_CREATED, LAUNCH_STATUS_REFUSED]
    assert await pool.fetchval("SELECT count(*) FROM executions") == 3
    assert await pool.fetchval("SELECT count(*) FROM executions WHERE inputs_uri IS NOT NULL AND inputs IS NULL") == 1
    assert await pool.fetchval("SELECT count(*) FROM launch_keys") == 2


async def test_concurrent_callers(client: Client, pool: asyncpg.Pool) -> None:
    """Of ten callers who launch the same thousand items, in different orders, each item is created by one."""

    async def one(number: int) -> list[int]:
        items = [_item(f"k{index}", name=f"n{index}" if index % 3 else "") for index in range(1000)]
        items = items[number * 97 :] + items[: number * 97]
        outcomes = await client.launch(items[::-1] if number % 2 else items)
        return [outcome.status for outcome in outcomes]

    answers = await asyncio.gather(*(one(number) for number in range(10)))
    statuses = [status for answer in answers for status in answer]
    assert statuses.count(LAUNCH_STATUS_CREATED) == 1000
    assert statuses.count(LAUNCH_STATUS_EXISTING) == 9000
    assert await pool.fetchval("SELECT count(*) FROM executions") == 1000


async def test_order_is_kept(client: Client, pool: asyncpg.Pool) -> None:
    """Executions whose names the server makes are older the earlier they stand in the call."""
    outcomes = await client.launch([_item(json=f'{{"count": {number}}}') for number in range(1200)])
    rows = await pool.fetch("SELECT name FROM executions ORDER BY id")
    ages = {row["name"]: age for age, row in enumerate(rows)}
    for begin in (0, 500, 1000):
        portion = [ages[one.execution.name] for one in outcomes[begin : begin + 500]]
        assert portion == sorted(portion)


async def test_too_many_items(client: Client, pool: asyncpg.Pool) -> None:
    """100,000 items in one call are refused before anything is launched, by call and by stream."""
    request = launch_pb2.LaunchRequest(
        project=entities.PROJECT, domain=entities.DOMAIN, template=TEMPLATE, items=[_item()] * 100_000
    )
    with pytest.raises(grpc.aio.AioRpcError, match="100000 items are more than the 10000") as raised:
        await client.service.Launch(request)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = status_pb2.Status.FromString(dict(raised.value.trailing_metadata())["grpc-status-details-bin"])
    bad = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(bad)
    assert bad.field_violations[0].field == "items"
    call = client.service.LaunchStream()
    await call.write(launch_pb2.LaunchStreamRequest(items=request.items))
    with pytest.raises(grpc.aio.AioRpcError, match="100000 items"):
        await call.read()
    assert await pool.fetchval("SELECT count(*) FROM executions") == 0


class TestBackPressure:
    """When the engines are behind."""

    @pytest.fixture
    def not_begun_max(self) -> int:
        """A few."""
        return 10

    async def test_calls(self, client: Client, pool: asyncpg.Pool) -> None:
        """RESOURCE_EXHAUSTED with a delay to retry after; nothing was launched."""
        await client.launch([_item()] * 8)
        with pytest.raises(grpc.aio.AioRpcError, match="wait to be begun") as raised:
            await client.launch([_item()] * 3)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = status_pb2.Status.FromString(dict(raised.value.trailing_metadata())["grpc-status-details-bin"])
        retry = error_details_pb2.RetryInfo()
        assert status.details[0].Unpack(retry)
        assert retry.retry_delay.seconds >= 1
        await client.launch([_item()] * 2)
        assert await pool.fetchval("SELECT count(*) FROM executions") == 10

    async def test_streams(self, client: Client, pool: asyncpg.Pool) -> None:
        """A stream is held back, says so, and goes on when the engines have begun what waited."""
        call = client.service.LaunchStream()
        await call.write(
            launch_pb2.LaunchStreamRequest(
                project=entities.PROJECT, domain=entities.DOMAIN, template=TEMPLATE, items=[_item()] * 10
            )
        )
        assert len((await call.read()).outcomes) == 10
        await call.write(launch_pb2.LaunchStreamRequest(items=[_item()] * 5))
        assert (await call.read()).held_back
        await pool.execute("UPDATE executions SET phase = 2")
        answer = await call.read()
        assert (answer.first_item, len(answer.outcomes), answer.held_back) == (10, 5, False)
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK

    async def test_one_by_one(self, client: Client, pool: asyncpg.Pool) -> None:
        """CreateExecution goes on for long, as those who call it do not wait, and then says when to come again."""
        for number in range(100):
            await client.admin.CreateExecution(entities.launch(f"e{number}"))
        with pytest.raises(grpc.aio.AioRpcError, match="10 times the setting") as raised:
            await client.admin.CreateExecution(entities.launch("more"))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = status_pb2.Status.FromString(dict(raised.value.trailing_metadata())["grpc-status-details-bin"])
        retry = error_details_pb2.RetryInfo()
        assert status.details[0].Unpack(retry)
        assert retry.retry_delay.seconds >= 1
        assert await pool.fetchval("SELECT count(*) FROM executions") == 100

    async def test_large_items(self, client: Client, pool: asyncpg.Pool) -> None:
        """A stream that is held back reads ahead by so many bytes, not only by so many items."""
        call = client.service.LaunchStream()
        await call.write(
            launch_pb2.LaunchStreamRequest(
                project=entities.PROJECT, domain=entities.DOMAIN, template=TEMPLATE, items=[_item()] * 10
            )
        )
        assert len((await call.read()).outcomes) == 10
        text = "x" * (4 << 20)
        large = launch_pb2.LaunchStreamRequest(items=[_item(json=f'{{"text": "{text}"}}')])
        sent = 0
        while sent < 60:
            writing = asyncio.create_task(call.write(large))
            if not (await asyncio.wait({writing}, timeout=3))[0]:
                break  # the transport takes no more
            sent += 1
        assert sent * large.ByteSize() < BUFFERED_BYTES_MAX + (64 << 20)
        call.cancel()


async def test_a_stream(client: Client, pool: asyncpg.Pool) -> None:
    """Acknowledgements come in order, over all messages; defaults hold until they are replaced."""
    call = client.service.LaunchStream()
    seen: list[int] = []
    statuses: list[int] = []

    async def write() -> None:
        await call.write(
            launch_pb2.LaunchStreamRequest(project=entities.PROJECT, domain=entities.DOMAIN, template=TEMPLATE)
        )
        for number in range(300):
            await call.write(launch_pb2.LaunchStreamRequest(items=[_item(f"k{number}")]))
        await call.write(launch_pb2.LaunchStreamRequest(items=[_item(f"k{number}") for number in range(3000)]))
        await call.write(launch_pb2.LaunchStreamRequest(project="nowhere", items=[_item()]))
        await call.done_writing()

    writing = asyncio.create_task(write())
    async for answer in call:
        seen += range(answer.first_item, answer.first_item + len(answer.outcomes))
        statuses += [outcome.status for outcome in answer.outcomes]
    await writing
    assert seen == list(range(3301))
    assert statuses == [
        *[LAUNCH_STATUS_CREATED] * 300,
        *[LAUNCH_STATUS_EXISTING] * 300,
        *[LAUNCH_STATUS_CREATED] * 2700,
        LAUNCH_STATUS_REFUSED,
    ]
    assert await pool.fetchval("SELECT count(*) FROM executions") == 3000


async def test_a_client_that_never_reads(client: Client, pool: asyncpg.Pool) -> None:
    """It is held up by the transport; the server neither buffers nor launches without end."""
    call = client.service.LaunchStream()
    items = [_item(labels={"pad": "x" * 60}, name="n" * 60 + str(number % 7)) for number in range(1000)]
    await call.write(
        launch_pb2.LaunchStreamRequest(project=entities.PROJECT, domain=entities.DOMAIN, template=TEMPLATE)
    )
    sent = 0
    while sent < 200:
        writing = asyncio.create_task(call.write(launch_pb2.LaunchStreamRequest(items=items)))
        if not (await asyncio.wait({writing}, timeout=1))[0]:
            break  # the transport takes no more
        sent += 1
    assert sent < 200
    call.cancel()
