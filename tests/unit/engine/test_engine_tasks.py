"""Tasks that the engine carries out itself, under the dispatcher, on a clock that jumps."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from flyteidl.core import tasks_pb2
from tests.unit.engine.test_dispatcher import OneAtATime, _launch, _live, nothing_is_dynamic

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.events import Event, TaskFailed, TaskStarted, TaskSucceeded
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.values import INLINE_BYTES_MAX, Ref, build_literal_map
from wingbeat_propeller.engine.dispatch.dispatcher import Dispatcher
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.ports.tasks import BadTaskError, InstantRequest, TaskContext
from wingbeat_propeller.tasks.registry import TaskPlugins

pytestmark = pytest.mark.looptime


class Copier:
    """Hands the inputs on after a delay, or fails as it is told to."""

    task_types: Sequence[str] = ("test",)
    runs_in_engine = True

    def __init__(self, delay_s: float = 0.0, error: Exception | None = None) -> None:
        self.delay_s = delay_s
        self.error = error

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """Yes."""
        return True

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> InstantRequest:
        """The same under the same names."""
        if self.error is not None:
            raise self.error
        return InstantRequest(context.name, build_literal_map(inputs or {}), delay_s=self.delay_s)


class Bench:
    """A dispatcher over a runtime that must never hear of these tasks."""

    def __init__(self, folder: Path, plugin: Copier) -> None:
        self.blobs = FolderBlobs(folder)
        self.runtime = OneAtATime()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.dispatcher = Dispatcher(
            runtime=self.runtime,
            plugins=TaskPlugins([], plugin),
            blobs=self.blobs,
            compile_dynamic=nothing_is_dynamic,
            raw_output_prefix="/b/data",
            apply=self._apply,
            clock=lambda: asyncio.get_running_loop().time(),
        )

    def _apply(self, _live: LiveExecution, event: Event) -> None:
        self.events.put_nowait(event)

    def launch(self, name: str, inputs: bytes | None) -> Launch:
        """A launch whose files lie in the store."""
        base = self.blobs.base
        return _launch(name)._replace(inputs=inputs, data_dir=f"{base}/{name}", output_dir=f"{base}/{name}/0")

    async def __aenter__(self) -> "Bench":
        self._running = asyncio.create_task(self.dispatcher.run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])
        assert self.runtime.launched.empty()


async def test_values_are_handed_on(tmp_path: Path) -> None:
    """Small inputs become outputs at once, more of them than the runtime has room for, each once."""
    async with Bench(tmp_path, Copier()) as bench:
        live = _live(1)
        inputs = build_literal_map({"x": b"\x0a\x00"})
        for name in ("a", "b", "c", "a"):
            bench.dispatcher.launch(live, bench.launch(name, inputs))
        events = [await bench.events.get() for _ in range(3)]
        assert all(isinstance(event, TaskSucceeded) for event in events)
        assert [event.serialized for event in events if isinstance(event, TaskSucceeded)] == [inputs] * 3
        assert bench.events.empty()
        assert not live.names


async def test_large_values_go_through_the_store(tmp_path: Path) -> None:
    """Inputs that are not at hand are read; outputs too large for a row are written, and the event refers to them."""
    async with Bench(tmp_path, Copier()) as bench:
        data = build_literal_map({"x": b"\x0a" * INLINE_BYTES_MAX})
        launch = bench.launch("a", None)
        await bench.blobs.put(f"{launch.data_dir}/inputs.pb", data)
        bench.dispatcher.launch(_live(1), launch)
        event = await bench.events.get()
        assert isinstance(event, TaskSucceeded)
        uri = f"{launch.output_dir}/outputs.pb"
        assert (event.outputs, event.serialized) == ({"x": Ref(uri, "x")}, None)
        assert await bench.blobs.get(uri) == data


async def test_inputs_that_are_gone(tmp_path: Path) -> None:
    """An attempt whose inputs cannot be read fails."""
    async with Bench(tmp_path, Copier()) as bench:
        bench.dispatcher.launch(_live(1), bench.launch("a", None))
        event = await bench.events.get()
        assert isinstance(event, TaskFailed)
        assert event.failure.code == "BindingResolutionFailure"


async def test_a_delay(tmp_path: Path) -> None:
    """A task that takes its time is running meanwhile; an abort or the end of its execution ends it without a word."""
    async with Bench(tmp_path, Copier(delay_s=60)) as bench:
        live = _live(1)
        began = asyncio.get_running_loop().time()
        for name in ("a", "b"):
            bench.dispatcher.launch(live, bench.launch(name, b""))
        bench.dispatcher.launch(leaving := _live(2), bench.launch("c", b""))
        assert all([isinstance(await bench.events.get(), TaskStarted) for _ in range(3)])
        bench.dispatcher.abort(live, "b")
        bench.dispatcher.drop(leaving)
        assert isinstance(await bench.events.get(), TaskSucceeded)
        assert asyncio.get_running_loop().time() - began == pytest.approx(60)
        await asyncio.sleep(600)
        assert bench.events.empty()


async def test_after_a_restart(tmp_path: Path) -> None:
    """Attempts that were under way are carried out again; the runtime is not asked for them."""
    async with Bench(tmp_path, Copier()) as bench:
        await bench.dispatcher.adopt([(_live(1), bench.launch("a", b""))])
        assert isinstance(await bench.events.get(), TaskSucceeded)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadTaskError(Failure(ErrorKind.USER, "BadTaskSpecification", "no")), "BadTaskSpecification"),
        (RuntimeError("a bug"), "FailedToBuildResource"),
    ],
)
async def test_a_plugin_that_fails(tmp_path: Path, error: Exception, code: str) -> None:
    """What a plugin raises fails the attempt and nothing else."""
    async with Bench(tmp_path, Copier(error=error)) as bench:
        bench.dispatcher.launch(_live(1), bench.launch("a", b""))
        event = await bench.events.get()
        assert isinstance(event, TaskFailed)
        assert event.failure.code == code
