"""Every statement of the registry is legal against the schema, and so is every list it can be asked for."""

import asyncpg
import pytest
from flyteidl.admin import common_pb2

from wingbeat_controlplane.listing import tables
from wingbeat_controlplane.listing.columns import DURATION, INTEGER, TEXT, TIME
from wingbeat_controlplane.listing.filters import Filter, Function
from wingbeat_controlplane.listing.query import Page, Table, compile_list
from wingbeat_propeller.postgres.queries import load_queries

_FILES = {
    "wingbeat_controlplane.registry": (
        "projects.sql",
        "attributes.sql",
        "tasks.sql",
        "workflows.sql",
        "launch_plans.sql",
        "named_entities.sql",
        "description_entities.sql",
        "references.sql",
        "tenant_shares.sql",
    ),
    "wingbeat_controlplane.services": ("operations.sql",),
    "wingbeat_controlplane.executions": ("signals.sql",),
}
_SOURCES = {
    "TASKS": "tasks",
    "WORKFLOWS": "workflows",
    "LAUNCH_PLANS": "launch_plans",
    "EXECUTIONS": "executions",
    "NODE_EXECUTIONS": "node_executions",
    "TASK_EXECUTIONS": "task_executions",
    "NAMED_ENTITIES": "named_entities",
    "DESCRIPTION_ENTITIES": "description_entities",
    "PROJECTS": "projects",
    "SIGNALS": "signals",
}
_EXAMPLES = {TEXT: "a", INTEGER: "1", TIME: "2024-01-01T00:00:00Z", DURATION: "1h5m"}


@pytest.mark.parametrize(("package", "file"), [(package, file) for package, files in _FILES.items() for file in files])
async def test_every_block_prepares(pool: asyncpg.Pool, package: str, file: str) -> None:
    """Each named block is a statement that the migrated schema can plan."""
    async with pool.acquire() as connection:
        for statement in load_queries(package, file).values():
            await connection.prepare(statement)


@pytest.mark.parametrize("name", _SOURCES)
async def test_every_column_filters_and_sorts(pool: asyncpg.Pool, name: str) -> None:
    """Each column of each table, and of each entity related to it, can be compared; each sort key sorts."""
    table: Table = getattr(tables, name)
    select = f"SELECT 1 FROM {_SOURCES[name]} {table.alias}"
    columns = [("", column, table.columns[column]) for column in table.columns]
    columns += [
        (entity, column, related.columns[column])
        for entity, related in table.related.items()
        for column in related.columns
    ]
    async with pool.acquire() as connection:
        for entity, column, definition in columns:
            value = _EXAMPLES.get(definition.kind, "1" if definition.kind.postgres_type == "smallint" else "aaaa")
            for function in (Function.EQ, Function.LTE, Function.VALUE_IN, Function.VALUE_NOT_IN):
                query = compile_list(
                    table, page=Page(1, 0), scope={}, filters=[Filter(function, entity, column, (value,))]
                )
                await connection.fetch(query.sql(select), *query.args)
        for key in table.columns if table.sort_keys is None else table.sort_keys:
            query = compile_list(table, page=Page(1, 0), scope={}, sort_by=common_pb2.Sort(key=key))
            await connection.fetch(query.sql(select), *query.args)
