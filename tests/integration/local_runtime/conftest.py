"""A local runtime with its real task hosts, and what a test needs to follow its attempts."""

import asyncio
import dataclasses
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent, Started
from wingbeat_propeller.ports.tasks import ContainerRequest
from wingbeat_propeller.runtimes.local import LocalRuntime, LocalRuntimeOptions, stop_hosts

EventT = TypeVar("EventT", Started, Ended)

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
PATIENCE_S = 60.0
"""A hung runtime fails the test instead of the whole run."""


class Follower:
    """Runs one LocalRuntime and keeps its events."""

    def __init__(self, runtime: LocalRuntime) -> None:
        self.runtime = runtime
        self.events: list[RuntimeEvent] = []
        self._changed = asyncio.Event()
        runtime.subscribe(self._take)

    def _take(self, events: Sequence[RuntimeEvent]) -> None:
        self.events.extend(events)
        self._changed.set()

    async def _wait(self, name: str, kind: type[EventT]) -> EventT:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event in self.events:
                    if event.name == name and isinstance(event, kind):
                        return event
                self._changed.clear()
                await self._changed.wait()

    async def started(self, name: str) -> Started:
        """The start of an attempt."""
        return await self._wait(name, Started)

    async def ended(self, name: str) -> Ended:
        """The end of an attempt."""
        return await self._wait(name, Ended)

    async def shell(self, name: str, script: str, **limits: float | None) -> None:
        """Launch a shell script."""
        await self.runtime.launch([shell_request(name, script, **limits)])


def shell_request(
    name: str, script: str, env: dict[str, str] | None = None, **limits: float | None
) -> ContainerRequest:
    """A container that runs a shell script."""
    return ContainerRequest(name=name, image="any", argv=["sh", "-c", script], env=env or {}, **limits)  # pyright: ignore


FollowRuntime = Callable[..., AbstractAsyncContextManager[Follower]]


@pytest.fixture
def options(tmp_path: Path) -> LocalRuntimeOptions:
    """Options over an empty state folder, with no flytekit on the PATH."""
    return LocalRuntimeOptions(
        state_dir=tmp_path / "state",
        path=SYSTEM_PATH,
        logs_url_base="http://localhost/logs",
        kill_grace_s=0.5,
        memory_poll_s=0.05,
    )


@pytest.fixture
def flytekit_options(options: LocalRuntimeOptions) -> LocalRuntimeOptions:
    """Options with the environment that runs this test on the PATH; it holds flytekit."""
    return dataclasses.replace(options, path=os.pathsep.join((str(Path(sys.executable).parent), SYSTEM_PATH)))


@pytest.fixture
async def follow(options: LocalRuntimeOptions) -> AsyncIterator[FollowRuntime]:
    """Run a runtime while the context lasts; leaving it drops the engine's side alone. Hosts are stopped at the end."""

    @asynccontextmanager
    async def _follow(given: LocalRuntimeOptions = options) -> AsyncIterator[Follower]:
        runtime = LocalRuntime(given)
        follower = Follower(runtime)
        running = asyncio.create_task(runtime.run())
        try:
            yield follower
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    yield _follow
    async with asyncio.timeout(PATIENCE_S):
        await stop_hosts(options.state_dir)
