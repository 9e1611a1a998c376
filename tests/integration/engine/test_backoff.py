"""Pauses after failures of the system, over real Postgres and a change of engines."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncpg
from flyteidl.core import tasks_pb2

from tests.integration.engine.harness import InstantPlugin, chain, engine, launch, register, wait_ended
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.core.retry import RetryPolicy
from wingbeat_propeller.ports.tasks import InstantRequest, TaskContext
from wingbeat_propeller.runtimes.instant import InstantRuntime

POLICY = RetryPolicy(backoff_s=1.5)


class Unlucky(InstantPlugin):
    """Loses the first two attempts of every node."""

    task_types: Sequence[str] = ("instant",)

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> InstantRequest:
        """A failure of the system, or the outputs."""
        if context.attempt < 2:
            failure = Failure(ErrorKind.SYSTEM, "Interrupted", "lost", retryable=True)
            return InstantRequest(context.name, failure=failure)
        return super().build(template, inputs, context)


_RETRY_AT = "SELECT extract(epoch FROM retry_at)::float8 FROM node_executions WHERE node_id = 'n0' AND attempt = $1"


async def _wait_paused(pool: asyncpg.Pool, attempt: int) -> float:
    """When the next attempt of node n0 may begin, once that is written."""
    async with asyncio.timeout(60):
        while True:
            found = await pool.fetchval(_RETRY_AT, attempt)
            if found is not None:
                return found
            await asyncio.sleep(0.01)


async def test_a_pause_goes_on_in_the_next_engine(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """An engine ends while a node pauses; the next one launches the attempt when the pause is over, and not before."""
    workflow = await register(pool, chain("chain", 1))
    await launch(pool, workflow, ["e1"])
    async with engine(pool, database_url, tmp_path, InstantRuntime(), plugin=Unlucky(), retry=POLICY):
        first = await _wait_paused(pool, 1)
    async with engine(pool, database_url, tmp_path, InstantRuntime(), plugin=Unlucky(), retry=POLICY):
        second = await _wait_paused(pool, 2)
        assert await wait_ended(pool, 1) == {ExecutionPhase.SUCCEEDED: 1}
    rows = await pool.fetch(
        "SELECT attempt, phase, extract(epoch FROM started_at)::float8 AS at FROM task_executions ORDER BY attempt"
    )
    assert [(row["attempt"], row["phase"]) for row in rows] == [(0, 5), (1, 5), (2, 3)]
    assert rows[1]["at"] >= first
    assert rows[2]["at"] >= second
    row = await pool.fetchrow("SELECT attempt, system_failures, retry_at FROM node_executions WHERE node_id = 'n0'")
    assert row is not None
    assert tuple(row) == (2, 2, None)
