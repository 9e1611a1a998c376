"""What an execution was launched with reaches its tasks, also after another engine has taken it over."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import asyncpg
from flyteidl.admin import matchable_resource_pb2, task_execution_pb2
from flyteidl.core import execution_pb2, tasks_pb2
from flyteidl.event import event_pb2

from tests.integration.engine.harness import InstantPlugin, chain, engine, launch, register, wait_ended
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.ports.runtime import RuntimeEvent
from wingbeat_propeller.ports.tasks import AttemptOrigin, InstantRequest, RuntimeRequest, TaskContext
from wingbeat_propeller.runtimes.instant import InstantRuntime

CONFIG = matchable_resource_pb2.WorkflowExecutionConfig(
    raw_output_data_config={"output_location_prefix": "/elsewhere/"},
    labels={"values": {"team": "a"}},
    annotations={"values": {"note": "b"}},
    envs={"values": [{"key": "K", "value": "V"}]},
    interruptible={"value": True},
)
RESOURCES = matchable_resource_pb2.TaskResourceAttributes(defaults={"cpu": "2"}, limits={"cpu": "1500m"})


class Recorder(InstantPlugin):
    """Keeps the contexts that requests are built from."""

    def __init__(self) -> None:
        self.contexts: asyncio.Queue[TaskContext] = asyncio.Queue()

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> InstantRequest:
        """As always."""
        self.contexts.put_nowait(context)
        return super().build(template, inputs, context)

    async def next(self) -> TaskContext:
        """The next context."""
        async with asyncio.timeout(60):
            return await self.contexts.get()


class Abyss:
    """A runtime that takes attempts, never ends them, and has forgotten them when it is asked."""

    capacity = 10

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Nothing is ever told."""

    async def run(self) -> None:
        """Live until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Gone."""

    async def abort(self, names: Sequence[str]) -> None:
        """Nothing runs."""

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """Nothing is known."""
        return ()

    async def forget(self, names: Sequence[str]) -> None:
        """Nothing is kept."""

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """Nothing is recorded."""
        return {}


async def test_tasks_get_what_the_execution_was_launched_with(
    pool: asyncpg.Pool, database_url: str, tmp_path: Path
) -> None:
    """Environment, labels, annotations, raw output prefix, interruptibility and resources come from the execution's
    row: for the engine that begins it, and for the one that finds it under way."""
    workflow = await register(pool, chain("chain", 1))
    await launch(pool, workflow, ["e1"])
    await pool.execute(
        "UPDATE executions SET config = $1, task_resources = $2",
        CONFIG.SerializeToString(),
        RESOURCES.SerializeToString(),
    )
    recorder = Recorder()
    async with engine(pool, database_url, tmp_path, Abyss(), plugin=recorder, lease_s=0.5):
        first = await recorder.next()
    async with engine(pool, database_url, tmp_path, InstantRuntime(), plugin=recorder):
        second = await recorder.next()
        assert await wait_ended(pool, 1) == {ExecutionPhase.SUCCEEDED: 1}
    for context in (first, second):
        assert (context.envs, context.labels, context.annotations) == ({"K": "V"}, {"team": "a"}, {"note": "b"})
        assert context.raw_output_prefix.startswith("/elsewhere/")
        assert "//" not in context.raw_output_prefix
        assert context.interruptible
        amounts = context.resources.settle(tasks_pb2.Resources.CPU, tasks_pb2.Resources())
        assert amounts == (Decimal("1.5"), Decimal("1.5"))
    details = await pool.fetchval("SELECT details FROM task_executions")
    closure = task_execution_pb2.TaskExecutionClosure.FromString(details)
    assert closure.metadata.instance_class == event_pb2.TaskExecutionMetadata.INTERRUPTIBLE


async def test_settings_that_cannot_be_read(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """An execution with broken settings fails with the reason; the others of its shard run."""
    workflow = await register(pool, chain("chain", 1))
    await launch(pool, workflow, ["broken", "bad", "good"])
    lots = matchable_resource_pb2.TaskResourceAttributes(limits={"memory": "lots"})
    await pool.execute("UPDATE executions SET config = $1 WHERE name = 'broken'", b"\xff")
    await pool.execute(
        "UPDATE executions SET task_resources = $1 WHERE name = 'bad'",
        lots.SerializeToString(),
    )
    async with engine(pool, database_url, tmp_path, InstantRuntime()):
        assert await wait_ended(pool, 3) == {ExecutionPhase.SUCCEEDED: 1, ExecutionPhase.FAILED: 2}
    for error in await pool.fetch("SELECT error FROM executions WHERE error IS NOT NULL"):
        message = execution_pb2.ExecutionError.FromString(error["error"]).message
        assert message.startswith("the settings of the execution cannot be read")
