"""Every named SQL block of every package is legal against the migrated schema, and used."""

from pathlib import Path

import asyncpg
import pytest

import wingbeat_catalog
import wingbeat_controlplane
import wingbeat_propeller
from wingbeat_propeller.postgres.queries import load_queries

_ROOTS = [Path(package.__path__[0]) for package in (wingbeat_catalog, wingbeat_controlplane, wingbeat_propeller)]
_FILES = {
    f"{'.'.join(file.parent.relative_to(root.parent).parts)}/{file.name}": file
    for root in _ROOTS
    for file in sorted(root.rglob("*.sql"))
    if file.parent.name != "migrations"
}
_PLACEHOLDERS = {
    "name": "transitions_20300101",
    "first": "2030-01-01",
    "last": "2030-01-02",
    "question": "SELECT 1",
    "count": "1",
}
"""What modules put into the few blocks that cannot be parameterised."""


def test_there_are_blocks() -> None:
    """The search finds what it looks for."""
    assert "wingbeat_propeller.postgres/journal.sql" in _FILES


async def test_every_block_prepares(pool: asyncpg.Pool) -> None:
    """Postgres can plan each block."""
    refused: dict[str, str] = {}
    async with pool.acquire() as connection:
        await connection.execute("CREATE TABLE transitions_20300101 (LIKE transitions)")
        for name, file in _FILES.items():
            for block, statement in load_queries(name.partition("/")[0], file.name).items():
                text = statement
                for placeholder, value in _PLACEHOLDERS.items():
                    text = text.replace("{" + placeholder + "}", value)
                try:
                    await connection.prepare(text)
                except asyncpg.PostgresError as error:
                    refused[f"{name}: {block}"] = str(error)
    assert refused == {}


@pytest.mark.parametrize("name", _FILES)
def test_every_block_is_used(name: str) -> None:
    """Each block is named in a module beside it."""
    file = _FILES[name]
    code = "\n".join(module.read_text() for module in file.parent.glob("*.py"))
    blocks = load_queries(name.partition("/")[0], file.name)
    assert [block for block in blocks if f'"{block}"' not in code] == []
