"""The process that makes the children of a worker, under load and when it dies."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from wingbeat.worker.wingbeat_task_child.messages import socket_pair
from wingbeat.worker.zygote import Zygote

PATIENCE_S = 60.0
CHILDREN = 70
DEPTH = 14
"""Of the folder that requests name: those for so many children are more than a socket keeps for who does not read."""


class Watched:
    """A zygote with what it says of its children."""

    def __init__(self, folder: Path) -> None:
        self.born: dict[int, int] = {}
        self.ended: dict[int, int] = {}
        self.sockets: list[socket.socket] = []
        self.zygote = Zygote(sys.executable, {"PATH": os.environ["PATH"], "TMPDIR": str(folder)}, self._end)
        self._folder = folder.joinpath(*("x" * 240 for _ in range(DEPTH)))
        self._folder.mkdir(parents=True)

    def _end(self, number: int, status: int) -> None:
        self.ended[number] = status

    def fork(self) -> None:
        """Ask for one more child."""
        number = len(self.sockets)
        folder = self._folder / str(number)
        folder.mkdir()
        ours, theirs = socket_pair()
        with theirs:
            self.zygote.fork(number, str(folder), theirs, lambda pid: self.born.update({number: pid}))
        self.sockets.append(ours)

    @property
    def process(self) -> psutil.Process:
        """The zygote's."""
        [found] = [one for one in psutil.Process().children() if "wingbeat_task_child" in " ".join(one.cmdline())]
        return found


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Watched]:
    """A zygote that has loaded flytekit."""
    watched = Watched(folder)
    task = asyncio.create_task(watched.zygote.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await watched.zygote.ready()
        yield watched
    finally:
        for sock in watched.sockets:
            sock.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(what: Callable[[], bool]) -> None:
    """Wait for something that the zygote says."""
    async with asyncio.timeout(PATIENCE_S):
        while not what():
            await asyncio.sleep(0.01)


async def test_more_children_than_it_takes_requests_for(tmp_path: Path) -> None:
    """Each is made as soon as it is there again."""
    async with running(tmp_path) as watched:
        process = watched.process
        process.suspend()
        for _ in range(CHILDREN):
            watched.fork()
        process.resume()
        await until(lambda: len(watched.born) == CHILDREN)
        for sock in watched.sockets:
            sock.close()
        await until(lambda: len(watched.ended) == CHILDREN)
        assert set(watched.ended.values()) == {0}


async def test_children_that_are_asked_for_while_it_dies(tmp_path: Path) -> None:
    """They are reported as killed, like those that lived, and the next zygote makes others."""
    async with running(tmp_path) as watched:
        watched.fork()
        await until(lambda: bool(watched.born))
        watched.process.kill()
        while watched.zygote.is_ready:
            if len(watched.sockets) < CHILDREN:
                watched.fork()
            await asyncio.sleep(0)
        await until(lambda: len(watched.ended) == len(watched.sockets))
        assert set(watched.ended.values()) == {int(signal.SIGKILL)}
        async with asyncio.timeout(PATIENCE_S):
            await watched.zygote.ready()
        watched.fork()
        await until(lambda: len(watched.sockets) - 1 in watched.born)
