"""Why a node is not running, asked of real engines over a real Postgres, and of the rows when there is none."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC
from functools import partial
from pathlib import Path

import asyncpg
import grpc
import pytest
from tests.integration.engine import harness
from tests.integration.engine.harness import launch, register, wait_ended
from tests.integration.query.workshop import Workshop, WorkshopPlugin, dag

from wingbeat_controlplane.executions.why.owners import Owners
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.registry import open_registry
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeatidl.query.v1 import identity_pb2, query_pb2_grpc, why_pb2

Stub = query_pb2_grpc.QueryServiceStub
engine = partial(harness.engine, plugin=WorkshopPlugin())
DIAMOND = (("a", "b", "c", "d"), (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")))


def _question(execution: str = "e1", node: str = "", limit: int = 0) -> why_pb2.WhyRequest:
    name = identity_pb2.ExecutionIdentifier(project="flytesnacks", domain="development", name=execution)
    return why_pb2.WhyRequest(execution=name, node=node, limit=limit)


async def _until(
    query: Stub, request: why_pb2.WhyRequest, condition: Callable[[why_pb2.WhyResponse], bool]
) -> why_pb2.WhyResponse:
    """Ask again until the answer is as expected; what the engine has to commit first takes a moment."""
    async with asyncio.timeout(60):
        while True:
            answer = await query.Why(request)
            if condition(answer):
                return answer
            await asyncio.sleep(0.02)


def _stands(standing: int) -> Callable[[why_pb2.WhyResponse], bool]:
    return lambda answer: bool(answer.nodes) and answer.nodes[0].standing == standing


@pytest.fixture
async def diamond(pool: asyncpg.Pool) -> int:
    """A workflow: a, then b and c, then d."""
    return await register(pool, dag("diamond", *DIAMOND))


@pytest.fixture
async def workshop(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> AsyncIterator[Workshop]:
    """The runtime of a running engine."""
    runtime = Workshop()
    async with engine(pool, database_url, tmp_path, runtime, name="first", answer_host="127.0.0.1"):
        await _announced(pool, 1)
        yield runtime


async def _announced(pool: asyncpg.Pool, count: int) -> None:
    """Wait until so many engines have said where they answer, and every shard has an owner."""
    async with asyncio.timeout(60):
        while True:
            engines = await pool.fetchval("SELECT count(*) FROM propellers WHERE address <> ''")
            free = await pool.fetchval("SELECT count(*) FROM shards WHERE term IS NULL")
            if engines == count and not free:
                return
            await asyncio.sleep(0.02)


async def test_down_to_the_root_cause(pool: asyncpg.Pool, query: Stub, diamond: int, workshop: Workshop) -> None:
    """The engine tells the way from a node to what holds it, and follows as the execution goes on."""
    await launch(pool, diamond, ["e1"])
    await workshop.started("e1-a-0")
    answer = await _until(query, _question(node="d"), lambda answer: "has run for" in answer.sentence)
    assert answer.source == why_pb2.SOURCE_ENGINE
    assert answer.engine == "first"
    assert [node.node_id for node in answer.nodes] == ["d", "b", "c", "a"]
    assert answer.nodes[0].sentence == "d (task d) waits: b (task b) and c (task c) have not finished."
    assert answer.nodes[1].sentence == "b (task b) waits: a (task a) has not finished."
    assert answer.nodes[3].sentence.startswith("a (task a) is running: the first attempt has run for ")
    assert list(answer.root_causes) == ["a"]
    assert "At the bottom of it: a (task a) is running" in answer.sentence
    await workshop.ended("e1-a-0")
    await workshop.started("e1-b-0")
    await workshop.started("e1-c-0")
    answer = await _until(query, _question(node="d"), lambda answer: answer.root_cause_count == 2)
    assert [node.node_id for node in answer.nodes] == ["d", "b", "c"]
    ended = (await query.Why(_question(node="a"))).nodes[0]
    assert ended.standing == why_pb2.STANDING_ENDED
    assert ended.reasons[0].HasField("ended")
    assert ended.sentence.startswith("a (task a) has succeeded: it ended at ")


async def test_the_execution_as_a_whole(pool: asyncpg.Pool, query: Stub, diamond: int, workshop: Workshop) -> None:
    """Without a node: what runs at the bottom, and how much waits behind it."""
    await launch(pool, diamond, ["e1"])
    await workshop.started("e1-a-0")
    answer = await _until(query, _question(), _stands(why_pb2.STANDING_RUNNING))
    assert [node.node_id for node in answer.nodes] == ["a"]
    assert answer.node_count == 5
    assert answer.phase == identity_pb2.EXECUTION_PHASE_RUNNING
    assert answer.sentence.startswith(
        "flytesnacks/development/e1 is RUNNING. 5 nodes have not finished, for 1 cause: a (task a) is running:"
    )


async def test_slots_of_max_parallelism(pool: asyncpg.Pool, query: Stub, workshop: Workshop) -> None:
    """What is held names those that hold the slots, and its place in line."""
    nodes = [f"w{number:02}" for number in range(28)]
    await launch(pool, await register(pool, dag("wide", nodes, ())), ["e1"])  # the harness allows 25 at once
    for node in nodes[:25]:
        await workshop.started(f"e1-{node}-0")
    answer = await _until(query, _question(node="w27"), _stands(why_pb2.STANDING_HELD))
    held = answer.nodes[0].reasons[0].parallelism
    assert (held.limit, held.holder_count, held.ahead) == (25, 25, 2)
    assert sorted(holder.node_id for holder in held.holders) == nodes[:25]
    assert "2 go before it" in answer.sentence
    assert "all 25 slots of the execution's max_parallelism are taken" in answer.sentence
    await workshop.ended("e1-w03-0")
    await _until(query, _question(node="w27"), lambda answer: answer.nodes[0].reasons[0].parallelism.ahead == 1)


async def test_room_in_the_runtime(pool: asyncpg.Pool, database_url: str, query: Stub, tmp_path: Path) -> None:
    """What waits for room names who takes it, of whatever execution, and its place in line."""
    workflow = await register(pool, dag("one", ["a"], ()))
    runtime = Workshop(capacity=2)
    async with engine(pool, database_url, tmp_path, runtime, answer_host="127.0.0.1"):
        await _announced(pool, 1)
        await launch(pool, workflow, ["taker1"])
        await launch(pool, workflow, ["taker2"], domain="production")
        for number in (1, 2):
            await runtime.started(f"taker{number}-a-0")
        for number in range(3):
            await launch(pool, workflow, [f"e{number}"])
            await _until(query, _question(f"e{number}"), _stands(why_pb2.STANDING_QUEUED))
        answer = await _until(
            query, _question("e2", "a"), lambda answer: all(holder.name for holder in _queue(answer).holders)
        )
        queue = _queue(answer)
        assert (queue.capacity, queue.under_way, queue.waiting, queue.ahead) == (2, 2, 3, 2)
        assert {(holder.execution.domain, holder.execution.name) for holder in queue.holders} == {
            ("development", "taker1"),
            ("production", "taker2"),
        }
        assert {(load.domain, load.under_way, load.waiting) for load in queue.tenants} == {
            ("development", 1, 3),
            ("production", 1, 0),
        }
        assert "all 2 places of its engine's runtime are taken" in answer.sentence
        assert "2 go before it, of 3 that wait" in answer.sentence
        assert "of flytesnacks/development/taker1" in answer.sentence


def _queue(answer: why_pb2.WhyResponse) -> why_pb2.RuntimeQueue:
    return answer.nodes[0].reasons[0].runtime_queue


async def test_a_later_attempt(pool: asyncpg.Pool, query: Stub, diamond: int, workshop: Workshop) -> None:
    """A node that is tried again says how the attempt before ended; one that the runtime has says so."""
    await launch(pool, diamond, ["e1"])
    await workshop.ended("e1-a-0", Failure(ErrorKind.USER, "Bad", "ValueError: no such city", retryable=True))
    answer = await _until(query, _question(node="a"), _stands(why_pb2.STANDING_STARTING))
    assert answer.nodes[0].attempt == 1
    answer = await _until(
        query,
        _question(node="a"),
        lambda answer: answer.nodes[0].reasons[0].starting.step == why_pb2.Starting.STEP_HANDED_OVER,
    )
    assert answer.nodes[0].sentence == "a (task a) is starting: the runtime has it and has not said that it runs."
    await workshop.started("e1-a-1")
    answer = await _until(query, _question(node="a"), _stands(why_pb2.STANDING_RUNNING))
    assert answer.nodes[0].reasons[0].running.last_error == "ValueError: no such city"
    assert "the one before ended with: ValueError: no such city" in answer.sentence


async def test_nobody_drives_it(
    pool: asyncpg.Pool, database_url: str, query: Stub, diamond: int, tmp_path: Path
) -> None:
    """Without an engine: before it begins, in the middle, and after its end, from the rows, with the reason."""
    await launch(pool, diamond, ["e1"])
    fresh = await query.Why(_question())
    assert fresh.source == why_pb2.SOURCE_ROWS
    assert fresh.reasons[0].engine.condition == why_pb2.Engine.CONDITION_NONE_ALIVE
    assert fresh.sentence.startswith(
        "flytesnacks/development/e1 is not taken up yet. No engine process is alive; start one"
    )
    node = (await query.Why(_question(node="task d"))).nodes[0]
    assert node.standing == why_pb2.STANDING_NOT_REACHED
    runtime = Workshop()
    async with engine(pool, database_url, tmp_path, runtime):
        await runtime.started("e1-a-0")
        await runtime.ended("e1-a-0")
        await runtime.started("e1-b-0")
        async with asyncio.timeout(60):
            while not await pool.fetchval("SELECT count(*) FROM node_executions WHERE node_id = 'b' AND phase = 2"):
                await asyncio.sleep(0.02)
    middle = await query.Why(_question(node="d"))
    assert middle.source == why_pb2.SOURCE_ROWS
    assert middle.reasons[0].engine.condition == why_pb2.Engine.CONDITION_NONE_ALIVE
    stands = {node.node_id: node.standing for node in middle.nodes}
    assert stands == {
        "d": why_pb2.STANDING_NOT_REACHED,
        "b": why_pb2.STANDING_RUNNING,
        "c": why_pb2.STANDING_QUEUED,
    }
    async with engine(pool, database_url, tmp_path, runtime):
        await runtime.adopted.wait()
        for name in ("e1-b-0", "e1-c-0", "e1-d-0"):
            await runtime.ended(name)
        assert await wait_ended(pool, 1) == {ExecutionPhase.SUCCEEDED: 1}
    ended = await query.Why(_question(node="d"))
    assert ended.nodes[0].standing == why_pb2.STANDING_ENDED
    assert ended.nodes[0].sentence.startswith("d (task d) has succeeded: it ended at")
    whole = await query.Why(_question())
    assert whole.sentence.startswith("flytesnacks/development/e1 is SUCCEEDED. It ended at")
    assert not whole.nodes


async def test_what_never_came_to_its_turn(pool: asyncpg.Pool, query: Stub, diamond: int, workshop: Workshop) -> None:
    """After a failed execution a node that was not reached says so."""
    await launch(pool, diamond, ["e1"])
    await workshop.ended("e1-a-0", Failure(ErrorKind.USER, "Bad", "broken for good"))
    await wait_ended(pool, 1)
    answer = await query.Why(_question(node="d"))
    assert answer.nodes[0].standing == why_pb2.STANDING_RULED_OUT
    assert answer.nodes[0].sentence == "d (task d) will not run: the execution ended before its turn came."
    failed = await query.Why(_question(node="a"))
    assert failed.nodes[0].reasons[0].ended.error == "broken for good"


async def test_an_engine_that_does_not_answer(
    pool: asyncpg.Pool, database_url: str, query: Stub, diamond: int, tmp_path: Path
) -> None:
    """An owner that is gone but for its lease, and one whose address leads nowhere: the rows answer, and it is said."""
    leases = PostgresLeases(pool)
    term = await leases.join("frozen", 60)
    await leases.round(term, 60)
    await launch(pool, diamond, ["e1"])
    nowhere = await query.Why(_question())
    assert nowhere.reasons[0].engine.condition == why_pb2.Engine.CONDITION_SILENT
    await leases.announce(term, "127.0.0.1:1")
    silent = await query.Why(_question())
    assert silent.source == why_pb2.SOURCE_ROWS
    assert silent.reasons[0].engine.condition == why_pb2.Engine.CONDITION_SILENT
    assert silent.reasons[0].engine.name == "frozen"
    assert silent.source_note
    assert "its engine frozen does not answer" in silent.sentence.lower()


async def test_an_engine_that_holds_its_breath(pool: asyncpg.Pool, query: Stub, owners: Owners, diamond: int) -> None:
    """A process that is stopped in the middle (its kernel accepts, it never answers) costs the timeout and no more."""
    owners._timeout_s = 0.5
    with socket.create_server(("127.0.0.1", 0)) as listening:
        leases = PostgresLeases(pool)
        term = await leases.join("stopped", 60)
        await leases.round(term, 60)
        await leases.announce(term, f"127.0.0.1:{listening.getsockname()[1]}")
        await launch(pool, diamond, ["e1"])
        answer = await query.Why(_question())
        assert answer.reasons[0].engine.condition == why_pb2.Engine.CONDITION_SILENT


async def test_a_full_engine(pool: asyncpg.Pool, database_url: str, query: Stub, diamond: int, tmp_path: Path) -> None:
    """An execution that its engine has no room for says what is full, and how many are before it."""
    runtime = Workshop()
    async with engine(pool, database_url, tmp_path, runtime, answer_host="127.0.0.1", live_max=1, tenant_live_min=1):
        await _announced(pool, 1)
        await launch(pool, diamond, ["e1"])
        await runtime.started("e1-a-0")
        await launch(pool, diamond, ["e2", "e3"])
        answer = await _until(query, _question("e3"), lambda answer: bool(answer.reasons))
        full = answer.reasons[0].engine
        assert full.condition == why_pb2.Engine.CONDITION_FULL
        assert (full.live_executions, full.live_executions_max, full.ahead) == (1, 1, 1)
        assert "1 goes before it" in answer.sentence


async def test_aborting(pool: asyncpg.Pool, query: Stub, diamond: int) -> None:
    """An execution that is being terminated says since when and why."""
    await launch(pool, diamond, ["e1"])
    await pool.execute("UPDATE executions SET phase = 9, abort_requested_at = now(), abort_cause = 'wrong input'")
    answer = await query.Why(_question())
    assert answer.phase == identity_pb2.EXECUTION_PHASE_ABORTING
    assert answer.reasons[1].aborting.cause == "wrong input"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (why_pb2.WhyRequest(), grpc.StatusCode.INVALID_ARGUMENT),
        (_question(""), grpc.StatusCode.INVALID_ARGUMENT),
        (_question("absent"), grpc.StatusCode.NOT_FOUND),
        (_question(node="absent"), grpc.StatusCode.NOT_FOUND),
        (_question(node="a\0b"), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_bad_questions(
    pool: asyncpg.Pool, query: Stub, diamond: int, workshop: Workshop, request_: why_pb2.WhyRequest, code: object
) -> None:
    """Unknown executions and nodes, and what names none."""
    await launch(pool, diamond, ["e1"])
    await workshop.started("e1-a-0")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await query.Why(request_)
    assert refused.value.code() is code


async def test_two_engines(pool: asyncpg.Pool, database_url: str, query: Stub, diamond: int, tmp_path: Path) -> None:
    """Each execution is told by the engine that holds its shard."""
    runtimes = [Workshop(), Workshop()]
    async with (
        engine(pool, database_url, tmp_path, runtimes[0], name="one", answer_host="127.0.0.1"),
        engine(pool, database_url, tmp_path, runtimes[1], name="two", answer_host="127.0.0.1"),
    ):
        await _announced(pool, 2)
        names = [f"e{number}" for number in range(12)]
        await launch(pool, diamond, names)
        owners: dict[str, str] = {}
        for name in names:
            answer = await _until(
                query, _question(name), lambda answer: answer.source == why_pb2.SOURCE_ENGINE and bool(answer.nodes)
            )
            owners[name] = answer.engine
        assert set(owners.values()) == {"one", "two"}
        expected = await pool.fetch(
            "SELECT e.name, p.name AS engine FROM executions e JOIN shards s ON s.shard = e.shard"
            " JOIN propellers p ON p.term = s.term"
        )
        assert owners == {row["name"]: row["engine"] for row in expected}


def _names(answers: Sequence[why_pb2.NodeAnswer]) -> list[str]:
    return [answer.node_id for answer in answers]


async def test_no_more_than_asked_for(pool: asyncpg.Pool, query: Stub, workshop: Workshop) -> None:
    """The limit holds, the root cause stays, and the rest is counted."""
    nodes = [f"s{number:02}" for number in range(40)]
    edges = [(nodes[number], nodes[number + 1]) for number in range(39)]
    await launch(pool, await register(pool, dag("long", nodes, edges)), ["e1"])
    await workshop.started("e1-s00-0")
    answer = await _until(query, _question(node="s39", limit=4), lambda answer: "has run for" in answer.sentence)
    assert _names(answer.nodes) == ["s39", "s38", "s37", "s00"]
    assert answer.node_count == 40


async def test_its_turn_among_those_of_its_launch_plan(
    pool: asyncpg.Pool, query: Stub, diamond: int, workshop: Workshop
) -> None:
    """An execution that its launch plan lets wait names those alive, its place, and until when it must begin."""
    plans = [
        await pool.fetchval(
            "INSERT INTO launch_plans (project, domain, name, version, workflow_id, digest, spec, closure)"
            " VALUES ('flytesnacks', 'development', 'nightly', $1, $2, '', '', '') RETURNING id",
            *(version, diamond),
        )
        for version in ("v1", "v2")
    ]
    await launch(pool, diamond, ["alive"])
    await workshop.started("alive-a-0")
    async with pool.acquire() as connection, connection.transaction():
        await launch(pool, diamond, ["unrelated"])
        await connection.execute("UPDATE executions SET launch_plan_id = $1 WHERE name = 'alive'", plans[0])
        for number, plan in enumerate((plans[0], plans[1])):
            await connection.execute(
                "INSERT INTO executions (project, domain, name, shard, launch_entity, launch_plan_id, workflow_id,"
                " spec, config, phase, waiting, alive_max, begin_by) VALUES ('flytesnacks', 'development', $1, 0,"
                " 'launch_plan', $2, $3, '', '', 1, true, 1, now() + interval '1 hour')",
                *(f"e{number + 1}", plan, diamond),
            )
    answer = await query.Why(_question("e2"))
    turn = answer.reasons[0].overlap
    assert (turn.launch_plan, turn.alive_max, turn.alive_count, turn.ahead) == ("nightly", 1, 1, 1)
    assert [holder.execution.name for holder in turn.alive] == ["alive"]
    assert answer.reasons[1].deadline.begin
    assert "1 execution of launch plan nightly may be alive at once, and flytesnacks/development/alive (for" in (
        answer.sentence
    )
    assert "1 goes before it" in answer.sentence
    node = (await query.Why(_question("e1", "d"))).nodes[0]
    assert node.standing == why_pb2.STANDING_NOT_REACHED
    assert node.reasons[0].overlap.ahead == 0


async def test_the_deadline_of_an_execution(pool: asyncpg.Pool, query: Stub, diamond: int, workshop: Workshop) -> None:
    """What may run for so long and no longer tells when it will time out."""
    await launch(pool, diamond, ["e1"])
    await workshop.started("e1-a-0")
    await pool.execute("UPDATE executions SET deadline_s = 600")
    answer = await query.Why(_question())
    deadline = answer.reasons[0].deadline
    assert not deadline.begin
    started = await pool.fetchval("SELECT started_at FROM executions")
    assert (deadline.at.ToDatetime(tzinfo=UTC) - started).total_seconds() == 600


async def test_the_limit_of_a_tenant(pool: asyncpg.Pool, database_url: str, query: Stub, tmp_path: Path) -> None:
    """What waits for its tenant to be below a limit names the limit, who counts against it in whatever engine, and its
    place in line; of two limits the one that is full is told."""
    workflow = await register(pool, dag("one", ["a"], ()))
    shares = open_registry(pool, RegistryOptions()).tenant_shares
    await shares.set("flytesnacks", "development", weight=None, running_max=2)
    await shares.set("flytesnacks", "", weight=None, running_max=100)
    runtimes = [Workshop(), Workshop()]
    async with (
        engine(pool, database_url, tmp_path, runtimes[0], name="one", answer_host="127.0.0.1"),
        engine(pool, database_url, tmp_path, runtimes[1], name="two", answer_host="127.0.0.1"),
    ):
        await _announced(pool, 2)
        names = [f"e{number}" for number in range(6)]
        await launch(pool, workflow, names)
        async with asyncio.timeout(60):
            while await pool.fetchval("SELECT count(*) FROM tenant_slots") < 2:
                await asyncio.sleep(0.02)
        slots = await pool.fetch("SELECT e.name FROM tenant_slots s JOIN executions e ON e.id = s.execution_id")
        held = {row["name"] for row in slots}
        for name in set(names) - held:
            answer = await _until(
                query, _question(name), lambda answer: any(reason.HasField("tenant_limit") for reason in _first(answer))
            )
            (limit,) = (reason.tenant_limit for reason in _first(answer) if reason.HasField("tenant_limit"))
            assert (limit.project, limit.domain, limit.limit) == ("flytesnacks", "development", 2)
            assert limit.holder_count == 2
            assert {holder.execution.name for holder in limit.holders} == held
            assert limit.HasField("ahead")
            assert not any(reason.HasField("runtime_queue") for reason in _first(answer))
            assert "flytesnacks/development may have 2 attempts under way (wingbeat limits), and has 2: a of" in (
                answer.sentence
            )
        await shares.delete("flytesnacks", "development")
        for name in names:
            await _until(query, _question(name), _stands(why_pb2.STANDING_STARTING))


def _first(answer: why_pb2.WhyResponse) -> Sequence[why_pb2.Reason]:
    return answer.nodes[0].reasons if answer.nodes else ()
