"""Overlap policies hold over `kill -9` of engines and lost connections of servers, at moments drawn from a seed.

The transition log is the witness: when executions began and ended, by the clock of the machine. An execution begins
after the commit of whatever end made room for it, and ends before that commit, so by these times no more may overlap
than the launch plan allows. pytest prints the seed; WINGBEAT_TEST_SEED replays it.
"""

import asyncio
import os
import random
import re
from collections.abc import Awaitable
from dataclasses import dataclass

import asyncpg
import grpc
import pytest
from flyteidl.admin import execution_pb2
from flyteidl.service import admin_pb2_grpc
from tests.integration.executions import entities
from tests.integration.executions.entities import launch
from tests.integration.overlap.conftest import StartEngine

from wingbeat_propeller.core.phases import EXECUTION_FINAL, ExecutionPhase

SEED = int(os.environ.get("WINGBEAT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
COUNT = 50
KILLS = 5
TIMEOUT_S = 120

Admin = admin_pb2_grpc.AdminServiceStub


@dataclass(slots=True)
class Life:
    """An execution as the log tells it."""

    id: int
    queued: bool = False
    began_at: float | None = None
    ended_at: float | None = None
    phase: int = 0


async def _register(admin: Admin, overlap: str, alive_max: int) -> None:
    plan = entities.launch_plan("limited")
    plan.spec.annotations.values["wingbeat.dev/overlap"] = overlap
    plan.spec.annotations.values["wingbeat.dev/concurrency-max"] = str(alive_max)
    await admin.CreateLaunchPlan(plan)


async def _create(admin: Admin, request: execution_pb2.ExecutionCreateRequest) -> None:
    """As a client does that wants one execution of this name, whatever happens to the server."""
    while True:
        try:
            await admin.CreateExecution(request)
            return
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.ALREADY_EXISTS:
                return
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise


async def _ended(control: asyncpg.Pool) -> int:
    return await control.fetchval("SELECT count(*) FROM executions WHERE ended_at IS NOT NULL")


class _Engines:
    """Two engine processes. One that ends by itself, since a busy machine has taken its lease, is replaced."""

    def __init__(self, start: StartEngine) -> None:
        self._start = start
        self._processes = [start(), start()]

    def revive(self) -> None:
        """Replace those that have ended."""
        self._processes = [self._start() if one.poll() is not None else one for one in self._processes]

    def kill(self, place: int) -> None:
        """Kill one and start another in its place."""
        self._processes[place].kill()
        self._processes[place].wait()
        self.revive()


async def _until(control: asyncpg.Pool, engines: _Engines, ended: int) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while await _ended(control) < ended:
                engines.revive()
                await asyncio.sleep(0.01)
    except TimeoutError:
        rows = await control.fetch("SELECT name, phase, waiting FROM executions WHERE ended_at IS NULL ORDER BY id")
        raise AssertionError(f"seed {SEED}: not ended: {[tuple(row) for row in rows]}") from None


async def _kill_some(control: asyncpg.Pool, engines: _Engines, dice: random.Random) -> None:
    """Kill one engine or both each time so many have ended, and start another in its place."""
    for least in sorted(dice.sample(range(1, COUNT - 5), KILLS)):
        await _until(control, engines, least)
        for place in dice.choice([[0], [1], [0, 1]]):
            engines.kill(place)


async def _break_connections(control: asyncpg.Pool, dice: random.Random) -> None:
    """Take away the connections of the server in the middle of what it does."""
    for _ in range(10):
        await control.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'tests' AND datname = current_database() AND random() < 0.5"
        )
        await asyncio.sleep(dice.random() * 0.02)  # the moment itself is what is drawn


async def _lives(control: asyncpg.Pool) -> dict[int, Life]:
    rows = await control.fetch(
        "SELECT execution_id, phase, extract(epoch FROM at)::float8 AS at FROM transitions"
        " WHERE node_id IS NULL ORDER BY seq"
    )
    lives: dict[int, Life] = {}
    for row in rows:
        life = lives.setdefault(row["execution_id"], Life(row["execution_id"]))
        assert life.ended_at is None, f"seed {SEED}: execution {life.id} goes on after its end"
        if row["phase"] == ExecutionPhase.QUEUED:
            assert life.began_at is None
            life.queued = True
        elif row["phase"] == ExecutionPhase.RUNNING:
            assert life.began_at is None, f"seed {SEED}: execution {life.id} began twice"
            life.began_at = row["at"]
        else:
            assert row["phase"] in EXECUTION_FINAL
            life.ended_at, life.phase = row["at"], row["phase"]
    return lives


def _alive_at_once(lives: dict[int, Life]) -> int:
    """The greatest number of executions that had begun and not ended at the same time."""
    moments = [(life.began_at, 1) for life in lives.values() if life.began_at is not None]
    moments += [
        (life.ended_at, -1) for life in lives.values() if life.began_at is not None and life.ended_at is not None
    ]
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


async def _drive(
    control: asyncpg.Pool, engines: _Engines, dice: random.Random, launching: Awaitable[object], ended: int
) -> None:
    """Launch while engines and connections are lost; wait until so many have ended."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_kill_some(control, engines, dice))
        tasks.create_task(_break_connections(control, dice))
        await launching
    await _until(control, engines, ended)


@pytest.mark.parametrize("alive_max", [1, 3])
async def test_queue(admin: Admin, control: asyncpg.Pool, start_engine: StartEngine, alive_max: int) -> None:
    """Of fifty launches at once never more than the limit are alive, all succeed, and they begin in the order of
    launch: none begins before an earlier one that has not been let go."""
    dice = random.Random(f"{SEED} queue {alive_max}")
    print(f"WINGBEAT_TEST_SEED={SEED}")
    await _register(admin, "queue", alive_max)
    requests = [launch(f"e{number}", plan="limited", text="x", count=dice.randrange(1, 40)) for number in range(COUNT)]
    launching = asyncio.gather(*(_create(admin, request) for request in requests))
    await _drive(control, _Engines(start_engine), dice, launching, COUNT)
    lives = await _lives(control)
    assert {life.phase for life in lives.values()} == {ExecutionPhase.SUCCEEDED}, f"seed {SEED}"
    assert len(lives) == COUNT
    assert _alive_at_once(lives) == alive_max, f"seed {SEED}"
    assert any(life.queued for life in lives.values())
    for life in lives.values():
        overtaken = [other for other in lives.values() if other.id < life.id and _begin(other) > _begin(life)]
        assert len(overtaken) < alive_max, f"seed {SEED}: {life.id} began before {overtaken}"


@pytest.mark.parametrize("alive_max", [1, 3])
async def test_replace(admin: Admin, control: asyncpg.Pool, start_engine: StartEngine, alive_max: int) -> None:
    """Of fifty launches that run for ever the newest remain; each of the others was aborted by a later one, and none
    began before those it replaced had ended."""
    dice = random.Random(f"{SEED} replace {alive_max}")
    print(f"WINGBEAT_TEST_SEED={SEED}")
    await _register(admin, "replace", alive_max)

    async def some(numbers: range) -> None:
        for number in numbers:
            await _create(admin, launch(f"e{number}", plan="limited", text="x", count=-1))

    launching = asyncio.gather(*(some(range(first, COUNT, 5)) for first in range(5)))
    engines = _Engines(start_engine)
    await _drive(control, engines, dice, launching, COUNT - alive_max)
    rows = {row["id"]: row for row in await control.fetch("SELECT id, name, phase, abort_cause FROM executions")}
    newest = sorted(rows)[-alive_max:]
    for key in newest:
        async with asyncio.timeout(TIMEOUT_S):
            while await control.fetchval("SELECT phase FROM executions WHERE id = $1", key) != ExecutionPhase.RUNNING:
                engines.revive()
                await asyncio.sleep(0.01)
        request = execution_pb2.ExecutionTerminateRequest(id=entities.execution_id(rows[key]["name"]), cause="done")
        await admin.TerminateExecution(request)
    await _until(control, engines, COUNT)
    lives = await _lives(control)
    assert {life.phase for life in lives.values()} == {ExecutionPhase.ABORTED}, f"seed {SEED}"
    assert _alive_at_once(lives) <= alive_max, f"seed {SEED}"
    key_of = {row["name"]: key for key, row in rows.items()}
    for key in rows.keys() - set(newest):
        match = re.fullmatch(r"replaced by execution \[.*:(\w+)\] of launch plan limited", rows[key]["abort_cause"])
        assert match, rows[key]
        replaced, later = lives[key], lives[key_of[match[1]]]
        assert later.id > key
        if replaced.began_at is not None and later.began_at is not None:
            assert replaced.ended_at is not None
            assert replaced.ended_at < later.began_at, f"seed {SEED}"


def _begin(life: Life) -> float:
    assert life.began_at is not None
    return life.began_at
