"""What becomes of the ends that a runtime tells of."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.core.plans import task
from tests.unit.engine.test_dispatcher import OneAtATime, Plugin, _launch, _live, nothing_is_dynamic

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.events import Event, TaskSucceeded
from wingbeat_propeller.core.values import build_literal_map
from wingbeat_propeller.engine.dispatch.dispatcher import Dispatcher
from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent
from wingbeat_propeller.tasks.registry import TaskPlugins


class Telling(OneAtATime):
    """A runtime that a test lets tell of ends."""

    tell: Callable[[Sequence[RuntimeEvent]], None]

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Remember who listens."""
        self.tell = sink


@pytest.mark.parametrize(
    ("wants_deck", "is_written", "told"),
    [
        (None, True, "/deck.html"),
        (None, False, None),
        (True, True, "/deck.html"),
        (True, False, ""),
        (False, True, None),
    ],
)
async def test_the_deck_of_a_task_that_succeeds(
    tmp_path: Path, wants_deck: bool | None, is_written: bool, told: str | None
) -> None:
    """What it wrote is known with its end, and what was announced and never written is taken back."""
    blobs, runtime = FolderBlobs(tmp_path), Telling()
    events: asyncio.Queue[Event] = asyncio.Queue()
    dispatcher = Dispatcher(
        runtime=runtime,
        plugins=TaskPlugins([], Plugin()),
        blobs=blobs,
        compile_dynamic=nothing_is_dynamic,
        raw_output_prefix="/b/data",
        apply=lambda _live, event: events.put_nowait(event),
        clock=lambda: 0.0,
    )
    folder = f"{blobs.base}/0"
    await blobs.put(f"{folder}/outputs.pb", build_literal_map({"o0": b"\x0a\x00"}))
    if is_written:
        await blobs.put(f"{folder}/deck.html", b"<html>")
    launch = _launch("first")._replace(output_dir=folder, task=replace(task("t"), wants_deck=wants_deck))
    running = asyncio.create_task(dispatcher.run())
    dispatcher.launch(_live(1), launch)
    async with asyncio.timeout(60):
        await runtime.launched.get()
        runtime.tell([Ended("first", 1.0)])
        event = await events.get()
    running.cancel()
    await asyncio.wait([running])
    assert isinstance(event, TaskSucceeded)
    assert event.deck_uri == (f"{folder}{told}" if told else told)
