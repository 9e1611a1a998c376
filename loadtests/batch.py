"""Batches of instant executions, from manifest to the last result.

    python -m loadtests.batch [--rows 100000]

Starts `wingbeat up` on a temporary folder and runs two batches of JSON Lines, of a quarter of the rows and of all of
them; an execution is three `echo` nodes. The second is paused and resumed once in its first half. Each row must have
been launched once, and have one result.

    rows_per_s   rows of the second batch from its creation to its end, the pause left out
    small_rows_per_s, linear   the same of the first one, and the second by the first: 1 is linear cost
    pause_s      from the call of PauseBatch until nothing more was launched
    count_ms     GetBatch on the ended batch, which does not depend on its rows
"""

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, cast

import asyncpg
import grpc
from flyteidl.service.admin_pb2_grpc import AdminServiceStub
from google.protobuf.message import Message

from loadtests.installation import DOMAIN, PROJECT, database, installation
from loadtests.programs_of_launches import Admin, register
from wingbeatidl.batch.v1 import batch_pb2, manifest_pb2
from wingbeatidl.launch.v1 import item_pb2

_ALIVE_MAX = 2_000
_POLL_S = 0.1
_END_S_MAX = 3600.0

A = TypeVar("A", bound=Message)


class _Batches:
    """The rpcs that are used, with types."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def _call(self, method: str, request: Message, answer: type[A]) -> A:
        call = self._channel.unary_unary(
            f"/wingbeatidl.batch.v1.BatchService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return await cast("Callable[[Message], Awaitable[A]]", call)(request)

    async def create(self, name: str, uri: str) -> None:
        """Make a batch."""
        template = item_pb2.LaunchTemplate(target=item_pb2.Target(name="load.move", version="load"))
        request = batch_pb2.CreateBatchRequest(
            id=_identifier(name),
            spec=batch_pb2.BatchSpec(template=template, alive_max=_ALIVE_MAX),
            manifest=manifest_pb2.Manifest(uri=uri),
        )
        await self._call("CreateBatch", request, batch_pb2.CreateBatchResponse)

    async def get(self, name: str) -> batch_pb2.Batch:
        """How it stands."""
        request = batch_pb2.GetBatchRequest(id=_identifier(name))
        return (await self._call("GetBatch", request, batch_pb2.GetBatchResponse)).batch

    async def pause(self, name: str) -> None:
        """Launch no more."""
        request = batch_pb2.PauseBatchRequest(id=_identifier(name))
        await self._call("PauseBatch", request, batch_pb2.PauseBatchResponse)

    async def resume(self, name: str) -> None:
        """Launch on."""
        request = batch_pb2.ResumeBatchRequest(id=_identifier(name))
        await self._call("ResumeBatch", request, batch_pb2.ResumeBatchResponse)

    async def until(self, name: str, done: Callable[[batch_pb2.Batch], bool]) -> batch_pb2.Batch:
        """Look until it stands so. Raises RuntimeError."""
        deadline = time.perf_counter() + _END_S_MAX
        while time.perf_counter() < deadline:
            batch = await self.get(name)
            if done(batch):
                return batch
            await asyncio.sleep(_POLL_S)
        raise RuntimeError(f"batch {name} does not end")


async def measure(rows: int) -> dict[str, object]:
    """Run both batches. Raises RuntimeError when a row was not launched once, or has not one result."""
    folder = Path(tempfile.mkdtemp(prefix="wingbeat-batch-"))
    try:
        with installation(folder / "data") as endpoint:
            async with grpc.aio.insecure_channel(endpoint) as channel:
                await register(cast("Admin", AdminServiceStub(channel)))
                connection = await asyncpg.connect(database(folder / "data"))
                try:
                    batches = _Batches(channel)
                    small_s, _ = await _run(batches, connection, folder, "small", rows // 4, paused=False)
                    seconds, pause_s = await _run(batches, connection, folder, "large", rows, paused=True)
                    began = time.perf_counter()
                    await batches.get("large")
                    count_s = time.perf_counter() - began
                finally:
                    await connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    small_per_s, per_s = rows // 4 / small_s, rows / seconds
    return {
        "rows": rows,
        "rows_per_s": round(per_s, 1),
        "small_rows_per_s": round(small_per_s, 1),
        "linear": round(per_s / small_per_s, 3),
        "pause_s": round(pause_s, 3),
        "count_ms": round(count_s * 1000, 2),
    }


async def _run(
    batches: _Batches, connection: asyncpg.Connection, folder: Path, name: str, rows: int, *, paused: bool
) -> tuple[float, float]:
    """Seconds that a batch took without its pause, and until the pause was obeyed. Raises RuntimeError."""
    path = folder / "data" / "blobs" / f"{name}.jsonl"
    path.write_text("".join(f'{{"x": {number}}}\n' for number in range(rows)))
    began = time.perf_counter()
    await batches.create(name, str(path.resolve()))
    rested_s = pause_s = 0.0
    if paused:
        await batches.until(name, lambda batch: batch.counts.succeeded > rows // 10)
        called = time.perf_counter()
        asked_at = await connection.fetchval("SELECT clock_timestamp()")
        await batches.pause(name)
        rest = time.perf_counter()
        await batches.until(name, lambda batch: batch.counts.queued == batch.counts.running == 0)
        last = await connection.fetchval("SELECT max(created_at) FROM executions WHERE batch_id IS NOT NULL")
        pause_s = max(0.0, (last - asked_at).total_seconds())
        await batches.resume(name)
        rested_s = time.perf_counter() - rest
        if pause_s > rest - called:
            raise RuntimeError("something was launched after the pause had been answered")
    ended = (batch_pb2.BATCH_STATE_COMPLETED, batch_pb2.BATCH_STATE_FAILED)
    batch = await batches.until(name, lambda batch: batch.state in ended)
    seconds = time.perf_counter() - began - rested_s
    if batch.counts.succeeded != rows or batch.results_written != rows:
        raise RuntimeError(f"{name} of {rows} rows: {batch.message} {batch.counts} {batch.results_written}")
    launched = await connection.fetchval(
        "SELECT count(*) FROM executions AS e JOIN batches AS b ON b.id = e.batch_id WHERE b.name = $1", name
    )
    if launched != rows:
        raise RuntimeError(f"{launched} executions for {rows} rows")
    return seconds, pause_s


def _identifier(name: str) -> batch_pb2.BatchIdentifier:
    return batch_pb2.BatchIdentifier(project=PROJECT, domain=DOMAIN, name=name)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.batch", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    print(json.dumps(asyncio.run(measure(parser.parse_args().rows))))


if __name__ == "__main__":
    main()
