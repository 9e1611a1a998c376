"""A Postgres of the measurement's own in a temporary folder, and the rows that a control plane would have written."""

import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import asyncpg
import psutil
from flyteidl.admin import matchable_resource_pb2
from flyteidl.core import compiler_pb2, literals_pb2

from loadtests.shapes import Shape, inputs_of
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.ids import shard_of
from wingbeat_propeller.core.values import INLINE_BYTES_MAX
from wingbeat_propeller.postgres.migrate import migrate

PROJECT = "flytesnacks"
DOMAIN = "development"


Executor: TypeAlias = "asyncpg.Pool | asyncpg.pool.PoolConnectionProxy"


@dataclass(frozen=True, slots=True)
class TemporaryDatabase:
    """A running server: where it answers, a folder for other files of the run, its main process."""

    dsn: str
    folder: Path
    pid: int

    def cpu_s(self) -> float:
        """Processor seconds of the server and of its backends that are alive."""
        server = psutil.Process(self.pid)
        times = [process.cpu_times() for process in (server, *server.children())]
        return sum(cpu.user + cpu.system for cpu in times)


@asynccontextmanager
async def temporary_database() -> AsyncGenerator[TemporaryDatabase]:
    """A migrated database (fsync on); it goes with the context."""
    folder = Path(tempfile.mkdtemp(prefix="wingbeat-load-"))
    server = EmbeddedPostgres(folder / "postgres")
    server.initialise()
    process = server.spawn()
    try:
        server.wait_ready(process)
        await migrate(server.dsn())
        yield TemporaryDatabase(server.dsn(), folder, process.pid)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


async def register_workflow(pool: asyncpg.Pool, closure: compiler_pb2.CompiledWorkflowClosure) -> int:
    """Store a compiled workflow; returns its row id."""
    workflow: int = await pool.fetchval(
        "INSERT INTO workflows (project, domain, name, version, digest, typed_interface, closure)"
        " VALUES ($1, $2, $3, '1', '', $4, $5) RETURNING id",
        PROJECT,
        DOMAIN,
        closure.primary.template.id.name,
        closure.primary.template.interface.SerializeToString(),
        closure.SerializeToString(),
    )
    return workflow


class StoredInputs(NamedTuple):
    """Inputs of executions as their rows have them: in the row, or where the blob store has them."""

    data: bytes | None
    uri: str | None = None


async def store_inputs(database: TemporaryDatabase, inputs: literals_pb2.LiteralMap) -> StoredInputs:
    """Large inputs go to the blob store, as the control plane has it."""
    data = inputs.SerializeToString()
    if len(data) <= INLINE_BYTES_MAX:
        return StoredInputs(data)
    blobs = FolderBlobs(database.folder / "blobs")
    uri = f"{blobs.base}/inputs.pb"
    await blobs.put(uri, data)
    return StoredInputs(None, uri)


async def insert_executions(
    pool: Executor, workflow: int, names: list[str], inputs: StoredInputs | None = None
) -> None:
    """Launch executions of a workflow in bulk, with input x = 7 unless told otherwise."""
    if inputs is None:
        inputs = StoredInputs(inputs_of(Shape.CHAIN, 1).SerializeToString())
    await pool.execute(
        "INSERT INTO executions"
        " (project, domain, name, shard, launch_entity, workflow_id, spec, config, inputs, inputs_uri)"
        " SELECT $1, $2, name, shard, 'launch_plan', $3, '', $4, $5, $8"
        " FROM unnest($6::text[], $7::smallint[]) AS launched (name, shard)",
        PROJECT,
        DOMAIN,
        workflow,
        matchable_resource_pb2.WorkflowExecutionConfig(max_parallelism=0).SerializeToString(),
        inputs.data,
        names,
        [shard_of(PROJECT, DOMAIN, name) for name in names],
        inputs.uri,
    )
    await pool.execute("ANALYZE executions")
