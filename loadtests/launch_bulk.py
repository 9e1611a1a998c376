"""Launches in bulk with idempotency keys, beside a bare COPY of the rows that they made.

`measure_bulk` is a part of `python -m loadtests.launch`. It starts an installation without an engine, so that nothing
but launching is measured, and has one client in this process send `count` items, each with a key and inputs of its own,
in calls of `PORTION`, several at a time. Then it copies out what the launches wrote (executions, their search values,
keys), empties the tables, and copies the same rows in again, in one transaction with the same indexes: what the
database takes at least.

    bulk_per_s   executions launched in a second, durable and acknowledged
    copy_per_s   the same rows by COPY
    ratio        bulk_per_s by copy_per_s
"""

import asyncio
import io
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import asyncpg
import grpc
from flyteidl.service.admin_pb2_grpc import AdminServiceStub

from loadtests.installation import DOMAIN, PROJECT, database, installation
from loadtests.programs_of_launches import Admin, register
from wingbeatidl.launch.v1 import item_pb2, launch_pb2, outcome_pb2

PORTION = 1_000
"""Items in a call."""
CALLS_AT_ONCE = 3
_METHOD = "/wingbeatidl.launch.v1.LaunchService/Launch"
_TABLES = ("executions", "execution_search", "launch_keys")


async def measure_bulk(count: int) -> dict[str, object]:
    """Launch `count` executions and compare. Raises RuntimeError when not each was created exactly once."""
    folder = Path(tempfile.mkdtemp(prefix="wingbeat-bulk-"))
    environment = {"WINGBEAT_PROPELLER__COUNT": "0", "WINGBEAT_LAUNCH__NOT_BEGUN_MAX": "0"}
    try:
        with installation(folder / "data", environment) as endpoint:
            async with grpc.aio.insecure_channel(endpoint) as channel:
                await register(cast("Admin", AdminServiceStub(channel)))
                call = channel.unary_unary(
                    _METHOD,
                    request_serializer=launch_pb2.LaunchRequest.SerializeToString,
                    response_deserializer=launch_pb2.LaunchResponse.FromString,
                )
                launch = cast("Callable[[launch_pb2.LaunchRequest], Awaitable[launch_pb2.LaunchResponse]]", call)
                await _launch(launch, "warm", 2 * PORTION)
                bulk_s = await _launch(launch, "bulk", count)
            connection = await asyncpg.connect(database(folder / "data"))
            try:
                made = await connection.fetchval("SELECT count(*) FROM executions")
                if made != count + 2 * PORTION:
                    raise RuntimeError(f"{made} executions, not {count + 2 * PORTION}")
                copy_s = await _copy(connection) * count / made
            finally:
                await connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "bulk": count,
        "bulk_per_s": round(count / bulk_s, 1),
        "copy_per_s": round(count / copy_s, 1),
        "ratio": round(copy_s / bulk_s, 3),
    }


async def _launch(
    launch: Callable[[launch_pb2.LaunchRequest], Awaitable[launch_pb2.LaunchResponse]], prefix: str, count: int
) -> float:
    """Seconds for `count` items. Raises RuntimeError when one of them was not created."""
    gate = asyncio.Semaphore(CALLS_AT_ONCE)
    template = item_pb2.LaunchTemplate(target=item_pb2.Target(name="load.move", version="load"))

    async def portion(begin: int) -> None:
        async with gate:
            items = [
                item_pb2.LaunchItem(
                    idempotency_key=f"{prefix}-{number}", inputs=item_pb2.Inputs(json=f'{{"x": {number}}}')
                )
                for number in range(begin, min(begin + PORTION, count))
            ]
            answer = await launch(
                launch_pb2.LaunchRequest(project=PROJECT, domain=DOMAIN, template=template, items=items)
            )
            if any(outcome.status != outcome_pb2.LAUNCH_STATUS_CREATED for outcome in answer.outcomes):
                raise RuntimeError("an item was not created")

    began = time.perf_counter()
    await asyncio.gather(*(portion(begin) for begin in range(0, count, PORTION)))
    return time.perf_counter() - began


async def _copy(connection: asyncpg.Connection) -> float:
    """Seconds to copy in again what is in the tables."""
    copies: list[tuple[str, list[str], bytes]] = []
    for table in _TABLES:
        rows = await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped"
            " AND attgenerated = '' ORDER BY attnum",
            table,
        )
        columns = [row["attname"] for row in rows]
        data = io.BytesIO()
        names = ", ".join(f'"{column}"' for column in columns)
        await connection.copy_from_query(f"SELECT {names} FROM {table}", output=data, format="binary")
        copies.append((table, columns, data.getvalue()))
    await connection.execute(f"TRUNCATE {', '.join(_TABLES)} CASCADE")
    await connection.execute("CHECKPOINT")
    began = time.perf_counter()
    async with connection.transaction():
        for table, columns, data in copies:
            await connection.copy_to_table(table, columns=columns, source=io.BytesIO(data), format="binary")
    return time.perf_counter() - began
