"""Traces over many executions, in a real database."""

from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest
from tests.integration.journal.rows import insert_workflow
from tests.unit.compiler.test_flytekit_workflows import compiled

from wingbeat_catalog.lineage import tracer, walk
from wingbeat_catalog.lineage.store import LineageStore
from wingbeat_catalog.lineage.tracer import Tracer, UnknownStartError
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.lineage.v1 import lineage_pb2

TOKEN = "uri:s3://bucket/folder/told"
"""What the value is known by that one execution makes and the others are given."""


class House:
    """Executions of one workflow that are tied by a value."""

    def __init__(self, pool: asyncpg.Pool, folder: Path, workflow: int) -> None:
        self._pool = pool
        self._workflow = workflow
        self.tracer = Tracer(LineageStore(pool, FolderBlobs(folder)))

    async def execution(self, name: str) -> int:
        """One whose first node has ended."""
        key: int = await self._pool.fetchval(
            "INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config, phase,"
            " ended_at) VALUES ('p', 'd', $1, 0, 'launch_plan', $2, '', '', 4, now()) RETURNING id",
            *(name, self._workflow),
        )
        for seq, (node_id, kind) in enumerate((("start-node", 0), ("n0", 2))):
            await self._pool.execute(
                "INSERT INTO node_executions (execution_id, node_id, seq, spec_node_id, kind, phase, created_at,"
                " updated_at) VALUES ($1, $2, $3, $2, $4, 3, now(), now())",
                *(key, node_id, seq, kind),
            )
        return key

    async def many(self, count: int) -> None:
        """Executions that each were given one value and made another."""
        await self._pool.execute(
            "WITH made AS ("
            " INSERT INTO executions (project, domain, name, shard, launch_entity, workflow_id, spec, config)"
            " SELECT 'p', 'd', 'e' || n, 0, 'launch_plan', $1, '', '' FROM generate_series(1, $2::integer) AS n"
            " RETURNING id)"
            " INSERT INTO lineage_values SELECT id, '', 'a', 'uri:' || id FROM made"
            " UNION ALL SELECT id, 'n0', 'o0', 'uri:' || id + 1 FROM made",
            *(self._workflow, count),
        )

    async def made(self, key: int) -> None:
        """The value is the output of its node."""
        await self._pool.execute("INSERT INTO lineage_values VALUES ($1, 'n0', 'o0', $2)", key, TOKEN)

    async def given(self, key: int) -> None:
        """The value is an input."""
        await self._pool.execute("INSERT INTO lineage_values VALUES ($1, '', 'a', $2)", key, TOKEN)

    async def ask(self, name: str, *, down: bool, size: int = 0, token: str = "") -> lineage_pb2.TraceResponse:
        """One page."""
        request = lineage_pb2.TraceRequest(
            direction=lineage_pb2.DIRECTION_DOWN if down else lineage_pb2.DIRECTION_UP, page_size=size, page_token=token
        )
        request.value.execution.project, request.value.execution.domain = "p", "d"
        request.value.execution.name, request.value.node_id = name, "n0"
        return await self.tracer.trace(request)


@pytest.fixture
async def house(pool: asyncpg.Pool, tmp_path: Path) -> House:
    """Nothing has run yet."""
    return House(pool, tmp_path, await insert_workflow(pool, compiled("inner").SerializeToString()))


def _given(answer: lineage_pb2.TraceResponse) -> Sequence[str]:
    return [step.execution.name for step in answer.steps if not step.node_id]


async def test_pages(house: House) -> None:
    """What is met only after a page was told repeats no step of it, and hides none behind it."""
    maker = await house.execution("maker")
    users = [await house.execution(f"user{number}") for number in range(6)]
    await house.made(maker)
    for user in users[1:]:
        await house.given(user)
    first = await house.ask("maker", down=True, size=2)
    assert _given(first) == ["user1", "user2"]
    await house.given(users[0])
    second = await house.ask("maker", down=True, size=3, token=first.next_page_token)
    assert _given(second) == ["user3", "user4", "user5"]


async def test_rows_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace looks through so many nodes and says that there is more; one that is larger by itself is refused."""
    monkeypatch.setattr(walk, "NODES_MAX", 7)
    monkeypatch.setattr(walk, "_LOADED_AT_ONCE", 1)
    await house.made(await house.execution("maker"))
    for number in range(6):
        await house.given(await house.execution(f"user{number}"))
    cut = await house.ask("maker", down=True)
    assert (_given(cut), cut.is_cut) == (["user0", "user1"], True)
    monkeypatch.setattr(walk, "NODES_MAX", 1)
    with pytest.raises(UnknownStartError, match="has more than"):
        await house.ask("maker", down=True)


async def test_ways_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many makers of one value some are told, and that there are more."""
    user = await house.execution("user")
    await house.given(user)
    for number in range(4):
        await house.made(await house.execution(f"maker{number}"))
    assert not (await house.ask("user", down=False)).is_cut
    monkeypatch.setattr(walk, "FAN_MAX", 3)
    cut = await house.ask("user", down=False)
    assert ([step.execution.name for step in cut.steps][-3:], cut.is_cut) == (["maker0", "maker1", "maker2"], True)


async def test_makers_are_found_among_many(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a blob that very many executions were given, whoever made it comes first, though some of them are older."""
    for number in range(4):
        await house.given(await house.execution(f"user{number}"))
    await house.made(await house.execution("maker"))
    monkeypatch.setattr(tracer, "FAN_MAX", 3)
    request = lineage_pb2.TraceRequest(uri="s3://bucket/folder/told/file", direction=lineage_pb2.DIRECTION_UP)
    assert [step.execution.name for step in (await house.tracer.trace(request)).steps][:1] == ["maker"]
    request.direction = lineage_pb2.DIRECTION_DOWN
    assert _given(await house.tracer.trace(request)) == [f"user{number}" for number in range(4)]


@pytest.mark.parametrize(
    ("statement", "arguments", "indexes"),
    [
        ("makers_of_inputs", ([1], 9), {"lineage_values_made"}),
        ("users_of_outputs", ([1], ["n0"], 9), {"lineage_values_given"}),
        ("known_by", (["uri:x"], 9), {"lineage_values_made", "lineage_values_given"}),
    ],
)
async def test_tokens_are_looked_up(
    house: House, pool: asyncpg.Pool, statement: str, arguments: Sequence[object], indexes: set[str]
) -> None:
    """Among many values those with a token are found without reading the others."""
    await house.many(2000)
    await pool.execute("ANALYZE lineage_values")
    text = load_queries("wingbeat_catalog.lineage", "lineage.sql")[statement]
    plan = await pool.fetch(f"EXPLAIN {text}", *arguments)
    assert indexes <= {word for row in plan for word in row[0].split()}
