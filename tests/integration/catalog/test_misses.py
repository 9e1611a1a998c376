"""Why calls miss and evictions, over gRPC and rows of executions."""

from collections.abc import AsyncIterator

import asyncpg
import grpc
import pytest
from flyteidl.admin import task_pb2
from flyteidl.core import catalog_pb2, interface_pb2, tasks_pb2
from flyteidl.event import event_pb2
from tests.integration.catalog.conftest import SOURCE, ask, entry, integer, task, text, values
from tests.integration.engine.harness import chain, launch, register

from wingbeat_catalog.cache import PostgresCache
from wingbeat_catalog.options import CatalogOptions
from wingbeat_controlplane.roles.catalog import catalog_services
from wingbeat_controlplane.services.rpcs import rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.ports.cache import CacheHit, CacheMiss, CachePutDone
from wingbeatidl.cache.v1 import cache_pb2, cache_pb2_grpc

PROJECT, DOMAIN = "flytesnacks", "development"
EXECUTION = cache_pb2.ExecutionName(project=PROJECT, domain=DOMAIN, name="mine")


@pytest.fixture
async def client(
    catalog_pool: asyncpg.Pool, pool: asyncpg.Pool, blobs: FolderBlobs
) -> AsyncIterator[cache_pb2_grpc.CacheServiceStub]:
    """A client of our own CacheService."""
    service, servicer = catalog_services(catalog_pool, pool, blobs, CatalogOptions())[-1]
    server = GrpcServer(rpcs_of(service, servicer), GrpcOptions())
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield cache_pb2_grpc.CacheServiceStub(channel)
    finally:
        await server.stop(0)


def _cached(version: str = "1", *, task_version: str = "7", name: str = "t") -> CachedTask:
    """As `task` in the project that there is."""
    own = task(name, version=version, task_version=task_version)
    return CachedTask(PROJECT, DOMAIN, name, task_version, version, own.interface)


async def _register_task(pool: asyncpg.Pool, cached: CachedTask, *, discoverable: bool = True) -> None:
    template = tasks_pb2.TaskTemplate(
        metadata=tasks_pb2.TaskMetadata(discoverable=discoverable, discovery_version=cached.cache_version),
        interface=interface_pb2.TypedInterface.FromString(cached.interface),
    )
    template.id.project, template.id.domain = cached.project, cached.domain
    template.id.name, template.id.version = cached.name, cached.version
    closure = task_pb2.TaskClosure(compiled_task={"template": template})
    await pool.execute(
        "INSERT INTO tasks (project, domain, name, version, digest, type, closure) VALUES ($1, $2, $3, $4, '', '', $5)",
        cached.project,
        cached.domain,
        cached.name,
        cached.version,
        closure.SerializeToString(),
    )


async def _run_node(
    pool: asyncpg.Pool, cached: CachedTask, inputs: bytes, catalog: bytes, *, node: str = "n0", status: int = 1
) -> None:
    """Rows of a node that has ended, as the engine writes them."""
    execution = await pool.fetchval("SELECT id FROM executions WHERE name = 'mine'")
    event = event_pb2.NodeExecutionEvent()
    event.task_node_metadata.catalog_key.ParseFromString(catalog)
    await pool.execute(
        "INSERT INTO node_executions (execution_id, node_id, seq, spec_node_id, kind, phase, cache_status, created_at,"
        " ended_at, updated_at, inputs, details) VALUES ($1, $2, 0, $2, $6, 3, $3, now(), now(), now(), $4, $5)",
        execution,
        node,
        status,
        inputs,
        event.SerializeToString(),
        NodeKind.TASK,
    )
    await pool.execute(
        "INSERT INTO task_executions (execution_id, node_id, attempt, task_project, task_domain, task_name,"
        " task_version, task_type, name, phase, created_at, updated_at)"
        " VALUES ($1, $2, 0, $3, $4, $5, $6, '', '', 3, now(), now())",
        execution,
        node,
        cached.project,
        cached.domain,
        cached.name,
        cached.version,
    )


@pytest.fixture
async def mine(pool: asyncpg.Pool) -> None:
    """An execution without nodes so far."""
    await launch(pool, await register(pool, chain("chain", 1)), ["mine"])


