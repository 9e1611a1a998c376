"""BatchService over gRPC, a real Postgres and a folder store; executions are ended in the engine's place."""

import asyncio
import io
import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.integration.executions import entities
from tests.integration.launching.conftest import OPTIONS, Client, violated_fields

from wingbeat_controlplane.batches.batches import Batches
from wingbeat_controlplane.batches.driver import Driving
from wingbeat_controlplane.batches.keeper import BatchKeeper
from wingbeat_controlplane.batches.options import BatchOptions
from wingbeat_controlplane.batches.uploads import Uploads
from wingbeat_controlplane.executions.parts import Executions
from wingbeat_controlplane.launching.back_pressure import BackPressure
from wingbeat_controlplane.launching.bulk import BulkLauncher
from wingbeat_controlplane.launching.target_versions import TargetVersions
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.services.batch import BatchServicer
from wingbeat_controlplane.services.rpcs import rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.batch.v1 import batch_pb2, batch_pb2_grpc, manifest_pb2
from wingbeatidl.launch.v1 import item_pb2

PACKAGE = "wingbeat_controlplane.batches"
LAUNCHING = "wingbeat_controlplane.launching"
TEMPLATE = item_pb2.LaunchTemplate(target=item_pb2.Target(name="lp", version="v1"))
ENDED = (batch_pb2.BATCH_STATE_COMPLETED, batch_pb2.BATCH_STATE_ABORTED, batch_pb2.BATCH_STATE_FAILED)


@pytest.mark.parametrize(
    ("package", "file"),
    [
        (package, file.name)
        for package in (PACKAGE, LAUNCHING)
        for file in files(package).iterdir()
        if ".sql" in file.name
    ],
)
async def test_every_statement_prepares(pool: asyncpg.Pool, package: str, file: str) -> None:
    """Each named block is one that the migrated schema can plan, and stands in a module."""
    source = "".join(each.read_text() for each in files(package).iterdir() if each.name.endswith(".py"))
    async with pool.acquire() as connection:
        for name, statement in load_queries(package, file).items():
            await connection.prepare(statement)
            assert f'"{name}"' in source


@dataclass
class World:
    """A service with one keeper, and what stands in for the engine."""

    pool: asyncpg.Pool
    blobs: FolderBlobs
    stub: batch_pb2_grpc.BatchServiceStub
    new_keeper: Callable[[], BatchKeeper]
    fails: Callable[[int], bool] = field(default=lambda _: False)
    ends: bool = True
    outputs: bytes = field(default_factory=lambda: entities.literals(text="out").SerializeToString())

    def identifier(self, name: str = "b") -> batch_pb2.BatchIdentifier:
        """A batch of these tests."""
        return batch_pb2.BatchIdentifier(project=entities.PROJECT, domain=entities.DOMAIN, name=name)

    async def create(
        self, name: str, data: bytes, *, suffix: str = "jsonl", manifest: dict[str, Any] | None = None, **spec: Any
    ) -> batch_pb2.Batch:
        """Put a manifest and make a batch of it."""
        uri = f"{self.blobs.base}/in/{name}.{suffix}"
        await self.blobs.put(uri, data)
        request = batch_pb2.CreateBatchRequest(
            id=self.identifier(name),
            spec=batch_pb2.BatchSpec(template=TEMPLATE, **spec),
            manifest=manifest_pb2.Manifest(uri=uri, **(manifest or {})),
        )
        return (await self.stub.CreateBatch(request)).batch

    async def get(self, name: str = "b") -> batch_pb2.Batch:
        """How it stands."""
        return (await self.stub.GetBatch(batch_pb2.GetBatchRequest(id=self.identifier(name)))).batch

    async def until(self, done: Callable[[batch_pb2.Batch], bool], name: str = "b") -> batch_pb2.Batch:
        """Look until it stands so; counts add up at every look."""
        async with asyncio.timeout(120):
            while True:
                batch = await self.get(name)
                counts = batch.counts
                parts = (
                    counts.pending, counts.queued, counts.running, counts.succeeded, counts.failed,
                    counts.timed_out, counts.aborted, counts.refused,
                )  # fmt: skip
                if batch.counts.total and batch.manifest.sha256:
                    assert sum(parts) == counts.total, str(counts)
                if done(batch):
                    return batch
                await asyncio.sleep(0.02)

    async def ended(self, name: str = "b") -> batch_pb2.Batch:
        """Look until it has ended."""
        return await self.until(lambda batch: batch.state in ENDED, name)

    async def results(self, name: str = "b", skip: int = 0) -> list[dict[str, Any]]:
        """Every result."""
        request = batch_pb2.GetBatchResultsRequest(id=self.identifier(name), skip=skip)
        return [json.loads(line) async for answer in self.stub.GetBatchResults(request) for line in answer.lines]

    async def engine(self) -> None:
        """End what is there, as fast as it comes, and what is to be aborted."""
        while True:
            await asyncio.sleep(0.02)
            rows = await self.pool.fetch(
                "SELECT id, batch_row, abort_requested_at FROM executions WHERE ended_at IS NULL ORDER BY id"
            )
            for row in rows:
                if row["abort_requested_at"] is not None:
                    await self._end(row["id"], 7, None, None)
                elif self.ends and row["batch_row"] is not None:
                    failed = self.fails(row["batch_row"])
                    error = entities.error("no luck") if failed else None
                    await self._end(row["id"], 6 if failed else 4, None if failed else self.outputs, error)

    async def _end(self, key: int, phase: int, outputs: bytes | None, error: bytes | None) -> None:
        await self.pool.execute(
            "UPDATE executions SET phase = $2, outputs = $3, error = $4, ended_at = now() WHERE id = $1",
            key,
            phase,
            outputs,
            error,
        )

    async def launched(self) -> Sequence[tuple[int, int]]:
        """Row and attempt of every execution."""
        rows = await self.pool.fetch("SELECT batch_row, batch_attempt FROM executions ORDER BY 1, 2")
        return [(row["batch_row"], row["batch_attempt"]) for row in rows]


