"""WatchService on a free loopback port, over gRPC and HTTP, and executions whose transitions a test writes itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import grpc
import pytest
from google.rpc import status_pb2
from tests.integration.engine.harness import chain, launch, register
from tests.integration.watch.serving import WatchServer, watch_server

from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2, watch_pb2_grpc

PROJECT = "flytesnacks"
DOMAIN = "development"
WATCH_SQL = load_queries("wingbeat_controlplane.executions.watch", "watch.sql")
LEVELS = (transition_pb2.LEVEL_EXECUTION, transition_pb2.LEVEL_NODE, transition_pb2.LEVEL_ATTEMPT)


@pytest.fixture
async def server(database_url: str, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[WatchServer]:
    """A server of the test's own."""
    async with watch_server(database_url, pool, tmp_path) as running:
        yield running


@pytest.fixture
async def channel(server: WatchServer) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to it."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> watch_pb2_grpc.WatchServiceStub:
    """A client of it."""
    return watch_pb2_grpc.WatchServiceStub(channel)


class Log:
    """Executions of one workflow, and a log that is written entry by entry."""

    def __init__(self, pool: asyncpg.Pool, workflow: int) -> None:
        self.pool = pool
        self.workflow = workflow
        self.ids: dict[str, int] = {}

    async def launch(self, *names: str, domain: str = DOMAIN) -> None:
        """New executions."""
        await launch(self.pool, self.workflow, names, domain=domain)
        rows = await self.pool.fetch("SELECT id, name FROM executions")
        self.ids = {row["name"]: row["id"] for row in rows}

    async def add(
        self,
        name: str,
        *phases: int,
        node: str | None = None,
        attempt: int = 0,
        connection: "asyncpg.pool.PoolConnectionProxy | asyncpg.Connection | None" = None,
        at: datetime | None = None,
    ) -> None:
        """Transitions, committed now unless `connection` has a transaction of its own."""
        for phase in phases:
            await (connection or self.pool).execute(
                "INSERT INTO transitions (execution_id, node_id, attempt, phase, at) VALUES ($1, $2, $3, $4, $5)",
                *(self.ids[name], node, attempt, phase, at or datetime.now(UTC)),
            )

    async def end(self, name: str, phase: int = 4, **columns: object) -> None:
        """As a commit does that records an end: row and entry at once."""
        values = {"phase": phase, "ended_at": datetime.now(UTC), **columns}
        changes = ", ".join(f"{column} = ${number}" for number, column in enumerate(values, 2))
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(f"UPDATE executions SET {changes} WHERE id = $1", self.ids[name], *values.values())
            await self.add(name, phase, connection=connection)


@pytest.fixture
async def log(pool: asyncpg.Pool) -> Log:
    """No executions yet."""
    return Log(pool, await register(pool, chain("chain", 2)))


def request(
    *,
    cursor: str = "",
    oldest: bool = False,
    levels: Sequence[int] = (),
    outputs: bool = False,
    heartbeat_s: int = 0,
    **chosen: object,
) -> watch_pb2.WatchTransitionsRequest:
    """A request; further arguments are fields of the filter."""
    made = watch_pb2.WatchTransitionsRequest(
        cursor=cursor,
        start=watch_pb2.START_OLDEST if oldest else watch_pb2.START_UNSPECIFIED,
        levels=levels,
        with_outputs=outputs,
        filter=watch_pb2.TransitionFilter(**chosen),  # pyright: ignore[reportArgumentType]
    )
    if heartbeat_s:
        made.heartbeat.FromSeconds(heartbeat_s)
    return made


def execution_id(name: str) -> identity_pb2.ExecutionIdentifier:
    """An execution in the default project."""
    return identity_pb2.ExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=name)


async def collect(call: object, count: int) -> tuple[list[transition_pb2.Transition], str]:
    """The next transitions of a stream, as many as asked at least, and the cursor after them."""
    found: list[transition_pb2.Transition] = []
    cursor = ""
    while len(found) < count:
        response = await asyncio.wait_for(call.read(), 60)  # pyright: ignore[reportAttributeAccessIssue]
        assert response is not grpc.aio.EOF
        found += response.transitions
        cursor = response.cursor
    return found, cursor


def short(transitions: Sequence[transition_pb2.Transition]) -> list[tuple[str, str, int, int]]:
    """Execution, node, attempt and phase of each."""
    return [
        (one.execution.name, one.node.node_id, one.attempt, getattr(one, one.WhichOneof("phase") or ""))
        for one in transitions
    ]


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The error with its details."""
    trailers = dict(error.trailing_metadata() or ())
    return status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