async def _explain(
    client: cache_pb2_grpc.CacheServiceStub, node: str = "n0", limit: int = 0
) -> cache_pb2.ExplainMissResponse:
    call = cache_pb2.NodeCall(execution=EXECUTION, node_id=node)
    return await client.ExplainMiss(cache_pb2.ExplainMissRequest(node=call, limit=limit))


@pytest.mark.usefixtures("mine")
async def test_the_nearest_entries_and_what_differs(
    client: cache_pb2_grpc.CacheServiceStub, cache: PostgresCache, pool: asyncpg.Pool
) -> None:
    """Another input, another version, and both: nearest first, each in a sentence; the node's own entry is left out."""
    new, old = _cached("2"), _cached("1")
    await _register_task(pool, new)
    call = ask(new, a=integer(3))
    (miss,) = await cache.look_up([call])
    assert isinstance(miss, CacheMiss)
    await _run_node(pool, new, call.inputs, miss.catalog)
    answer = await _explain(client)
    assert "no other entry of task t" in answer.sentence
    assert not answer.neighbours
    await cache.put(
        [
            entry(ask(old, a=integer(4)), "x", source=SOURCE._replace(execution="both")),
            entry(ask(old, a=integer(3)), "x", source=SOURCE._replace(execution="older")),
            entry(ask(new, a=integer(5)), "x", source=SOURCE._replace(execution="other")),
            entry(call, "x", source=SOURCE._replace(project=PROJECT, domain=DOMAIN, execution="mine")),
        ]
    )
    await pool.execute("UPDATE cache_artifacts SET updated_at = '2030-01-02' WHERE source_execution = 'older'")
    answer = await _explain(client)
    assert [near.execution.name for near in answer.neighbours] == ["older", "other", "both"]
    assert answer.sentence == (
        "There is no entry with this key. The nearest one, put by older n0 at 2030-01-02 00:00:00 UTC, version 7 of the"
        " task: its cache version is '1', and the task's '2'."
    )
    assert answer.cache_status == catalog_pb2.CACHE_MISS
    assert (answer.key.dataset, answer.key.tag) == ("flyte_task-t", answer.key.canonical_tag)
    other = answer.neighbours[1].differences[0]
    assert (other.kind, other.variable, other.asked, other.kept) == (cache_pb2.DIFFERENCE_KIND_INPUT, "a", "3", "5")
    assert len(answer.neighbours[2].differences) == 2
    assert answer.compared == 4
    assert len((await _explain(client, limit=1)).neighbours) == 1
    await cache.put([entry(call, "x", overwrite=True, source=SOURCE._replace(execution="another"))])
    answer = await _explain(client)
    assert answer.sentence.startswith("There is an entry with this key now, put by another n0")
    assert answer.sentence.endswith("after the node had asked.")


