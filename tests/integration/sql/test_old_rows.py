"""What the release before wrote, or still writes, for searching."""

import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres
from wingbeat_propeller.postgres.migrate import migrations

_SEARCH_BY_PROJECT = 30


@pytest.fixture
async def empty(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database of its own with nothing in it."""
    name = f"t_{uuid.uuid4().hex[:16]}"
    server = await asyncpg.connect(postgres.dsn())
    try:
        await server.execute(f"CREATE DATABASE {name}")
        connection = await asyncpg.connect(postgres.dsn(name))
        try:
            yield connection
        finally:
            await connection.close()
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


async def _launch(connection: asyncpg.Connection, name: str) -> None:
    """As the release before does."""
    await connection.execute(
        "WITH made AS ("
        " INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config)"
        " SELECT 'p', 'd', $1, 0, 'launch_plan', id, '', '' FROM workflows RETURNING id"
        ") INSERT INTO execution_search (execution_id, labels, inputs)"
        """ SELECT id, '{"team": "red"}', '{"x": 42}' FROM made""",
        name,
    )


async def test_old_rows_get_their_project(empty: asyncpg.Connection) -> None:
    """Executions from before the migration, and those that an older server launches after it, are found by label and
    input under a project; what was left of a deleted one does not matter."""
    for migration in migrations():
        if migration.number == _SEARCH_BY_PROJECT:
            await empty.execute(
                "INSERT INTO workflows (project, domain, name, version, digest, typed_interface, closure)"
                " VALUES ('p', 'd', 'w', 'v1', '', '', '')"
            )
            await _launch(empty, "before")
            await empty.execute("INSERT INTO execution_search (execution_id, labels) VALUES (77, '{}')")
        await empty.execute(migration.sql)
    await _launch(empty, "after")
    found = await empty.fetch(
        "SELECT name FROM wingbeat_views.executions"
        """ WHERE project = 'p' AND labels @> '{"team": "red"}' AND inputs @> '{"x": 42}' ORDER BY execution_id"""
    )
    assert [row["name"] for row in found] == ["before", "after"]
