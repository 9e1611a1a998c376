"""Eager tasks under the dispatcher: they leave the room to their children."""

import asyncio
import dataclasses
from pathlib import Path

from flyteidl.core import tasks_pb2
from tests.unit.engine.test_dispatcher import _launch, _live, _made

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.engine.dispatch.eager_line import CHILD_LABEL, EAGER_MAX
from wingbeat_propeller.engine.live import LiveExecution


def _eager(name: str) -> Launch:
    launch = _launch(name)
    template = tasks_pb2.TaskTemplate(type="test", metadata=tasks_pb2.TaskMetadata(is_eager=True))
    return launch._replace(task=dataclasses.replace(launch.task, template=template))


def _child_of_eager(key: int) -> LiveExecution:
    live = _live(key)
    live.labels = {CHILD_LABEL: "e1"}
    return live


async def test_children_have_room(tmp_path: Path) -> None:
    """With room for one attempt any number of eager tasks leave it to others, and wait for none themselves."""
    dispatcher, runtime = _made(tmp_path)
    live, child = _live(1), _child_of_eager(2)
    running = asyncio.create_task(dispatcher.run())
    for name in ("a", "b"):
        dispatcher.launch(live, _eager(name))
    dispatcher.launch(child, _launch("work"))
    dispatcher.launch(child, _launch("more"))
    dispatcher.launch(child, _eager("nested"))
    async with asyncio.timeout(60):
        started = {await runtime.launched.get() for _ in range(4)}
    assert started == {"a", "b", "nested", "work"}
    assert dispatcher.queued == 1
    running.cancel()
    await asyncio.wait([running])


async def test_eager_tasks_are_bounded_but_for_those_that_are_waited_for(tmp_path: Path) -> None:
    """So many that nobody waits for run at once; a further one starts when one ends, a nested one at once."""
    dispatcher, runtime = _made(tmp_path)
    live, child = _live(1), _child_of_eager(2)
    running = asyncio.create_task(dispatcher.run())
    for number in range(EAGER_MAX + 2):
        dispatcher.launch(live, _eager(f"e{number}"))
    async with asyncio.timeout(60):
        started = [await runtime.launched.get() for _ in range(EAGER_MAX)]
        assert started == [f"e{number}" for number in range(EAGER_MAX)]
        dispatcher.launch(child, _eager("nested"))
        assert await runtime.launched.get() == "nested"
        dispatcher.abort(live, f"e{EAGER_MAX}")  # it waits
        dispatcher.abort(live, "e0")
        assert await runtime.launched.get() == f"e{EAGER_MAX + 1}"
    assert dispatcher.queued == 0
    running.cancel()
    await asyncio.wait([running])


async def test_after_a_restart(tmp_path: Path) -> None:
    """What was under way before takes no room of others either; here the runtime has lost it, so it starts anew."""
    dispatcher, runtime = _made(tmp_path)
    live = _live(1)
    running = asyncio.create_task(dispatcher.run())
    await dispatcher.adopt([(live, _eager("a")), (live, _eager("b"))])
    dispatcher.launch(live, _launch("work"))
    async with asyncio.timeout(60):
        assert {await runtime.launched.get() for _ in range(3)} == {"a", "b", "work"}
    dispatcher.drop(live)
    running.cancel()
    await asyncio.wait([running])
