"""Journal, leases, execution store and sources over the real Postgres keep their contracts."""

import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from tests.conformance.engine_database import Rejected, StoredRow
from tests.conformance.execution_store import ExecutionStoreContract
from tests.conformance.journal import JournalContract
from tests.conformance.leases import LeasesContract
from tests.conformance.sources import SourcesContract
from tests.integration.journal.conftest import ErrorBlobs, lossy_proxy
from tests.integration.journal.rows import insert_workflow

from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeat_propeller.postgres.journal import PostgresJournal
from wingbeat_propeller.postgres.journal_lane import JournalOptions
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeat_propeller.postgres.sources import PostgresSources


class PostgresEngineDatabase:
    """Satisfies conformance.engine_database.EngineDatabase. `cut` loses an answer of the line `dsn`."""

    def __init__(self, pool: asyncpg.Pool, dsn: str, cut: Callable[[], None]) -> None:
        self._pool = pool
        self._dsn = dsn
        self.cut = cut

    def leases(self) -> PostgresLeases:
        return PostgresLeases(self._pool)

    def journal(self, term: int, rejected: Rejected, *, lanes: int = 2, batch_rows_max: int = 4_000) -> PostgresJournal:
        options = JournalOptions(lanes=lanes, batch_rows_max=batch_rows_max, backoff_s_min=0.01, backoff_s_max=0.05)
        blobs = ErrorBlobs()
        return PostgresJournal(self._dsn, term=term, blobs=blobs, rejected=rejected, options=options)

    def store(self) -> PostgresExecutionStore:
        return PostgresExecutionStore(self._pool, self._dsn)

    def sources(self) -> PostgresSources:
        return PostgresSources(self._pool)

    async def insert_workflow(self, closure: bytes) -> int:
        return await insert_workflow(self._pool, closure)

    async def insert_executions(self, names: Sequence[str], *, shard: int = 0) -> list[ExecutionKey]:
        rows = await self._pool.fetch(
            "INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config, inputs)"
            " SELECT 'p', 'd', name, $2, 'launch_plan', $1, '', 'cfg', 'in' FROM unnest($3::text[]) AS name"
            " RETURNING id",
            await insert_workflow(self._pool),
            shard,
            list(names),
        )
        return sorted(ExecutionKey(row["id"]) for row in rows)

    async def request_abort(self, execution: ExecutionKey, cause: str) -> None:
        await self._pool.execute(
            "UPDATE executions SET phase = 9, abort_requested_at = now(), abort_cause = $2 WHERE id = $1",
            execution,
            cause,
        )

    async def expire(self, term: int) -> None:
        await self._pool.execute(
            "UPDATE propellers SET lease_expires_at = now() - interval '1 s' WHERE term = $1", term
        )

    async def end_term(self, term: int) -> None:
        await self._pool.execute("DELETE FROM propellers WHERE term = $1", term)

    async def own(self, term: int, shards: Sequence[int]) -> None:
        await self._pool.execute("UPDATE shards SET term = $1 WHERE shard = ANY($2)", term, list(shards))

    async def owned(self) -> Mapping[int, int]:
        rows = await self._pool.fetch("SELECT shard, term FROM shards WHERE term IS NOT NULL")
        return {row["shard"]: row["term"] for row in rows}

    async def execution(self, execution: ExecutionKey) -> StoredRow:
        row = await self._pool.fetchrow(
            "SELECT phase, outputs, error_kind, error_code, extract(epoch FROM started_at)::float8 AS started_at,"
            " extract(epoch FROM ended_at)::float8 AS ended_at FROM executions WHERE id = $1",
            execution,
        )
        assert row is not None
        return row

    async def nodes(self, execution: ExecutionKey) -> Sequence[StoredRow]:
        return await self._pool.fetch(
            "SELECT node_id, seq, phase, attempt, inputs, outputs, error,"
            " extract(epoch FROM created_at)::float8 AS created_at, extract(epoch FROM ended_at)::float8 AS ended_at"
            " FROM node_executions WHERE execution_id = $1 ORDER BY node_id",
            execution,
        )

    async def attempts(self, execution: ExecutionKey) -> Sequence[StoredRow]:
        return await self._pool.fetch(
            "SELECT node_id, attempt, name, phase FROM task_executions WHERE execution_id = $1"
            " ORDER BY node_id, attempt",
            execution,
        )

    async def transitions(self, execution: ExecutionKey) -> Sequence[tuple[str | None, int, int]]:
        rows = await self._pool.fetch(
            "SELECT node_id, attempt, phase FROM transitions WHERE execution_id = $1 ORDER BY seq", execution
        )
        return [(row["node_id"], row["attempt"], row["phase"]) for row in rows]


@pytest.fixture
async def database(pool: asyncpg.Pool, database_url: str) -> AsyncIterator[PostgresEngineDatabase]:
    """A database of this test's own, with a line to it that can be cut."""
    parts = urlsplit(database_url)
    socket_folder = parse_qs(parts.query)["host"][0]
    with tempfile.TemporaryDirectory() as folder:
        async with lossy_proxy(f"{socket_folder}/.s.PGSQL.5432", folder) as cut:
            yield PostgresEngineDatabase(pool, f"postgresql://postgres@{parts.path}?host={folder}", cut)


class TestPostgresJournal(JournalContract):
    """Group commit over Postgres."""


class TestPostgresLeases(LeasesContract):
    """Leases in Postgres."""


class TestPostgresExecutionStore(ExecutionStoreContract):
    """Executions in Postgres."""


class TestPostgresSources(SourcesContract):
    """Executions that are recovered, in Postgres."""
