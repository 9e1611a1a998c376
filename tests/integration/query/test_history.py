"""How an execution stood at an instant."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from tests.integration.engine.harness import chain, engine, launch, register, wait_ended
from tests.integration.query.conftest import CREATED, HISTORY_SQL, Log, moment, question

from wingbeat_controlplane.executions.history import PAGE_SIZE, History
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase
from wingbeat_propeller.postgres.transitions import TransitionPartitions, TransitionsOptions
from wingbeat_propeller.runtimes.instant import InstantRuntime
from wingbeatidl.query.v1 import query_pb2, query_pb2_grpc

Stub = query_pb2_grpc.QueryServiceStub
Q, R, S, F = NodePhase.QUEUED, NodePhase.RUNNING, NodePhase.SUCCEEDED, NodePhase.FAILED


async def _at(query: Stub, at_s: float) -> tuple[int, dict[str, tuple[int, int]]]:
    """Phase of the execution; phase and attempt of each node."""
    answer = await query.GetExecutionAt(question(at_s))
    assert answer.existed
    assert not answer.next_page_token
    return answer.phase, {node.node_id: (node.phase, node.attempt) for node in answer.nodes}


async def test_every_instant_of_a_real_execution(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """At every instant of its log, and between, an answer in small pages is what a replay of the log gives."""
    await launch(pool, await register(pool, chain("chain", 4)), ["e1"])
    async with engine(pool, database_url, tmp_path, InstantRuntime()):
        assert await wait_ended(pool, 1) == {ExecutionPhase.SUCCEEDED: 1}
    log = await pool.fetch("SELECT node_id, attempt, phase, at FROM transitions ORDER BY seq")
    created = await pool.fetchval("SELECT created_at FROM executions")
    instants = {row["at"] for row in log}
    instants |= {at - timedelta(microseconds=1) for at in instants} | {max(instants) + timedelta(seconds=1), created}
    history = History(pool)
    assert len(instants) > 8
    for at in sorted(instants):
        expected = {row["node_id"]: (row["phase"], row["attempt"]) for row in log if row["at"] <= at}
        request = question(0, page_size=2)
        request.at.FromDatetime(at)
        nodes: list[query_pb2.NodeState] = []
        while True:
            page = await history.at(request)
            nodes += page.nodes
            assert len(page.nodes) <= 2
            if not page.existed:
                assert at < created
                break
            assert page.phase == expected.get(None, (ExecutionPhase.UNDEFINED, 0))[0]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        expected.pop(None, None)
        if at >= created:
            assert {node.node_id: (node.phase, node.attempt) for node in nodes} == expected
            assert [node.node_id for node in nodes] == sorted(expected)
            assert all(node.spec_node_id for node in nodes)


async def test_the_life_of_a_node(query: Stub, log: Log) -> None:
    """Phases, attempts and since when; what was not yet, is not there."""
    await log.add(None, ExecutionPhase.RUNNING, 1)
    await log.add("n0", Q, 1)
    await log.add("n0", R, 2)
    await log.add("n0", R, 3, attempt=1)
    await log.add("n0", S, 4, attempt=1)
    await log.add("n1", Q, 4)
    assert await _at(query, 0) == (ExecutionPhase.UNDEFINED, {})
    assert await _at(query, 0.999) == (ExecutionPhase.UNDEFINED, {})
    assert await _at(query, 1) == (ExecutionPhase.RUNNING, {"n0": (Q, 0)})
    assert await _at(query, 2.5) == (ExecutionPhase.RUNNING, {"n0": (R, 0)})
    assert await _at(query, 3.5) == (ExecutionPhase.RUNNING, {"n0": (R, 1)})
    assert await _at(query, 5) == (ExecutionPhase.RUNNING, {"n0": (S, 1), "n1": (Q, 0)})
    answer = await query.GetExecutionAt(question(3.5))
    assert answer.nodes[0].since.ToDatetime(tzinfo=UTC) == moment(3)
    assert answer.phase_since.ToDatetime(tzinfo=UTC) == moment(1)


async def test_before_its_creation(query: Stub, log: Log) -> None:
    """The answer says that there was nothing yet, and when there was."""
    answer = await query.GetExecutionAt(question(-1))
    assert not answer.existed
    assert answer.created_at.ToDatetime(tzinfo=UTC) == CREATED
    assert not answer.nodes


async def test_a_clock_that_is_behind(query: Stub, log: Log) -> None:
    """What is committed last counts, even when the engine that took over dates it earlier."""
    await log.add(None, ExecutionPhase.RUNNING, 1)
    await log.add("n0", Q, 1)
    await log.add("n0", R, 9)
    await log.add("n0", S, 7)  # by another engine, two seconds behind
    assert await _at(query, 6) == (ExecutionPhase.RUNNING, {"n0": (Q, 0)})
    assert await _at(query, 8) == (ExecutionPhase.RUNNING, {"n0": (S, 0)})
    assert await _at(query, 10) == (ExecutionPhase.RUNNING, {"n0": (S, 0)})


async def test_pages_show_one_state(query: Stub, log: Log, database_url: str) -> None:
    """What becomes durable after the first page is on none of them, even if its transaction had begun before."""
    other = await asyncpg.connect(database_url)
    try:
        for node in ("n0", "n1", "n2", "n3"):
            await log.add(node, Q, 1)
        begun = other.transaction()
        await begun.start()
        await log.add("n2", R, 2, connection=other)
        await log.add("n0", R, 2)
        first = await query.GetExecutionAt(question(5, page_size=2))
        await begun.commit()
        await log.add("n3", S, 3)
        await log.add("n4", Q, 3)
        second = await query.GetExecutionAt(question(5, page_size=2, page_token=first.next_page_token))
    finally:
        await other.close()
    assert [(node.node_id, node.phase) for node in first.nodes] == [("n0", R), ("n1", Q)]
    assert [(node.node_id, node.phase) for node in second.nodes] == [("n2", Q), ("n3", Q)]
    assert not second.next_page_token
    assert second.read_at == first.read_at
    assert (await _at(query, 5))[1] == {"n0": (R, 0), "n1": (Q, 0), "n2": (R, 0), "n3": (S, 0), "n4": (Q, 0)}


async def test_aborting(query: Stub, log: Log) -> None:
    """Between the request to terminate it and its end, an execution is ABORTING."""
    await log.add(None, ExecutionPhase.RUNNING, 1)
    await log.add(None, ExecutionPhase.ABORTED, 5)
    await log.execution(phase=int(ExecutionPhase.ABORTED), abort_requested_at=moment(4), ended_at=moment(5))
    assert [(await _at(query, at_s))[0] for at_s in (3, 4, 5)] == [
        ExecutionPhase.RUNNING,
        ExecutionPhase.ABORTING,
        ExecutionPhase.ABORTED,
    ]


async def _prune(log: Log, since_day: datetime) -> None:
    """Drop what is older than that day, as if it were `retention_days` later."""
    await TransitionPartitions(log.pool, TransitionsOptions(retention_days=0, days_ahead=0)).keep(since_day.date())


async def test_beyond_the_log(query: Stub, log: Log) -> None:
    """An instant that the log does not reach is OUT_OF_RANGE with the oldest that it does; from there on everything is
    told, though nodes changed last before."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today - timedelta(days=3)
    await log.execution(created_at=start)

    def at_s(days: float) -> float:
        return (start + timedelta(days=days) - CREATED).total_seconds()

    partitions = TransitionPartitions(log.pool, TransitionsOptions(retention_days=365, days_ahead=0))
    for day in range(4):
        await partitions.keep((start + timedelta(days=day)).date())
    await log.add(None, ExecutionPhase.RUNNING, at_s(0.1))
    await log.add("gate", R, at_s(0.2))
    await log.add("n0", Q, at_s(0.2))
    await log.add("n0", R, at_s(0.3), attempt=1)
    await log.add("n0", S, at_s(0.4), attempt=1)
    await log.add("gate", S, at_s(2.9))
    await log.add("n1", R, at_s(2.9))
    for day in (1, 2):
        await _prune(log, start + timedelta(days=day))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await _at(query, at_s(day - 0.01))
        assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE
        oldest = (start + timedelta(days=day)).isoformat()
        assert oldest in (refused.value.details() or "")
        trailers = dict(refused.value.trailing_metadata() or ())
        info = error_details_pb2.ErrorInfo()
        assert status_pb2.Status.FromString(trailers["grpc-status-details-bin"]).details[0].Unpack(info)
        assert (info.reason, info.metadata["oldest"]) == ("BEFORE_RETENTION", oldest)
        assert await _at(query, at_s(day)) == (ExecutionPhase.RUNNING, {"gate": (R, 0), "n0": (S, 1)})
        assert await log.pool.fetchval("SELECT count(*) FROM transitions WHERE at < $1", start + timedelta(days=1)) == 3
    assert (await _at(query, at_s(2.95)))[1] == {"gate": (S, 0), "n0": (S, 1), "n1": (R, 0)}
    assert not (await query.GetExecutionAt(question(at_s(-0.1)))).existed