@asynccontextmanager
async def _running(*works: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def options() -> BatchOptions:
    """Short times."""
    return BatchOptions(lease_s=1.0, tick_s=0.02, flush_s=0.1)


@pytest.fixture
async def world(
    pool: asyncpg.Pool,
    blobs: FolderBlobs,
    executions: Executions,
    bulk: BulkLauncher,
    client: Client,
    options: BatchOptions,
) -> AsyncIterator[World]:
    """A running service."""
    batches = Batches(pool, blobs, ProjectStore(pool, RegistryOptions()), TargetVersions(pool), bulk)
    driving = Driving(pool, blobs, bulk, executions.launcher, BackPressure(pool, 100_000), options)
    keeper = BatchKeeper(driving)
    servicer = BatchServicer(batches, Uploads(blobs, batches, size_max=1 << 20), keeper.wake, lambda _: "")
    server = GrpcServer(rpcs_of(batch_pb2.DESCRIPTOR.services_by_name["BatchService"], servicer), GrpcOptions())
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
            world = World(pool, blobs, batch_pb2_grpc.BatchServiceStub(channel), lambda: BatchKeeper(driving))
            async with _running(keeper.run(), world.engine()):
                yield world
    finally:
        await server.stop(0)


def _lines(count: int) -> bytes:
    return b"".join(
        json.dumps({"text": f"t{number}", "@key": f"k{number}"}).encode() + b"\n" for number in range(count)
    )


async def test_a_manifest_of_json_lines(world: World) -> None:
    """Each row is one execution with its inputs, labels and priority; results have key, phase and outputs."""
    data = b'{"text": "a", "@key": "first", "@labels": {"x": "1"}, "@priority": 5}\n\n{"text": "b", "count": 4}\n'
    await world.create("b", data)
    batch = await world.ended()
    assert (batch.state, batch.counts.total, batch.counts.succeeded) == (batch_pb2.BATCH_STATE_COMPLETED, 2, 2)
    assert batch.manifest.size == len(data)
    one, other = sorted(await world.results(), key=lambda result: result["row"])
    assert (one["key"], one["line"], one["phase"], one["outputs"]) == ("first", 1, "SUCCEEDED", {"text": "out"})
    assert (other["key"], other["line"], other["attempt"], other["error"]) == ("1", 3, 0, None)
    rows = await world.pool.fetch("SELECT name, priority, batch_row FROM executions ORDER BY id")
    assert [(row["priority"], row["batch_row"]) for row in rows] == [(5, 0), (0, 1)]
    assert one["execution"]["name"] == rows[0]["name"]
    assert await world.pool.fetchval("SELECT value FROM execution_tags WHERE key = 'x'") == "1"
    index = json.loads(await world.blobs.get(f"{batch.results_uri}/index.json"))
    assert index["counts"]["succeeded"] == sum(part["results"] for part in index["parts"]) == 2
    listed = await world.stub.ListBatchRows(batch_pb2.ListBatchRowsRequest(id=world.identifier(), page_size=1))
    assert (listed.rows[0].key, listed.rows[0].line) == ("first", 1)
    following = await world.stub.ListBatchRows(
        batch_pb2.ListBatchRowsRequest(id=world.identifier(), page_size=2, page_token=listed.next_page_token)
    )
    assert [row.number for row in following.rows] == [1]


async def test_csv_and_parquet(world: World, tmp_path: Path) -> None:
    """The same rows in other formats come to the same inputs."""
    await world.create("c", b'id,text,count\nr1,"a\nb",7\nr2,,\n', suffix="csv", manifest={"key_column": "id"})
    table = pa.table({"id": ["r1", "r2"], "text": ["a\nb", ""], "count": [7, None]})
    pq.write_table(table, tmp_path / "m.parquet", row_group_size=1)
    data = (tmp_path / "m.parquet").read_bytes()
    await world.create("p", data, suffix="parquet", manifest={"key_column": "id"})
    for name in ("c", "p"):
        batch = await world.ended(name)
        assert (batch.counts.succeeded, batch.counts.total) == (2, 2)
        assert {result["key"] for result in await world.results(name)} == {"r1", "r2"}
    inputs = await world.pool.fetch("SELECT inputs FROM executions ORDER BY batch_id, batch_row")
    expected = [entities.literals(text="a\nb", count=7), entities.literals(text="", count=3)]
    assert [entities.literals().FromString(row["inputs"]) for row in inputs] == expected * 2


async def test_an_upload(world: World) -> None:
    """Rows that were sent here run like those of a manifest; the same call finds its batch, another one is refused."""

    async def rows(text: str) -> AsyncIterator[batch_pb2.UploadBatchRequest]:
        yield batch_pb2.UploadBatchRequest(id=world.identifier(), spec=batch_pb2.BatchSpec(template=TEMPLATE))
        for number in range(3):
            item = item_pb2.LaunchItem(
                idempotency_key=f"k{number}",
                inputs=item_pb2.Inputs(literals=entities.literals(text=text).SerializeToString()),
            )
            yield batch_pb2.UploadBatchRequest(rows=[item, item])

    first = (await world.stub.UploadBatch(rows("x"))).batch
    again = (await world.stub.UploadBatch(rows("x"))).batch
    assert first.id == again.id
    assert first.manifest.uri == again.manifest.uri
    with pytest.raises(grpc.aio.AioRpcError, match="another specification"):
        await world.stub.UploadBatch(rows("y"))
    written = await world.blobs.list(f"{world.blobs.base}/metadata/batches")
    assert len([uri for uri in written if "/manifest/" in uri]) == 1
    batch = await world.ended()
    assert batch.counts.succeeded == 6
    assert sorted(result["key"] for result in await world.results()) == ["k0", "k0", "k1", "k1", "k2", "k2"]
    with pytest.raises(grpc.aio.AioRpcError, match="more than the 1048576 bytes"):
        await world.stub.UploadBatch(_endless(world))


async def _endless(world: World) -> AsyncIterator[batch_pb2.UploadBatchRequest]:
    yield batch_pb2.UploadBatchRequest(id=world.identifier("big"), spec=batch_pb2.BatchSpec(template=TEMPLATE))
    for _ in range(100):
        yield batch_pb2.UploadBatchRequest(rows=[item_pb2.LaunchItem(inputs=item_pb2.Inputs(json="x" * 20_000))])


async def test_a_broken_row(world: World) -> None:
    """It fails the batch before anything is launched and names the line, or is refused by itself if that is wanted."""
    lines = _lines(2000).splitlines(keepends=True)
    lines[1234] = b'{"text": \n'
    await world.create("b", b"".join(lines))
    batch = await world.ended()
    assert batch.state == batch_pb2.BATCH_STATE_FAILED
    assert "line 1235 is no JSON" in batch.message
    assert await world.launched() == []
    await world.create("c", b"".join(lines), broken_rows=batch_pb2.BROKEN_ROWS_REFUSE_ROW)
    batch = await world.ended("c")
    assert (batch.counts.succeeded, batch.counts.refused) == (1999, 1)
    [refused] = [result for result in await world.results("c") if result["phase"] == "REFUSED"]
    assert (refused["row"], refused["line"], refused["execution"]) == (1234, 1235, None)
    assert "line 1235" in refused["error"]


async def test_large_results(world: World) -> None:
    """Results come in messages that a client with usual limits takes, however large the outputs are."""
    world.outputs = entities.literals(text="x" * 60_000).SerializeToString()
    await world.create("b", _lines(200))
    await world.ended()
    request = batch_pb2.GetBatchResultsRequest(id=world.identifier())
    answers = [answer async for answer in world.stub.GetBatchResults(request)]
    assert [json.loads(line)["row"] for answer in answers for line in answer.lines] == list(range(200))
    assert max(answer.ByteSize() for answer in answers) < 2 << 20


async def test_rows_that_cannot_be_launched(world: World) -> None:
    """They are refused one by one, with the reason; a retry of refusals tries again."""
    data = b'{"text": "a"}\n{"text": 5}\n{"text": "c", "@nmae": "x"}\n{"text": "d", "@name": "n"}\n'
    data += b'{"text": "e", "@name": "n"}\n'
    await world.create("b", data)
    batch = await world.ended()
    assert (batch.counts.succeeded, batch.counts.refused) == (2, 3)
    errors = {result["row"]: result["error"] for result in await world.results() if result["error"]}
    assert "inputs.text" in errors[1]
    assert "@nmae" in errors[2]
    assert "already exists" in errors[4]
    retried = await world.stub.RetryBatch(
        batch_pb2.RetryBatchRequest(id=world.identifier(), phases=["ROW_PHASE_REFUSED"])
    )
    assert retried.rows == 3
    batch = await world.ended()
    assert (batch.counts.succeeded, batch.counts.refused) == (3, 2)
    assert await world.launched() == [(0, 0), (3, 0), (4, 1)]


async def test_rows_that_cannot_be_stored_as_they_are(world: World) -> None:
    """A NUL, in whatever a row says, is that row's own trouble, and so is a value that is nested without end."""
    says: list[dict[str, Any]] = [
        {"text": "a\0"},
        {"te\0xt": "a"},
        {"@\0": 1},
        {"text": "a", "@key": "k\0"},
        {"text": "a", "@name": "n\0"},
        {"text": "a", "@labels": {"l\0": "v"}},
        {"text": "a", "@labels": {"l": "v\0"}},
        {"text": "a", "@annotations": {"l": "v\0"}},
        {"text": "a", "@priority": "\0"},
        {"text": {"a\0": []}},
        {"text": "x" * 5_000, "@name": "n" * 5_000},
    ]
    lines = [json.dumps(row) for row in says] + ['{"text": ' + "[" * 300 + "]" * 300 + "}", '{"text": "good"}']
    await world.create("b", "\n".join(lines).encode())
    batch = await world.ended()
    assert batch.counts.succeeded + batch.counts.refused == len(lines)
    phases = {result["row"]: result["phase"] for result in await world.results()}
    assert (phases[len(lines) - 1], phases[len(lines) - 2]) == ("SUCCEEDED", "REFUSED")
    item = item_pb2.LaunchItem(idempotency_key="k\0", inputs=item_pb2.Inputs(json='{"text": "a"}'))
    parts = [
        batch_pb2.UploadBatchRequest(id=world.identifier("c"), spec=batch_pb2.BatchSpec(template=TEMPLATE)),
        batch_pb2.UploadBatchRequest(rows=[item]),
    ]
    await world.stub.UploadBatch(iter(parts))
    assert (await world.ended("c")).counts.succeeded == 1
    assert [result["key"] for result in await world.results("c")] == ["k"]


async def test_results_of_any_text(world: World) -> None:
    """A result is one line, whatever characters there are in it that some call ends of lines; others show something."""
    world.outputs = entities.literals(text="a\u2028b\x85c\x0bd").SerializeToString()
    await world.create("b", _lines(3))
    await world.ended()
    results = await world.results()
    assert [result["outputs"] for result in results] == [{"text": "a\u2028b\x85c\x0bd"}] * 3
    assert await world.results(skip=1) == results[1:]


async def test_pause_resume_and_number_alive(world: World) -> None:
    """No more are alive than may be; after a pause has answered nothing is launched until it is resumed."""
    world.ends = False
    await world.create("b", _lines(100), alive_max=7)
    await world.until(lambda batch: batch.counts.queued == 7)
    paused = (await world.stub.PauseBatch(batch_pb2.PauseBatchRequest(id=world.identifier()))).batch
    assert paused.state == batch_pb2.BATCH_STATE_PAUSED
    world.ends = True
    batch = await world.until(lambda batch: batch.results_written == 7)
    assert (batch.counts.pending, batch.counts.succeeded) == (93, 7)
    listed = await world.stub.ListBatches(
        batch_pb2.ListBatchesRequest(project=entities.PROJECT, states=[batch_pb2.BATCH_STATE_PAUSED])
    )
    assert [one.id.name for one in listed.batches] == ["b"]
    await world.stub.ResumeBatch(batch_pb2.ResumeBatchRequest(id=world.identifier()))
    batch = await world.ended()
    assert batch.counts.succeeded == 100
    with pytest.raises(grpc.aio.AioRpcError, match="is completed") as raised:
        await world.stub.PauseBatch(batch_pb2.PauseBatchRequest(id=world.identifier()))
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_abort(world: World) -> None:
    """What is alive is aborted with the cause, what was not launched never is."""
    world.ends = False
    await world.create("b", _lines(50), alive_max=5)
    await world.until(lambda batch: batch.counts.queued == 5)
    await world.stub.AbortBatch(batch_pb2.AbortBatchRequest(id=world.identifier(), cause="enough"))
    batch = await world.ended()
    assert (batch.state, batch.counts.aborted, batch.counts.pending) == (batch_pb2.BATCH_STATE_ABORTED, 5, 45)
    assert {row["abort_cause"] for row in await world.pool.fetch("SELECT abort_cause FROM executions")} == {"enough"}
    assert {result["phase"] for result in await world.results()} == {"ABORTED"}
    await world.stub.AbortBatch(batch_pb2.AbortBatchRequest(id=world.identifier()))


async def test_retry(world: World) -> None:
    """Failed rows run again as new executions; results tell the attempts apart."""
    world.fails = lambda row: row % 10 == 3
    await world.create("b", _lines(100))
    batch = await world.ended()
    assert (batch.counts.succeeded, batch.counts.failed) == (90, 10)
    assert {result["error"] for result in await world.results() if result["phase"] == "FAILED"} == {"no luck"}
    world.fails = lambda row: row == 13
    retried = await world.stub.RetryBatch(batch_pb2.RetryBatchRequest(id=world.identifier()))
    assert (retried.rows, retried.batch.state) == (10, batch_pb2.BATCH_STATE_RUNNING)
    batch = await world.ended()
    assert (batch.counts.succeeded, batch.counts.failed, batch.results_written) == (99, 1, 110)
    last = {result["row"]: result for result in await world.results()}
    assert (last[13]["attempt"], last[13]["phase"], last[23]["phase"]) == (1, "FAILED", "SUCCEEDED")
    assert len(await world.results(skip=100)) == 10
    inputs = await world.pool.fetchval("SELECT inputs FROM executions WHERE batch_row = 23 AND batch_attempt = 1")
    assert entities.literals().FromString(inputs).literals["text"].scalar.primitive.string_value == "t23"


async def test_a_retry_right_after_the_end(world: World) -> None:
    """The driver that has ended the batch leaves no lease behind that whoever goes on would have to wait for."""
    world.fails = lambda _: True
    await world.create("b", _lines(2))
    await world.ended()
    assert await world.pool.fetchval("SELECT leased_until = '-infinity' FROM batches")
    world.fails = lambda _: False
    await world.stub.RetryBatch(batch_pb2.RetryBatchRequest(id=world.identifier()))
    assert (await world.ended()).counts.succeeded == 2


async def test_a_batch_that_nobody_can_drive(world: World) -> None:
    """A fault of ours ends the batch after a few tries, and no other one."""
    await world.create("broken", _lines(1))
    await world.pool.execute(
        "UPDATE batches SET spec = '\\xff', state = 2, paused = false, term = term + 1, ended_at = NULL,"
        " leased_until = '-infinity' WHERE name = 'broken'"
    )
    async with asyncio.timeout(60):
        while not (message := await world.pool.fetchval("SELECT message FROM batches WHERE state = 7")):
            await asyncio.sleep(0.05)
    assert message.startswith("internal error ")
    await world.create("b", _lines(3))
    assert (await world.ended()).counts.succeeded == 3


async def test_a_damaged_manifest(world: World) -> None:
    """A Parquet file that is damaged in the middle ends the batch, which says where."""
    table = pa.table({"text": [f"t{number}" for number in range(3000)]})
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=1000)
    data = bytearray(file.getvalue())
    begin = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(0).dictionary_page_offset
    data[begin : begin + 400] = b"\xff" * 400
    await world.create("b", bytes(data), suffix="parquet")
    batch = await world.ended()
    assert batch.state == batch_pb2.BATCH_STATE_FAILED
    assert "row 1001 or one of the next is damaged" in batch.message
    assert await world.launched() == []


