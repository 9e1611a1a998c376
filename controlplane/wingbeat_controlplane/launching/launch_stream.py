"""A stream of items: read as far as they are launched, launched together with what has come meanwhile.

One task reads messages into a buffer with a bound, and whoever consumes `launch_stream` drives the rest: what is in the
buffer is launched together, so many small messages cost little more than one large. When the buffer is full nothing
more is read, and the client is held up by the transport; when acknowledgements are not taken, nothing more is launched.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress

from wingbeat_controlplane.executions.launch import Caller
from wingbeat_controlplane.launching.back_pressure import WAIT_S_MAX, BackPressure
from wingbeat_controlplane.launching.bulk import PORTION, BulkLauncher
from wingbeat_controlplane.launching.item_settings import Defaults
from wingbeat_controlplane.launching.limits import check_count
from wingbeatidl.launch.v1 import item_pb2, launch_pb2

BUFFERED_MAX = 2 * PORTION
"""Items read and not yet launched, before the message that is being read."""
BUFFERED_BYTES_MAX = 16 << 20
"""And their bytes."""
MESSAGE_BYTES_MIN = 256
"""What the smallest message counts for: one without items takes memory, too."""
POLL_S = 0.25
"""How often a stream that is held back looks again."""


class Buffer:
    """Messages read ahead."""

    def __init__(self, requests: AsyncIterator[launch_pb2.LaunchStreamRequest]) -> None:
        self._requests = requests
        self._messages: deque[launch_pb2.LaunchStreamRequest] = deque()
        self._items = 0
        self._bytes = 0
        self._ended = False
        self._error: BaseException | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    async def read(self) -> None:
        """Until the client has closed its side or the stream breaks."""
        try:
            async for request in self._requests:
                check_count(len(request.items))
                self._messages.append(request)
                self._items += len(request.items)
                self._bytes += _size(request)
                self._changed.set()
                while self._items >= BUFFERED_MAX or self._bytes >= BUFFERED_BYTES_MAX:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:  # noqa: BLE001 (raised to whoever takes the next message)
            self._error = error
        self._ended = True
        self._changed.set()

    async def take(self) -> Sequence[launch_pb2.LaunchStreamRequest]:
        """What has come: at least one message, no more than a portion of items if there are several; none at the end.
        Raises what reading raised."""
        while not self._messages and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        if not self._messages and self._error is not None:
            raise self._error
        taken: list[launch_pb2.LaunchStreamRequest] = []
        count = 0
        while self._messages and (not taken or count + len(self._messages[0].items) <= PORTION):
            count += len(self._messages[0].items)
            taken.append(self._messages.popleft())
            self._bytes -= _size(taken[-1])
        self._items -= count
        self._room.set()
        return taken


def _size(request: launch_pb2.LaunchStreamRequest) -> int:
    return request.ByteSize() + MESSAGE_BYTES_MIN


async def launch_stream(
    requests: AsyncIterator[launch_pb2.LaunchStreamRequest],
    launcher: BulkLauncher,
    pressure: BackPressure,
    caller: Caller,
) -> AsyncGenerator[launch_pb2.LaunchStreamResponse, None]:
    """Acknowledgements in the order of items. Raises ApiError, and what `BulkLauncher.launch` raises."""
    buffer = Buffer(requests)
    reader = asyncio.create_task(buffer.read(), name="read launch stream")
    defaults = Defaults("", "", item_pb2.LaunchTemplate())
    number = 0
    try:
        while messages := await buffer.take():
            for held, items in _runs(messages, defaults):
                defaults = held
                if not items:
                    continue
                async for waiting in _until_room(pressure, len(items)):
                    yield waiting
                outcomes = await launcher.launch(items, launcher.lookups(defaults, caller))
                yield launch_pb2.LaunchStreamResponse(first_item=number, outcomes=outcomes)
                number += len(items)
    finally:
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader


def _runs(
    messages: Sequence[launch_pb2.LaunchStreamRequest], defaults: Defaults
) -> list[tuple[Defaults, list[item_pb2.LaunchItem]]]:
    """Consecutive items that have the same defaults."""
    runs: list[tuple[Defaults, list[item_pb2.LaunchItem]]] = [(defaults, [])]
    for message in messages:
        if message.project or message.domain or message.HasField("template"):
            runs.append((Defaults(message.project, message.domain, message.template), []))
        runs[-1][1].extend(message.items)
    return runs


async def _until_room(pressure: BackPressure, count: int) -> AsyncGenerator[launch_pb2.LaunchStreamResponse, None]:
    """Wait until the engines have caught up, saying so once. Raises ApiError RESOURCE_EXHAUSTED."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_S_MAX
    if not await pressure.has_room(count):
        yield launch_pb2.LaunchStreamResponse(held_back=True)
        # Engines of other processes make room: there is no event to wait for.
        while loop.time() < deadline and not await pressure.has_room(count):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
    await pressure.check(count)