async def test_an_execution_that_outlives_its_log(query: Stub, log: Log) -> None:
    """After its end an execution is told from its rows, however long ago the log has gone."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today - timedelta(days=3)
    end = start + timedelta(hours=1)
    await log.execution(created_at=start, ended_at=end, phase=int(ExecutionPhase.FAILED))
    await log.node("n0", NodePhase.FAILED, attempt=2)
    await log.node("n1", NodePhase.SKIPPED)
    await log.add("n0", F, (start - CREATED).total_seconds() + 5)
    await _prune(log, today)
    assert await log.pool.fetchval("SELECT count(*) FROM transitions") == 0
    at_s = (end - CREATED).total_seconds()
    assert await _at(query, at_s) == (ExecutionPhase.FAILED, {"n0": (F, 2), "n1": (NodePhase.SKIPPED, 0)})
    first = await query.GetExecutionAt(question(at_s, page_size=1))
    second = await query.GetExecutionAt(question(at_s, page_size=1, page_token=first.next_page_token))
    assert [node.node_id for node in (*first.nodes, *second.nodes)] == ["n0", "n1"]
    assert not second.next_page_token
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _at(query, at_s - 60)
    assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE


def _unknown(request: query_pb2.GetExecutionAtRequest) -> None:
    request.execution.name = "absent"


def _nameless(request: query_pb2.GetExecutionAtRequest) -> None:
    request.execution.name = ""


def _anonymous(request: query_pb2.GetExecutionAtRequest) -> None:
    request.ClearField("execution")


def _timeless(request: query_pb2.GetExecutionAtRequest) -> None:
    request.ClearField("at")


def _no_time(request: query_pb2.GetExecutionAtRequest) -> None:
    request.at.seconds = 2**62


def _future(request: query_pb2.GetExecutionAtRequest) -> None:
    request.at.FromDatetime(datetime.now(UTC) + timedelta(hours=1))


def _negative(request: query_pb2.GetExecutionAtRequest) -> None:
    request.page_size = -1


def _damaged(request: query_pb2.GetExecutionAtRequest) -> None:
    request.page_token = "bm90aGluZw=="


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        (_unknown, grpc.StatusCode.NOT_FOUND, "absent"),
        (_nameless, grpc.StatusCode.INVALID_ARGUMENT, "execution.name"),
        (_anonymous, grpc.StatusCode.INVALID_ARGUMENT, "execution"),
        (_timeless, grpc.StatusCode.INVALID_ARGUMENT, "at"),
        (_no_time, grpc.StatusCode.INVALID_ARGUMENT, "no time"),
        (_future, grpc.StatusCode.INVALID_ARGUMENT, "future"),
        (_negative, grpc.StatusCode.INVALID_ARGUMENT, "page_size"),
        (_damaged, grpc.StatusCode.INVALID_ARGUMENT, "page token"),
    ],
)
async def test_bad_questions(query: Stub, log: Log, change, code: grpc.StatusCode, word: str) -> None:
    """Each is refused with a sentence that names what is wrong."""
    request = question(1)
    change(request)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await query.GetExecutionAt(request)
    assert refused.value.code() is code
    assert word in (refused.value.details() or "")


async def test_a_token_of_another_question(query: Stub, log: Log) -> None:
    """It is refused rather than answered from the middle."""
    await log.add("n0", Q, 1)
    await log.add("n1", Q, 1)
    token = (await query.GetExecutionAt(question(2, page_size=1))).next_page_token
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await query.GetExecutionAt(question(3, page_token=token))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "another question" in (refused.value.details() or "")


async def test_a_page_reads_what_it_tells(log: Log, query: Stub) -> None:
    """Of a large execution each page, the last ones too, reads its own part of the index and no more, in a partition
    that the database has no statistics of."""
    nodes = 20_000
    await log.pool.execute("ALTER TABLE transitions_default SET (autovacuum_enabled = off)")
    await log.pool.execute(
        "INSERT INTO transitions (execution_id, node_id, phase, at)"
        " SELECT $1, 'n' || number, phase, $2::timestamptz + make_interval(secs => phase)"
        " FROM generate_series(1, $3::integer) AS number, generate_series(1, 3) AS phase",
        *(log.key, CREATED, nodes),
    )
    request = question(10)
    told: list[str] = []
    while True:
        page = await query.GetExecutionAt(request)
        assert {node.phase for node in page.nodes} == {S}
        told += [node.node_id for node in page.nodes]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert told == sorted(f"n{number}" for number in range(1, nodes + 1))
    async with log.pool.acquire() as connection, connection.transaction():
        await connection.execute(HISTORY_SQL["walk_indexes"])
        for after in ("", told[nodes // 2]):
            arguments = (log.key, moment(10), CREATED - timedelta(days=1), (7, 2**40 + 3, (7,)), after, PAGE_SIZE + 1)
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {HISTORY_SQL['nodes_at']}"
            plan = json.loads(await connection.fetchval(explain, *arguments))[0]["Plan"]
            assert _rows_read(plan) <= 3 * (PAGE_SIZE + 2)


def _rows_read(plan: dict) -> float:
    """Rows that scans of the log returned or threw away."""
    inner = sum(_rows_read(child) for child in plan.get("Plans", []))
    if not plan.get("Relation Name", "").startswith("transitions"):
        return inner
    return inner + (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
