"""Streams that begin, break off and go on while transactions commit out of order: every entry once, in order."""

import asyncio
import os
import random
from collections import defaultdict

import asyncpg
from tests.integration.watch.conftest import Log, request

from wingbeatidl.watch.v1 import watch_pb2, watch_pb2_grpc

SEED = int(os.environ.get("WINGBEAT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
WRITERS = 8
TRANSACTIONS = 60
WATCHERS = 6
LAST = 9


async def test_late_commits(stub: watch_pb2_grpc.WatchServiceStub, database_url: str, log: Log) -> None:
    """Eight connections hold transactions open for as long as a seed says, so that numbers become visible out of order;
    watchers break off at any message and go on from its cursor. Each gets every entry once, those of an execution in
    order of their numbers."""
    print(f"WINGBEAT_TEST_SEED={SEED}")
    dice = random.Random(SEED)
    names = [f"e{number}" for number in range(WRITERS)]
    await log.launch(*names, "last")
    cursor = (await stub.GetCursor(watch_pb2.GetCursorRequest())).now
    watching = [asyncio.create_task(_watch(stub, cursor, random.Random(dice.random()))) for _ in range(WATCHERS)]
    await asyncio.gather(*(_write(database_url, log, name, random.Random(dice.random())) for name in names))
    await log.add("last", LAST)
    rows = await log.pool.fetch("SELECT seq, txid, execution_id FROM transitions ORDER BY seq")
    txids = [row["txid"] for row in rows]
    assert txids != sorted(txids), "nothing was out of order"
    entries = [row["seq"] for row in rows]
    for seen in await asyncio.gather(*watching):
        assert sorted(seen) == entries, f"seed {SEED}"
        order: dict[int, list[int]] = defaultdict(list)
        for row in sorted(rows, key=lambda row: seen.index(row["seq"])):
            order[row["execution_id"]].append(row["seq"])
        assert all(some == sorted(some) for some in order.values()), f"seed {SEED}"


async def _write(dsn: str, log: Log, name: str, dice: random.Random) -> None:
    """One writer: its transactions follow each other, and overlap with those of others."""
    connection = await asyncpg.connect(dsn)
    try:
        for _ in range(TRANSACTIONS):
            async with connection.transaction():
                for _ in range(dice.randrange(1, 5)):
                    await log.add(name, 2, connection=connection)
                    await asyncio.sleep(dice.choice([0, 0, 0, 0.001, 0.005]))  # how long it stays open is drawn
    finally:
        await connection.close()


async def _watch(stub: watch_pb2_grpc.WatchServiceStub, cursor: str, dice: random.Random) -> list[int]:
    """Numbers of all entries in the order they came, in many streams one after the other."""
    seen: list[int] = []
    while True:
        call = stub.WatchTransitions(request(cursor=cursor))
        for _ in range(dice.randrange(1, 12)):
            response = await asyncio.wait_for(call.read(), 60)
            seen += [one.entry for one in response.transitions]
            cursor = response.cursor
            if any(one.execution_phase == LAST for one in response.transitions):
                call.cancel()
                return seen
        call.cancel()
