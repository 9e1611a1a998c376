"""Streams of transitions over gRPC: order, cursors, filters, limits, faults."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import asyncpg
import grpc
import pytest
from google.rpc import error_details_pb2
from prometheus_client import REGISTRY
from tests.integration.watch.conftest import (
    DOMAIN,
    PROJECT,
    WATCH_SQL,
    Log,
    collect,
    request,
    short,
    status_of,
)
from tests.integration.watch.serving import WatchServer, watch_server

from wingbeat_controlplane.executions.log_snapshots import Snapshot
from wingbeat_controlplane.executions.watch.cursors import decode_cursor
from wingbeat_controlplane.executions.watch.watching import WatchOptions
from wingbeat_propeller.postgres.transitions import TransitionPartitions, TransitionsOptions
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2, watch_pb2_grpc

Stub = watch_pb2_grpc.WatchServiceStub


async def test_every_block_prepares(pool: asyncpg.Pool) -> None:
    """Each named block is a statement that the migrated schema can plan, and is used."""
    package = files("wingbeat_controlplane.executions.watch")
    source = "\n".join(each.read_text() for each in package.iterdir() if each.name.endswith(".py"))
    async with pool.acquire() as connection:
        for name, statement in WATCH_SQL.items():
            await connection.prepare(statement)
            assert re.search(rf'"{name}"', source), name


async def test_from_now_on(stub: Stub, log: Log) -> None:
    """A stream without a cursor begins with what comes after its first message."""
    await log.launch("a", "b")
    await log.add("a", 1)
    call = stub.WatchTransitions(request())
    first = await call.read()
    assert not first.transitions
    assert first.cursor
    await log.add("a", 2)
    await log.add("b", 2, 3)
    transitions, _ = await collect(call, 3)
    assert short(transitions) == [("a", "", 0, 2), ("b", "", 0, 2), ("b", "", 0, 3)]
    one = transitions[0]
    assert (one.execution.project, one.execution.domain) == (PROJECT, DOMAIN)
    assert one.workflow.name == "chain"
    call.cancel()


async def test_a_late_commit_is_not_skipped(stub: Stub, log: Log) -> None:
    """An entry with a lower number that is committed later comes when it is committed, to streams that follow and to
    one that goes on from a cursor in between; nothing comes twice."""
    await log.launch("a", "b")
    following = stub.WatchTransitions(request())
    await following.read()
    async with log.pool.acquire() as late, late.transaction():
        await log.add("a", 1, 2, connection=late)
        await log.add("b", 1, 2)
        found, between = await collect(following, 2)
        assert short(found) == [("b", "", 0, 1), ("b", "", 0, 2)]
        resumed = stub.WatchTransitions(request(cursor=between))
        assert not (await resumed.read()).transitions
        await log.add("b", 3)
        for call in (following, resumed):
            assert short((await collect(call, 1))[0]) == [("b", "", 0, 3)]
    for call in (following, resumed):
        assert short((await collect(call, 2))[0]) == [("a", "", 0, 1), ("a", "", 0, 2)]
    again = stub.WatchTransitions(request(cursor=between))
    assert short((await collect(again, 3))[0]) == [("a", "", 0, 1), ("a", "", 0, 2), ("b", "", 0, 3)]
    for call in (following, resumed, again):
        call.cancel()


async def test_the_whole_story_of_an_execution(stub: Stub, log: Log) -> None:
    """From the oldest on, a stream of one execution tells what happened and then goes on; others do not come."""
    await log.launch("a", "b")
    await log.add("a", 1, 2)
    await log.add("b", 1, 2)
    call = stub.WatchTransitions(request(oldest=True, project=PROJECT, domain=DOMAIN, executions=["a", "later"]))
    assert short((await collect(call, 2))[0]) == [("a", "", 0, 1), ("a", "", 0, 2)]
    await log.launch("later")
    await log.add("b", 4)
    await log.add("later", 2)
    await log.add("a", 4)
    assert short((await collect(call, 2))[0]) == [("later", "", 0, 2), ("a", "", 0, 4)]
    call.cancel()


async def test_filters(stub: Stub, log: Log) -> None:
    """Of a log about two executions each filter leaves what it names, when it follows and when it reads the past."""
    await log.launch("a")
    await log.launch("b", domain="staging")
    await log.pool.execute(
        "INSERT INTO execution_tags (execution_id, key, value) VALUES ($1, 'team', 'x'), ($1, 'urgent', ''),"
        " ($2, 'team', 'y')",
        *(log.ids["a"], log.ids["b"]),
    )
    levels = [transition_pb2.LEVEL_EXECUTION, transition_pb2.LEVEL_NODE]
    workflow = watch_pb2.EntityFilter(kind=transition_pb2.ENTITY_KIND_WORKFLOW, name="chain")
    other = watch_pb2.EntityFilter(kind=transition_pb2.ENTITY_KIND_WORKFLOW, name="chain", version="2")
    cases: list[tuple[dict, str]] = [
        ({}, "a2 an2 b2 bn3 a4"),
        ({"domain": DOMAIN}, "a2 an2 a4"),
        ({"project": "other"}, ""),
        ({"labels": {"team": "x"}}, "a2 an2 a4"),
        ({"labels": {"team": ""}}, "a2 an2 b2 bn3 a4"),
        ({"labels": {"team": "", "urgent": ""}}, "a2 an2 a4"),
        ({"labels": {"team": "z"}}, ""),
        ({"project": PROJECT, "domain": DOMAIN, "executions": ["a"]}, "a2 an2 a4"),
        ({"entities": [workflow]}, "a2 an2 b2 bn3 a4"),
        ({"entities": [other]}, ""),
        ({"entities": [other, workflow]}, "a2 an2 b2 bn3 a4"),
        ({"execution_phases": [4]}, "an2 bn3 a4"),
        ({"execution_phases": [4], "node_phases": [3]}, "bn3 a4"),
        ({"execution_phases": [4, 2], "node_phases": [3], "domain": "staging"}, "b2 bn3"),
    ]
    calls = [stub.WatchTransitions(request(levels=levels, **case)) for case, _ in cases]
    firsts = [await call.read() for call in calls]
    start = firsts[0].cursor
    await log.add("a", 2)
    await log.add("a", 2, node="n")
    await log.add("b", 2)
    await log.add("b", 3, node="n")
    await log.add("a", 4)
    for call, (case, wanted) in zip(calls, cases, strict=True):
        past = stub.WatchTransitions(request(cursor=start, levels=levels, **case))
        for one in (call, past):
            found, _ = await collect(one, len(wanted.split()))
            shown = [f"{name}{node}{phase}" for name, node, _, phase in short(found)]
            assert shown == wanted.split(), case
            one.cancel()


async def test_levels(stub: Stub, log: Log) -> None:
    """Executions are told of unless others are asked for."""
    await log.launch("a")
    await log.add("a", 2)
    await log.add("a", 2, node="n")
    await log.add("a", 4)
    call = stub.WatchTransitions(request(oldest=True))
    assert short((await collect(call, 2))[0]) == [("a", "", 0, 2), ("a", "", 0, 4)]
    nodes = stub.WatchTransitions(request(oldest=True, levels=[transition_pb2.LEVEL_NODE]))
    assert short((await collect(nodes, 1))[0]) == [("a", "n", 0, 2)]
    call.cancel()
    nodes.cancel()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (request(cursor="nonsense"), "is no cursor"),
        (request(executions=["a"]), "need the project and the domain"),
        (request(batches=["a"]), "need the project and the domain"),
        (request(levels=[9]), "no level 9"),
        (request(execution_phases=[77]), "no phase 77"),
        (request(entities=[watch_pb2.EntityFilter(name="x")]), "say which"),
        (request(project="x\0"), "cannot"),
        (request(project=PROJECT, domain=DOMAIN, executions=[""]), "empty"),
        (request(project=PROJECT, domain=DOMAIN, executions=[f"e{n}" for n in range(1001)]), "at most 1000"),
        (request(heartbeat_s=3600), "1 to 600 s"),
    ],
)
async def test_bad_requests(stub: Stub, made: watch_pb2.WatchTransitionsRequest, words: str) -> None:
    """What makes no sense is INVALID_ARGUMENT, with a sentence and the field."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.WatchTransitions(made).read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = status_of(caught.value)
    assert words in status.message or words == "cannot"
    violations = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(violations)
    assert violations.field_violations[0].field


