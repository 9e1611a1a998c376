"""QueryService on a free loopback port, and an execution whose log a test writes line by line."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import grpc
import pytest
from tests.integration.engine.harness import chain, register

from wingbeat_controlplane.executions.element_reads import ElementReads
from wingbeat_controlplane.executions.history import History
from wingbeat_controlplane.executions.why.explanations import Explanations
from wingbeat_controlplane.executions.why.from_rows import FromRows
from wingbeat_controlplane.executions.why.owners import Owners
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.registry import open_registry
from wingbeat_controlplane.services.query import QueryServicer
from wingbeat_controlplane.services.rpcs import rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.ids import shard_of
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.query.v1 import identity_pb2, query_pb2, query_pb2_grpc

CREATED = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


class Log:
    """One execution, `e1`, made at CREATED; times are seconds after that."""

    def __init__(self, pool: asyncpg.Pool, key: int) -> None:
        self.pool = pool
        self.key = key

    async def add(
        self, node: str | None, phase: int, at_s: float, *, attempt: int = 0, connection: object = None
    ) -> None:
        """A transition, committed now unless `connection` has a transaction of its own."""
        target = connection or self.pool
        await target.execute(  # pyright: ignore[reportAttributeAccessIssue]
            "INSERT INTO transitions (execution_id, node_id, attempt, phase, at) VALUES ($1, $2, $3, $4, $5)",
            *(self.key, node, attempt, phase, moment(at_s)),
        )

    async def node(self, node: str, phase: int = NodePhase.SUCCEEDED, at_s: float = 0.0, **columns: object) -> None:
        """A node's row."""
        row = {
            "execution_id": self.key,
            "node_id": node,
            "seq": 0,
            "spec_node_id": node,
            "kind": int(NodeKind.TASK),
            "phase": int(phase),
            "created_at": moment(at_s),
            "updated_at": moment(at_s),
            **columns,
        }
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await self.pool.execute(f"INSERT INTO node_executions ({', '.join(row)}) VALUES ({places})", *row.values())

    async def execution(self, **columns: object) -> None:
        """Change the execution's row."""
        settings = ", ".join(f"{column} = ${number}" for number, column in enumerate(columns, 2))
        await self.pool.execute(f"UPDATE executions SET {settings} WHERE id = $1", self.key, *columns.values())


def moment(at_s: float) -> datetime:
    """An instant of the execution's life."""
    return CREATED + timedelta(seconds=at_s)


def question(at_s: float, *, page_size: int = 0, page_token: str = "") -> query_pb2.GetExecutionAtRequest:
    """How was `e1` at that instant?"""
    request = query_pb2.GetExecutionAtRequest(
        execution=identity_pb2.ExecutionIdentifier(project="flytesnacks", domain="development", name="e1"),
        page_size=page_size,
        page_token=page_token,
    )
    request.at.FromDatetime(moment(at_s))
    return request


@pytest.fixture
async def log(pool: asyncpg.Pool) -> Log:
    """The execution `e1`, new, with an empty log."""
    workflow = await register(pool, chain("chain", 2))
    key = await pool.fetchval(
        "INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config, created_at)"
        " VALUES ('flytesnacks', 'development', 'e1', $1, 'launch_plan', $2, '', '', $3) RETURNING id",
        *(shard_of("flytesnacks", "development", "e1"), workflow, CREATED),
    )
    return Log(pool, key)


@pytest.fixture
async def owners() -> AsyncIterator[Owners]:
    """Asks engines, with more patience than a busy machine needs."""
    owners = Owners(timeout_s=30)
    yield owners
    await owners.close()


@pytest.fixture
async def query(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path, owners: Owners
) -> AsyncIterator[query_pb2_grpc.QueryServiceStub]:
    """A client."""
    shares = open_registry(pool, RegistryOptions()).tenant_shares
    blobs = FolderBlobs(tmp_path)
    rows = FromRows(PostgresExecutionStore(pool, database_url), blobs)
    explanations = Explanations(pool, shares, owners, rows, ElementReads(pool, blobs))
    service = query_pb2.DESCRIPTOR.services_by_name["QueryService"]
    server = GrpcServer(rpcs_of(service, QueryServicer(History(pool), explanations)), GrpcOptions())
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield query_pb2_grpc.QueryServiceStub(channel)
    finally:
        await server.stop(0)


HISTORY_SQL = load_queries("wingbeat_controlplane.executions", "history.sql")