async def test_rows_that_are_large(world: World) -> None:
    """A portion ends where its bytes are enough."""
    data = b"".join(json.dumps({"text": "x" * (3 << 20), "@key": str(number)}).encode() + b"\n" for number in range(7))
    world.ends = False
    await world.create("b", data)
    await world.until(lambda batch: batch.counts.queued == 7)
    portions = await world.pool.fetch("SELECT count(*) FROM batch_rows GROUP BY xmin ORDER BY min(row)")
    assert [row["count"] for row in portions] == [3, 3, 1]


async def test_a_bounded_rate(world: World) -> None:
    """No more are launched than the rate allows since the batch began."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await world.create("b", _lines(60), rate_per_s=40)
    batch = await world.ended()
    assert batch.counts.succeeded == 60
    assert loop.time() - began > 60 / 40 - 1.1  # a second's worth may come at once


async def test_bad_requests(world: World) -> None:
    """Unknown manifests, targets, batches and formats are errors of the call, and make no batch."""
    with pytest.raises(grpc.aio.AioRpcError, match="none is named"):
        await world.create("b", b"", suffix="txt")
    for uri, code in (("/etc/passwd.csv", grpc.StatusCode.INVALID_ARGUMENT), ("", grpc.StatusCode.INVALID_ARGUMENT)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await world.stub.CreateBatch(
                batch_pb2.CreateBatchRequest(
                    id=world.identifier(), spec=batch_pb2.BatchSpec(template=TEMPLATE), manifest={"uri": uri}
                )
            )
        assert raised.value.code() is code
    with pytest.raises(grpc.aio.AioRpcError, match="there is no launch plan"):
        await world.stub.CreateBatch(
            batch_pb2.CreateBatchRequest(
                id=world.identifier(),
                spec=batch_pb2.BatchSpec(template=item_pb2.LaunchTemplate(target=item_pb2.Target(name="none"))),
                manifest={"uri": (await world.create("ok", b"")).manifest.uri},
            )
        )
    for spec in ({"rate_per_s": math.inf}, {"rate_per_s": math.nan}, {"rate_per_s": -1}, {"alive_max": -1}):
        with pytest.raises(grpc.aio.AioRpcError, match="is expected") as raised:
            await world.create("b", b"", **spec)
        assert [next(iter(spec))] == [field.removeprefix("spec.") for field in violated_fields(raised.value)]
    for call in (
        world.stub.ListBatches(batch_pb2.ListBatchesRequest(project=entities.PROJECT, states=[100_000])),
        world.stub.ListBatchRows(batch_pb2.ListBatchRowsRequest(id=world.identifier("ok"), phases=[100_000])),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="there is no such") as raised:
            await call
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await world.get("other")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    long = batch_pb2.BatchIdentifier(project="p" * 100_000, domain=entities.DOMAIN)
    with pytest.raises(grpc.aio.AioRpcError, match="failed to validate") as raised:
        await world.stub.CreateBatch(batch_pb2.CreateBatchRequest(id=long, spec=batch_pb2.BatchSpec(template=TEMPLATE)))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (await world.ended("ok")).state == batch_pb2.BATCH_STATE_COMPLETED
    await world.create("q", b"not parquet", suffix="parquet")
    assert "no Parquet file" in (await world.ended("q")).message


async def test_drivers_that_die(world: World) -> None:
    """Drivers are cut off wherever they are, fifteen times, with others taking over: each row is launched once, and has
    one result."""
    await world.create("b", _lines(1500), alive_max=300)
    for number in range(15):
        keeper = asyncio.create_task(world.new_keeper().run())
        await world.pool.execute("UPDATE batches SET leased_until = '-infinity'")
        await asyncio.sleep(0.01 * (number * 7 % 13))
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
    batch = await world.ended()
    assert (batch.counts.succeeded, batch.results_written) == (1500, 1500)
    assert await world.launched() == [(row, 0) for row in range(1500)]
    assert sorted(result["row"] for result in await world.results()) == list(range(1500))
