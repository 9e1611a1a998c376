"""The dispatcher over a runtime with little room."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flyteidl.core import tasks_pb2
from tests.unit.core.plans import line, task

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.effects import Launch, NodeRef
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.engine.dispatch.dispatcher import Dispatcher
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.ports.runtime import RuntimeEvent
from wingbeat_propeller.ports.tasks import AttemptOrigin, InstantRequest, RuntimeRequest, TaskContext
from wingbeat_propeller.tasks.registry import TaskPlugins


async def nothing_is_dynamic(_live: LiveExecution, launch: Launch) -> Failure:
    """No task here writes futures."""
    raise AssertionError(launch.name)


class OneAtATime:
    """A runtime with room for one attempt, which never ends by itself."""

    capacity = 1

    def __init__(self) -> None:
        self.launched: asyncio.Queue[str] = asyncio.Queue()

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Nothing is ever told."""

    async def run(self) -> None:
        """Live until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Remember what was launched."""
        for request in requests:
            self.launched.put_nowait(request.name)

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


class Plugin:
    """Every task is an instant request."""

    task_types: Sequence[str] = ("test",)

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """No."""
        return False

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> InstantRequest:
        """Only its name matters."""
        return InstantRequest(context.name)


def _live(key: int, priority: int = 0) -> LiveExecution:
    state = ExecutionState(ExecutionKey(key), "p", "d", f"e{key}", line(task("t")), Settings(base_uri="/b"))
    return LiveExecution(
        state, 0, "wf", ("p", "d"), envs={}, labels={}, annotations={}, raw_output_prefix="", priority=priority
    )


def _launch(name: str) -> Launch:
    return Launch(
        ref=NodeRef(0, 2, 0),
        name=name,
        generated_name=name,
        node_id="n0",
        task=task("t"),
        previous_generated_name=None,
        inputs=b"",
        data_dir="/b/n0",
        output_dir="/b/n0/0",
        timeout_s=None,
        interruptible=False,
    )


def _made(tmp_path: Path) -> tuple[Dispatcher, OneAtATime]:
    runtime = OneAtATime()
    dispatcher = Dispatcher(
        runtime=runtime,
        plugins=TaskPlugins([], Plugin()),
        blobs=FolderBlobs(tmp_path),
        compile_dynamic=nothing_is_dynamic,
        raw_output_prefix="/b/data",
        apply=lambda _live, _event: None,
        clock=lambda: 0.0,
    )
    return dispatcher, runtime


async def test_room_left_by_an_execution_that_leaves_is_used(tmp_path: Path) -> None:
    """When an execution ends or moves away, what waits behind its attempts starts."""
    dispatcher, runtime = _made(tmp_path)
    leaving, staying = _live(1), _live(2)
    running = asyncio.create_task(dispatcher.run())
    dispatcher.launch(leaving, _launch("first"))
    dispatcher.launch(staying, _launch("second"))
    async with asyncio.timeout(60):
        assert await runtime.launched.get() == "first"
        await asyncio.sleep(0)
        assert dispatcher.queued == 1
        dispatcher.drop(leaving)
        assert await runtime.launched.get() == "second"
    running.cancel()
    await asyncio.wait([running])


async def test_priorities(tmp_path: Path) -> None:
    """Of a tenant's attempts that wait, those of executions with the highest priority start first, after a restart as
    well; of equal ones the oldest."""
    dispatcher, runtime = _made(tmp_path)
    running = asyncio.create_task(dispatcher.run())
    lives = {name: _live(number, priority) for number, (name, priority) in enumerate(_PRIORITIES.items())}
    dispatcher.launch(_live(99, -100), _launch("first"))
    async with asyncio.timeout(60):
        assert await runtime.launched.get() == "first"
        for name in ("low", "usual", "high"):
            dispatcher.launch(lives[name], _launch(name))
        await dispatcher.adopt([(lives["higher"], _launch("higher")), (lives["lower"], _launch("lower"))])
        dispatcher.launch(lives["usual"], _launch("later"))
        order: list[str] = []
        for ended in ("first", "higher", "high", "usual", "later", "low"):
            dispatcher.abort(lives.get(ended, lives["usual"]), ended)
            order.append(await runtime.launched.get())
    assert order == ["higher", "high", "usual", "later", "low", "lower"]
    running.cancel()
    await asyncio.wait([running])


_PRIORITIES = {"low": -5, "usual": 0, "high": 7, "higher": 100, "lower": -100}


async def test_room_left_by_an_abort_is_used(tmp_path: Path) -> None:
    """The same for an attempt that is aborted."""
    dispatcher, runtime = _made(tmp_path)
    live = _live(1)
    running = asyncio.create_task(dispatcher.run())
    dispatcher.launch(live, _launch("first"))
    dispatcher.launch(live, _launch("second"))
    async with asyncio.timeout(60):
        assert await runtime.launched.get() == "first"
        dispatcher.abort(live, "first")
        assert await runtime.launched.get() == "second"
    running.cancel()
    await asyncio.wait([running])