async def test_a_call_that_was_not_made(
    client: cache_pb2_grpc.CacheServiceStub, cache: PostgresCache, pool: asyncpg.Pool
) -> None:
    """Any registered task with any inputs; the newest version unless one is named; tasks that are not cached say so."""
    cached = _cached()
    await _register_task(pool, cached)
    await _register_task(pool, _cached(name="plain"), discoverable=False)
    await cache.put([entry(ask(cached, a=integer(3)), "x")])

    async def asked(name: str = "t", version: str = "", inputs: bytes = values(a=integer(3))) -> str:
        call = cache_pb2.TaskCall(project=PROJECT, domain=DOMAIN, name=name, version=version, inputs=inputs)
        return (await client.ExplainMiss(cache_pb2.ExplainMissRequest(task=call))).sentence

    assert (await asked()).startswith("It would be a hit: the entry put by exec n0")
    assert "input a was 3 when it was made, and is 4 here" in await asked(version="7", inputs=values(a=integer(4)))
    assert 'input a was 3 when it was made, and is "x" here' in await asked(inputs=values(a=text("x")))
    assert "not cached" in await asked("plain")
    for call, code in (
        (asked("unknown"), grpc.StatusCode.NOT_FOUND),
        (asked(version="8"), grpc.StatusCode.NOT_FOUND),
        (asked(inputs=b"\xff"), grpc.StatusCode.INVALID_ARGUMENT),
        (asked(""), grpc.StatusCode.INVALID_ARGUMENT),
        (client.ExplainMiss(cache_pb2.ExplainMissRequest()), grpc.StatusCode.INVALID_ARGUMENT),
        (_explain(client, limit=51), grpc.StatusCode.INVALID_ARGUMENT),
        (_explain(client), grpc.StatusCode.NOT_FOUND),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is code, caught.value.details()


@pytest.mark.usefixtures("mine")
async def test_evicting_an_execution(
    client: cache_pb2_grpc.CacheServiceStub, cache: PostgresCache, pool: asyncpg.Pool
) -> None:
    """What it has put and what its nodes were given is gone and marked, elements too; repeating it does nothing."""
    cached = _cached()
    calls = [ask(cached, a=integer(number)) for number in range(5)]
    own = SOURCE._replace(project=PROJECT, domain=DOMAIN, execution="mine")
    outcomes = await cache.put(
        [
            entry(calls[0], "x", source=own),
            entry(calls[1], "x"),
            entry(calls[2], "x"),
            entry(calls[3], "x", source=own._replace(node_id="n2", element=1)),
            entry(calls[4], "x", source=own._replace(domain="staging")),
        ]
    )
    catalogs = [outcome.catalog for outcome in outcomes if isinstance(outcome, CachePutDone)]
    await _run_node(pool, cached, calls[0].inputs, catalogs[0], status=catalog_pb2.CACHE_POPULATED)
    await _run_node(pool, cached, calls[1].inputs, catalogs[1], node="n1", status=catalog_pb2.CACHE_HIT)
    execution = await pool.fetchval("SELECT id FROM executions WHERE name = 'mine'")
    await pool.execute(
        "INSERT INTO array_elements (execution_id, node_id, element, attempt, phase, system_failures, cache_status,"
        " queued_at, ended_at) SELECT $1, 'n2', number, 0, 3, 0, 3, now(), now() FROM generate_series(0, 1) AS number",
        execution,
    )
    evicted = await client.EvictNode(cache_pb2.EvictNodeRequest(execution=EXECUTION, node_id="n1"))
    assert (evicted.entries, evicted.marked) == (1, 1)
    assert [type(answer) for answer in await cache.look_up(calls[:3])] == [CacheHit, CacheMiss, CacheHit]
    everything = await client.EvictExecution(cache_pb2.EvictExecutionRequest(execution=EXECUTION))
    assert (everything.entries, everything.marked) == (2, 2)
    assert [isinstance(answer, CacheHit) for answer in await cache.look_up(calls)] == [False, False, True, False, True]
    rows = await pool.fetch("SELECT node_id, cache_status FROM node_executions ORDER BY node_id")
    assert [(row["node_id"], row["cache_status"]) for row in rows] == [
        ("n0", catalog_pb2.CACHE_EVICTED),
        ("n1", catalog_pb2.CACHE_EVICTED),
    ]
    elements = await pool.fetch("SELECT cache_status FROM array_elements ORDER BY element")
    assert [row["cache_status"] for row in elements] == [catalog_pb2.CACHE_POPULATED, catalog_pb2.CACHE_EVICTED]
    again = await client.EvictExecution(cache_pb2.EvictExecutionRequest(execution=EXECUTION))
    assert (again.entries, again.marked) == (0, 0)


@pytest.mark.usefixtures("mine")
async def test_evictions_of_what_is_not_there(client: cache_pb2_grpc.CacheServiceStub) -> None:
    """An unknown execution or node is NOT_FOUND, one that is not named INVALID_ARGUMENT."""
    unknown = cache_pb2.ExecutionName(project=PROJECT, domain=DOMAIN, name="unknown")
    for call, code in (
        (client.EvictExecution(cache_pb2.EvictExecutionRequest(execution=unknown)), grpc.StatusCode.NOT_FOUND),
        (client.EvictExecution(cache_pb2.EvictExecutionRequest()), grpc.StatusCode.INVALID_ARGUMENT),
        (
            client.EvictNode(cache_pb2.EvictNodeRequest(execution=EXECUTION, node_id="n7")),
            grpc.StatusCode.NOT_FOUND,
        ),
        (client.EvictNode(cache_pb2.EvictNodeRequest(execution=EXECUTION)), grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is code
