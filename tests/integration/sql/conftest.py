"""A reader over a database with executions of two projects."""

import json
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from wingbeat_controlplane.sql.reader import PROJECT_READER, READER, SqlOptions, SqlReader
from wingbeat_propeller.core.ids import shard_of

OURS = "flytesnacks"
THEIRS = "secret"


class Readers:
    """Asks, and gives all rows."""

    def __init__(self, reader: SqlReader) -> None:
        self.reader = reader

    async def rows(
        self, question: str, *, projects: Sequence[str] | None = None, row_limit: int = 0
    ) -> list[tuple[object, ...]]:
        """All rows of an answer."""
        return [
            tuple(row)
            async for batch in self.reader.ask(question, projects=projects, row_limit=row_limit)
            for row in batch.rows
        ]

    async def plan(self, pool: asyncpg.Pool, database_url: str, question: str, project: str | None) -> dict[str, int]:
        """How the database answers, and what that took, as one who sees one project, or all (None)."""
        role, schema = (READER, "wingbeat_views") if project is None else (PROJECT_READER, "wingbeat_project_views")
        connection = await asyncpg.connect(
            database_url, user=role, server_settings={"search_path": schema, "jit": "off"}
        )
        try:
            if project is not None:
                pid = await connection.fetchval("SELECT pg_backend_pid()")
                await pool.execute("INSERT INTO sql_scopes (pid, projects) VALUES ($1, $2)", pid, [project])
            text: str = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) {question}")
            return json.loads(text)[0]["Plan"]
        finally:
            await connection.close()


@pytest.fixture
async def executions(pool: asyncpg.Pool) -> None:
    """`ours` and `theirs`, one execution of each project, with nodes, attempts, labels, inputs and errors."""
    await pool.execute("INSERT INTO projects (identifier, name) VALUES ('secret', 'secret') ON CONFLICT DO NOTHING")
    workflow = await pool.fetchval(
        "INSERT INTO workflows (project, domain, name, version, digest, typed_interface, closure)"
        " VALUES ('p', 'd', 'w', 'v1', '', '', '') RETURNING id"
    )
    for name, project in (("ours", OURS), ("theirs", THEIRS)):
        message = f"{name}: CUDA out of memory".encode()
        error = bytes((0x0A, 1)) + b"E" + bytes((0x12, len(message))) + message
        key = await pool.fetchval(
            "INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config, phase,"
            " principal, error, error_kind, ended_at) VALUES ($1, 'development', $2, $3, 'launch_plan', $4, '', '', 6,"
            " 'ada', $5, 1, now()) RETURNING id",
            *(project, name, shard_of(project, "development", name), workflow, error),
        )
        await pool.execute(
            "INSERT INTO execution_search (execution_id, project, labels, inputs)"
            " VALUES ($1, $3, jsonb_build_object('team', $2::text), jsonb_build_object('x', 42, 'word', $2::text))",
            *(key, name, project),
        )
        await pool.execute("INSERT INTO execution_tags (execution_id, key, value) VALUES ($1, 'team', $2)", key, name)
        await pool.execute(
            "INSERT INTO node_executions (execution_id, node_id, seq, spec_node_id, node_name, kind, phase,"
            " cache_status, created_at, updated_at, error)"
            " VALUES ($1, 'n0', 1, 'n0', 'train', 2, 5, 2, now(), now(), $2)",
            *(key, error),
        )
        await pool.execute(
            "INSERT INTO task_executions (execution_id, node_id, attempt, task_project, task_domain, task_name,"
            " task_version, task_type, name, phase, created_at, updated_at)"
            " VALUES ($1, 'n0', 0, $2, 'development', 'train', 'v1', 'python-task', $3, 5, now(), now())",
            *(key, project, f"{name}-n0-0"),
        )
        await pool.execute(
            "INSERT INTO array_elements (execution_id, node_id, element, attempt, phase, system_failures, queued_at)"
            " VALUES ($1, 'n0', 7, 0, 3, 0, now())",
            key,
        )
        await pool.execute(
            "INSERT INTO transitions (execution_id, node_id, phase, at) VALUES ($1, 'n0', 2, now())", key
        )


@pytest.fixture
async def readers(pool: asyncpg.Pool, database_url: str, executions: None) -> AsyncIterator[Readers]:
    """Asks under short limits."""
    reader = SqlReader(database_url, pool, SqlOptions(connections_max=2, wait_s=5, timeout_s=10, rows_max=2_000))
    try:
        yield Readers(reader)
    finally:
        await reader.close()
