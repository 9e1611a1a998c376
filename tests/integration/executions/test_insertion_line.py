"""Creations at the same time, inserted together: none changes what becomes of another."""

import asyncio

import asyncpg
import pytest
from flyteidl.service import admin_pb2_grpc
from tests.integration.executions.entities import launch

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.insertion_line import InsertionLine
from wingbeat_controlplane.executions.launch import Caller, Launcher
from wingbeat_controlplane.executions.parts import Executions
from wingbeat_propeller.blobs.folder import FolderBlobs

_CALLER = Caller("", "test")


@pytest.fixture
def launcher(admin: admin_pb2_grpc.AdminServiceStub, executions: Executions) -> Launcher:
    """That of the server, which knows a launch plan."""
    del admin
    return executions.launcher


async def _names(pool: asyncpg.Pool) -> set[str]:
    return {row["name"] for row in await pool.fetch("SELECT name FROM executions")}


async def test_many_at_once_are_a_few_statements(launcher: Launcher, pool: asyncpg.Pool) -> None:
    """A hundred creations at once are each there, with their own inputs, labels and tags, in few transactions."""
    requests = [launch(f"e{number}", text=f"t{number}") for number in range(100)]
    for number, request in enumerate(requests):
        request.spec.tags.append(f"tag{number % 3}")
    made = await asyncio.gather(*(launcher.create(request, _CALLER) for request in requests))
    assert [one.name for one in made] == [request.name for request in requests]
    rows = await pool.fetch(
        "SELECT e.name, t.key, s.inputs ->> 'text' AS text, e.xmin::text AS xmin FROM executions AS e"
        " JOIN execution_tags AS t ON t.execution_id = e.id JOIN execution_search AS s ON s.execution_id = e.id"
    )
    expected = {(f"e{number}", f"tag{number % 3}", f"t{number}") for number in range(100)}
    assert {(row["name"], row["key"], row["text"]) for row in rows} == expected
    assert len({row["xmin"] for row in rows}) <= 10


async def test_one_that_cannot_be_stored(launcher: Launcher, pool: asyncpg.Pool) -> None:
    """What the database refuses fails by itself; all others are created."""
    others = [launcher.create(launch(f"e{number}"), _CALLER) for number in range(20)]
    bad = launcher.create(launch("bad"), Caller("a\0b", "test"))
    answers = await asyncio.gather(*others[:10], bad, *others[10:], return_exceptions=True)
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(failed) == 1
    assert isinstance(failed[0], asyncpg.CharacterNotInRepertoireError)
    assert await _names(pool) == {f"e{number}" for number in range(20)}


@pytest.mark.parametrize("kept", [True, False])
async def test_a_name_that_another_transaction_holds(launcher: Launcher, pool: asyncpg.Pool, *, kept: bool) -> None:
    """Whoever wants a name that is just being taken waits for what comes of it, and nobody else does."""
    held = await launcher.resolve(launch("held"), _CALLER)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert await launcher.insert(connection, held) is not None
        waiting = asyncio.create_task(launcher.create(launch("held"), _CALLER))
        others = await asyncio.gather(*(launcher.create(launch(f"e{number}"), _CALLER) for number in range(20)))
        assert len(others) == 20
        assert not waiting.done()
        await (transaction.commit() if kept else transaction.rollback())
    if kept:
        with pytest.raises(ApiError, match="already exists"):
            await waiting
    else:
        assert (await waiting).name == "held"
    assert await _names(pool) == {"held", *(f"e{number}" for number in range(20))}


async def test_a_caller_that_goes_before_its_turn(launcher: Launcher, pool: asyncpg.Pool, blobs: FolderBlobs) -> None:
    """What nobody waits for any longer is not inserted, unless the statement is under way."""
    line = InsertionLine(pool, blobs.base)
    stays, goes = [await launcher.resolve(launch(name), _CALLER) for name in ("stays", "goes")]
    waiting, gone = asyncio.create_task(line.insert(stays)), asyncio.create_task(line.insert(goes))
    await asyncio.sleep(0)
    gone.cancel()
    assert await waiting is not None
    await line.drained()
    assert await _names(pool) == {"stays"}
    last = asyncio.create_task(line.insert(goes))
    for _ in range(3):
        await asyncio.sleep(0)
    last.cancel()
    await line.drained()
    assert await _names(pool) == {"stays", "goes"}


async def test_an_outage_is_told_to_all(launcher: Launcher, database_url: str, blobs: FolderBlobs) -> None:
    """Those who went together each get the error of a database that is away."""
    new = [await launcher.resolve(launch(f"e{number}"), _CALLER) for number in range(3)]
    away = await asyncpg.create_pool(database_url, min_size=1, max_size=1)
    await away.close()
    line = InsertionLine(away, blobs.base)
    answers = await asyncio.gather(*(line.insert(one) for one in new), return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncpg.InterfaceError] * 3
    await line.drained()
