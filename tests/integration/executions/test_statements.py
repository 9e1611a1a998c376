"""SQL is source code: every statement is legal against the schema, and every one is used."""

import re
from importlib.resources import files

import asyncpg
import pytest

from wingbeat_propeller.postgres.queries import load_queries

PACKAGE = "wingbeat_controlplane.executions"
FILES = sorted(file.name for file in files(PACKAGE).iterdir() if file.name.endswith(".sql"))


@pytest.mark.parametrize("file", FILES)
async def test_every_block_prepares(pool: asyncpg.Pool, file: str) -> None:
    """Each named block is a statement that the migrated schema can plan."""
    async with pool.acquire() as connection:
        for statement in load_queries(PACKAGE, file).values():
            await connection.prepare(statement)


@pytest.mark.parametrize("file", FILES)
def test_every_block_is_used(file: str) -> None:
    """Each name stands in a module that loads the file."""
    modules = [each.read_text() for each in files(PACKAGE).iterdir() if each.name.endswith(".py")]
    source = "\n".join(module for module in modules if f'"{file}"' in module)
    for name in load_queries(PACKAGE, file):
        assert re.search(rf'"{name}"', source), name
