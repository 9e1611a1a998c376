"""SQL is source code: every statement is legal against the schema, and every one is used."""

import re
from importlib.resources import files

import asyncpg
import pytest

from wingbeat_propeller.postgres.queries import load_queries

PACKAGES = ("wingbeat_controlplane.executions", "wingbeat_controlplane.executions.metrics")
FILES = sorted(
    (package, file.name) for package in PACKAGES for file in files(package).iterdir() if file.name.endswith(".sql")
)


@pytest.mark.parametrize(("package", "file"), FILES)
async def test_every_block_prepares(pool: asyncpg.Pool, package: str, file: str) -> None:
    """Each named block is a statement that the migrated schema can plan."""
    async with pool.acquire() as connection:
        for statement in load_queries(package, file).values():
            await connection.prepare(statement)


@pytest.mark.parametrize(("package", "file"), FILES)
def test_every_block_is_used(package: str, file: str) -> None:
    """Each name stands in a module that loads the file."""
    modules = [each.read_text() for each in files(package).iterdir() if each.name.endswith(".py")]
    source = "\n".join(module for module in modules if f'"{file}"' in module)
    for name in load_queries(package, file):
        assert re.search(rf'"{name}"', source), name