async def test_cursors_of_other_databases(stub: Stub, log: Log) -> None:
    """A cursor of another log, or from the future of a restored one, is refused instead of misread."""
    await log.launch("a")
    cursor = decode_cursor((await stub.GetCursor(watch_pb2.GetCursorRequest())).now)
    ahead = Snapshot(cursor.snapshot.xmax + 1000)
    for foreign in (replace(cursor, log=cursor.log ^ 1), replace(cursor, snapshot=ahead)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.WatchTransitions(request(cursor=foreign.encode())).read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "another installation" in (caught.value.details() or "")


async def test_before_retention(stub: Stub, log: Log) -> None:
    """A cursor that has not seen what was dropped is OUT_OF_RANGE with the oldest one, which works; one that has seen
    it goes on."""
    await log.launch("a")
    partitions = TransitionPartitions(log.pool, TransitionsOptions(retention_days=1, days_ahead=0))
    old = datetime.now(UTC) - timedelta(days=3)
    await partitions.keep(old.date())
    before = (await stub.GetCursor(watch_pb2.GetCursorRequest())).now
    await log.add("a", 1, at=old)
    after = (await stub.GetCursor(watch_pb2.GetCursorRequest())).now
    await log.add("a", 2)
    await log.pool.execute("UPDATE executions SET ended_at = now() - interval '3 days'")
    await partitions.keep(datetime.now(UTC).date())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.WatchTransitions(request(cursor=before)).read()
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
    info = error_details_pb2.ErrorInfo()
    assert status_of(caught.value).details[0].Unpack(info)
    assert info.reason == "BEFORE_RETENTION"
    assert info.metadata["oldest"] == (await stub.GetCursor(watch_pb2.GetCursorRequest())).oldest
    for made in (request(cursor=info.metadata["oldest"]), request(cursor=after), request(oldest=True)):
        call = stub.WatchTransitions(made)
        assert short((await collect(call, 1))[0]) == [("a", "", 0, 2)]
        call.cancel()


async def test_heartbeats_move_on(stub: Stub, log: Log) -> None:
    """A stream whose filter leaves everything out gets heartbeats with cursors after all that was left out."""
    await log.launch("a")
    call = stub.WatchTransitions(request(heartbeat_s=1, project="other"))
    first = (await call.read()).cursor
    await log.add("a", 1)
    head = (await stub.GetCursor(watch_pb2.GetCursorRequest())).now
    now = decode_cursor(head).whole
    async with asyncio.timeout(60):
        while True:
            beat = await call.read()
            assert not beat.transitions
            if not decode_cursor(beat.cursor).whole.is_before(now):
                break
    assert beat.cursor != first
    call.cancel()


async def test_too_many_watchers(database_url: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    """One more than the server takes is refused with a delay; when one leaves there is room again."""
    async with (
        watch_server(database_url, pool, tmp_path, WatchOptions(watchers_max=1)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = watch_pb2_grpc.WatchServiceStub(channel)
        call = stub.WatchTransitions(request())
        await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.WatchTransitions(request()).read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        delay = error_details_pb2.RetryInfo()
        assert status_of(caught.value).details[0].Unpack(delay)
        call.cancel()
        async with asyncio.timeout(60):
            while server.watching.count:
                await asyncio.sleep(0.01)
        again = stub.WatchTransitions(request())
        await again.read()
        again.cancel()


async def test_a_stopping_server(database_url: str, pool: asyncpg.Pool, tmp_path: Path, log: Log) -> None:
    """Streams of a server that stops end with UNAVAILABLE at once, new ones are refused in the same way, and another
    server goes on from the cursor."""
    await log.launch("a")
    async with (
        watch_server(database_url, pool, tmp_path) as server,
        watch_server(database_url, pool, tmp_path) as other,
        grpc.aio.insecure_channel(server.address) as channel,
        grpc.aio.insecure_channel(other.address) as other_channel,
    ):
        stub = watch_pb2_grpc.WatchServiceStub(channel)
        call = stub.WatchTransitions(request())
        cursor = (await call.read()).cursor
        server.stop()
        for stream in (call, stub.WatchTransitions(request())):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await log.add("a", 2)
        resumed = watch_pb2_grpc.WatchServiceStub(other_channel).WatchTransitions(request(cursor=cursor))
        assert short((await collect(resumed, 1))[0]) == [("a", "", 0, 2)]
        resumed.cancel()


async def test_a_lost_database(stub: Stub, log: Log) -> None:
    """When the server's connections are lost, again and again, a client that goes on after UNAVAILABLE sees every entry
    once."""
    await log.launch("a")
    cursor = (await stub.GetCursor(watch_pb2.GetCursorRequest())).now

    async def watch(cursor: str) -> list[int]:
        seen: list[int] = []
        while True:
            call = stub.WatchTransitions(request(cursor=cursor))
            try:
                while len(seen) < 20:
                    response = await asyncio.wait_for(call.read(), 60)
                    seen += [one.execution_phase for one in response.transitions]
                    cursor = response.cursor
                call.cancel()
                return seen
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise

    watching = asyncio.create_task(watch(cursor))
    for number in range(20):
        await log.add("a", number)
        await log.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'watch' AND datname = current_database()"
        )
    assert await watching == list(range(20))


async def test_deadline(stub: Stub, server: WatchServer) -> None:
    """A stream ends at its caller's deadline, and its seat is free."""
    call = stub.WatchTransitions(request(), timeout=0.5)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collect(call, 1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(60):
        while server.watching.count:
            await asyncio.sleep(0.01)


async def test_a_reader_that_does_not_read(server: WatchServer, stub: Stub, log: Log) -> None:
    """A client that does not read holds up nobody, keeps a bounded queue, and gets everything once when it reads."""
    names = [f"e{number}" for number in range(50)]
    await log.launch(*names)
    wanted = len(names) * 1_000
    async with grpc.aio.insecure_channel(server.address, options=[("grpc.http2.bdp_probe", 0)]) as slow_channel:
        slow = watch_pb2_grpc.WatchServiceStub(slow_channel).WatchTransitions(request())
        await slow.read()
        quick = stub.WatchTransitions(request())
        await quick.read()
        full = REGISTRY.get_sample_value("wingbeat_watch_queues_full_total") or 0
        quickly = asyncio.create_task(collect(quick, wanted))
        for _ in range(20):
            await log.pool.execute(
                "INSERT INTO transitions (execution_id, attempt, phase, at)"
                " SELECT id, number % 100, 2, now() FROM unnest($1::bigint[]) AS id, generate_series(1, 50) AS number",
                list(log.ids.values()),
            )
        found, _ = await quickly
        assert len(found) == wanted
        assert (REGISTRY.get_sample_value("wingbeat_watch_queues_full_total") or 0) > full
        late, _ = await collect(slow, wanted)
        assert sorted(one.entry for one in late) == sorted(one.entry for one in found)
        slow.cancel()
        quick.cancel()
