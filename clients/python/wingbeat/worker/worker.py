"""A worker: one zygote, its children, and a stream to each engine of the installation.

`run` lives until it is told to stop. Then the engines hear that no further task is taken, what has not begun is given
back, and what runs has time to end; what is left is ended and reported as such, so that it runs elsewhere.
"""

import asyncio
import contextlib
import logging
import os
import signal
import uuid

import grpc.aio

from wingbeat.endpoint import Endpoint
from wingbeat.worker.attempts import Attempts
from wingbeat.worker.children import Children
from wingbeat.worker.directory import watch_engines
from wingbeat.worker.engine_stream import EngineStream
from wingbeat.worker.options import WorkerOptions
from wingbeat.worker.scratch import Scratch
from wingbeatidl.worker.v1 import worker_pb2

_READY_VARIABLE = "WINGBEAT_READY_FD"
"""Descriptor to which a supervisor wants a byte written once tasks can come."""
_FLUSH_S = 2.0
_SHARED_TICK_S = 0.02

_log = logging.getLogger(__name__)


class Worker:
    """See the module. `channel` leads to the server, which is at `server`."""

    def __init__(self, options: WorkerOptions, channel: grpc.aio.Channel, server: Endpoint) -> None:
        self._options = options
        self._channel = channel
        self._server = server
        self._scratch = Scratch()
        self._children = Children(options, self._scratch.path)
        self._attempts = Attempts(options, self._children)
        self._engines: dict[int, EngineStream] = {}
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._draining = False
        self._hello = worker_pb2.Hello(
            worker_id=uuid.uuid4().hex,
            name=options.name,
            slots=options.slots,
            images=options.images,
            task_types=options.task_types,
            labels=options.labels,
            cpus=options.cpus,
            memory_bytes=options.memory_bytes,
            knows_codes=True,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set and everything has ended. Raises ZygoteFailedError (in an ExceptionGroup)."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                parts = [
                    group.create_task(self._children.zygote.run(), name="zygote"),
                    group.create_task(self._attempts.watch(), name="watch attempts"),
                    group.create_task(self._follow_engines(), name="engines"),
                    group.create_task(self._tell_slots(), name="slots"),
                    group.create_task(asyncio.to_thread(self._scratch.sweep), name="sweep"),
                ]
                await stop.wait()
                await self._drain()
                for part in [*self._streams.values(), *parts]:
                    part.cancel()
        finally:
            self._children.close()
            await asyncio.to_thread(self._scratch.remove)

    async def _drain(self) -> None:
        self._draining = True
        for engine in self._engines.values():
            engine.drain()
        try:
            async with asyncio.timeout(self._options.drain_s):
                await self._attempts.drain()
        except TimeoutError:
            _log.warning("tasks still run and are ended")
            self._attempts.stop_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.kill_grace_s + 1):
                    await self._attempts.wait_for_ends()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await asyncio.gather(*(engine.hang_up() for engine in self._engines.values()))

    async def _follow_engines(self) -> None:
        """A stream to each engine; nothing is taken before tasks can run."""
        assert self._group is not None, "the worker runs"
        await self._children.zygote.ready()
        _log.info("ready, %d slots, tasks run under %s", self._options.slots, self._options.python)
        async for engines in watch_engines(self._channel, self._knows_all):
            if self._knows_all():
                _say_ready()
            for term in [term for term in self._engines if term not in engines]:
                self._streams.pop(term).cancel()
                self._attempts.orphan(self._engines.pop(term))
            for term, address in engines.items():
                if term in self._engines or not address:
                    continue
                stream = EngineStream(address, self._server, self._hello, self._attempts)
                if self._draining:
                    stream.drain()
                self._engines[term] = stream
                self._streams[term] = self._group.create_task(_quietly(stream), name=f"engine {term}")

    def _knows_all(self) -> bool:
        """Whether there is a stream to each engine that is known, and there is one."""
        return bool(self._engines) and all(engine.welcomed.is_set() for engine in self._engines.values())

    async def _tell_slots(self) -> None:
        """Where there are several engines, each hears what the others take."""
        while True:
            await asyncio.sleep(_SHARED_TICK_S if len(self._engines) > 1 else 1.0)
            for engine in self._engines.values():
                engine.tell_slots()


def _say_ready() -> None:
    """Tell the supervisor, if there is one, that tasks may come; once."""
    number = os.environ.pop(_READY_VARIABLE, "")
    if number.isdigit():
        with contextlib.suppress(OSError):
            os.write(int(number), b"\n")
            os.close(int(number))


async def _quietly(stream: EngineStream) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await stream.run()


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT; a second one ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop
