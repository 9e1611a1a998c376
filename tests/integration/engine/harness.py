"""A real engine over a real Postgres with the instant runtime, and workflows registered straight into the database."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict, Unpack

import asyncpg
from flyteidl.admin import matchable_resource_pb2
from flyteidl.core import (
    compiler_pb2,
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    tasks_pb2,
    types_pb2,
    workflow_pb2,
)

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.ids import shard_of
from wingbeat_propeller.core.retry import RetryPolicy
from wingbeat_propeller.engine.alone import NoChildren, NoSignals
from wingbeat_propeller.engine.engine import Engine
from wingbeat_propeller.engine.options import EngineOptions
from wingbeat_propeller.ports.cache import Cache
from wingbeat_propeller.ports.runtime import Places, Runtime
from wingbeat_propeller.ports.tasks import InstantRequest, TaskContext, TaskPlugin
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeat_propeller.postgres.journal import PostgresJournal
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeat_propeller.postgres.lines import PostgresLines
from wingbeat_propeller.postgres.slots import PostgresSlots
from wingbeat_propeller.tasks.registry import TaskPlugins


class InstantPlugin:
    """Tasks of type `instant` hand their inputs on as outputs (variable `x` becomes `o0`)."""

    task_types: Sequence[str] = ("instant",)

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """Yes: outputs are made of them."""
        return True

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> InstantRequest:
        """A request that has ended when it is launched."""
        literal = literals_pb2.Literal.FromString((inputs or {}).get("x", b""))
        return InstantRequest(context.name, literals_pb2.LiteralMap(literals={"o0": literal}).SerializeToString())


def identifier(kind: identifier_pb2.ResourceType, name: str) -> identifier_pb2.Identifier:
    """An id in the default project."""
    return identifier_pb2.Identifier(
        resource_type=kind, project="flytesnacks", domain="development", name=name, version="1"
    )


def chain(name: str, length: int) -> compiler_pb2.CompiledWorkflowClosure:
    """A compiled chain of `length` instant tasks from input `x` to output `o0`."""
    integer = types_pb2.LiteralType(simple=types_pb2.INTEGER)

    def variables(var: str) -> interface_pb2.VariableMap:
        return interface_pb2.VariableMap(variables={var: interface_pb2.Variable(type=integer)})

    interface = interface_pb2.TypedInterface(inputs=variables("x"), outputs=variables("o0"))
    task_id = identifier(identifier_pb2.TASK, f"{name}.task")
    task = tasks_pb2.TaskTemplate(id=task_id, type="instant", interface=interface)
    ids = [f"n{i}" for i in range(length)]
    previous = ["start-node", *ids]

    def bind(var: str, node: str) -> literals_pb2.Binding:
        source = "x" if node == "start-node" else "o0"
        promise = types_pb2.OutputReference(node_id=node, var=source)
        return literals_pb2.Binding(var=var, binding=literals_pb2.BindingData(promise=promise))

    nodes = [
        workflow_pb2.Node(id="start-node"),
        workflow_pb2.Node(id="end-node", inputs=[bind("o0", previous[-1])]),
        *(
            workflow_pb2.Node(
                id=node,
                metadata=workflow_pb2.NodeMetadata(name=node),
                inputs=[bind("x", upstream)],
                task_node=workflow_pb2.TaskNode(reference_id=task_id),
            )
            for node, upstream in zip(ids, previous, strict=False)
        ),
    ]
    template = workflow_pb2.WorkflowTemplate(
        id=identifier(identifier_pb2.WORKFLOW, name),
        interface=interface,
        nodes=nodes,
        outputs=[bind("o0", previous[-1])],
    )
    downstream = {
        upstream: compiler_pb2.ConnectionSet.IdList(ids=[node])
        for upstream, node in zip(previous, [*ids, "end-node"], strict=True)
    }
    return compiler_pb2.CompiledWorkflowClosure(
        primary=compiler_pb2.CompiledWorkflow(
            template=template, connections=compiler_pb2.ConnectionSet(downstream=downstream)
        ),
        tasks=[compiler_pb2.CompiledTask(template=task)],
    )


async def register(pool: asyncpg.Pool, closure: compiler_pb2.CompiledWorkflowClosure) -> int:
    """Store a compiled workflow; returns its row id."""
    return await pool.fetchval(
        "INSERT INTO workflows (project, domain, name, version, digest, typed_interface, closure)"
        " VALUES ('flytesnacks', 'development', $1, '1', '', '', $2) RETURNING id",
        closure.primary.template.id.name,
        closure.SerializeToString(),
    )


async def launch(
    pool: asyncpg.Pool, workflow_id: int, names: Sequence[str], value: int = 7, domain: str = "development"
) -> None:
    """Insert new executions and wake the engine, as the API does."""
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))
    inputs = literals_pb2.LiteralMap(literals={"x": literal}).SerializeToString()
    config = matchable_resource_pb2.WorkflowExecutionConfig(max_parallelism=25).SerializeToString()
    async with pool.acquire() as connection, connection.transaction():
        await connection.executemany(
            "INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config, inputs)"
            " VALUES ('flytesnacks', $1, $2, $3, 'launch_plan', $4, '', $5, $6)",
            [(domain, name, shard_of("flytesnacks", domain, name), workflow_id, config, inputs) for name in names],
        )
        told = await connection.fetch("SELECT shard, id FROM executions WHERE name = ANY($1) ORDER BY id", names)
        payload = " ".join(f"{row['shard']}:{row['id']}" for row in told) if len(told) <= 100 else ""
        await connection.execute("SELECT pg_notify('wingbeat_new', $1)", payload)


def make_engine(
    pool: asyncpg.Pool,
    dsn: str,
    folder: Path,
    runtime: Runtime,
    *,
    name: str = "test",
    lease_s: float = 60.0,  # no busy machine may take it
    plugin: TaskPlugin | None = None,
    retry: RetryPolicy | None = None,
    answer_host: str = "",
    live_max: int = 20_000,
    tenant_live_min: int = 100,
    places: Places | None = None,
    cache: Cache | None = None,
) -> Engine:
    """An engine over all that is real but the runtime. `plugin` builds the requests of all tasks."""
    blobs = FolderBlobs(folder)
    return Engine(
        EngineOptions(
            name=name,
            lease_s=lease_s,
            retry=retry or RetryPolicy(),
            answer_host=answer_host,
            live_max=live_max,
            tenant_live_min=tenant_live_min,
        ),
        leases=PostgresLeases(pool),
        journal=lambda term, rejected: PostgresJournal(dsn, term=term, blobs=blobs, rejected=rejected),
        store=PostgresExecutionStore(pool, dsn),
        blobs=blobs,
        runtime=runtime,
        plugins=TaskPlugins([], plugin or InstantPlugin()),
        slots=PostgresSlots(pool),
        places=places,
        cache=cache,
        signals=NoSignals(),
        children=NoChildren(),
        lines=PostgresLines(pool),
    )


class EngineSettings(TypedDict, total=False):
    """What `make_engine` can be told."""

    name: str
    lease_s: float
    plugin: TaskPlugin | None
    retry: RetryPolicy | None
    answer_host: str
    live_max: int
    tenant_live_min: int
    places: Places | None
    cache: Cache | None


@asynccontextmanager
async def engine(
    pool: asyncpg.Pool, dsn: str, folder: Path, runtime: Runtime, **settings: Unpack[EngineSettings]
) -> AsyncIterator[Engine]:
    """A running engine; leaving the block drains it."""
    made = make_engine(pool, dsn, folder, runtime, **settings)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.wait([running])


async def wait_ended(
    pool: asyncpg.Pool, count: int, timeout_s: float = 120.0, *, meanwhile: Callable[[], object] = lambda: None
) -> Mapping[int, int]:
    """Wait until `count` executions have ended; returns how many ended in which phase. `meanwhile` is called as often
    as it looks."""
    deadline = time.monotonic() + timeout_s
    while True:
        rows = await pool.fetch("SELECT phase, count(*) AS n FROM executions WHERE ended_at IS NOT NULL GROUP BY phase")
        phases = {row["phase"]: row["n"] for row in rows}
        if sum(phases.values()) >= count:
            return phases
        if time.monotonic() > deadline:
            raise AssertionError(f"only {phases} of {count} ended")
        meanwhile()
        await asyncio.sleep(0.02)
