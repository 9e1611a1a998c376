"""What a launch stream reads ahead of what it launches."""

import asyncio
from collections.abc import AsyncIterator

from wingbeat_controlplane.launching.launch_stream import BUFFERED_BYTES_MAX, MESSAGE_BYTES_MIN, Buffer
from wingbeatidl.launch.v1 import launch_pb2


async def test_messages_without_items_are_bounded() -> None:
    """They are small and may come without end; when nobody takes them no more are read."""
    read = 0

    async def endless() -> AsyncIterator[launch_pb2.LaunchStreamRequest]:
        nonlocal read
        while True:
            read += 1
            yield launch_pb2.LaunchStreamRequest()

    buffer = Buffer(endless())
    reading = asyncio.create_task(buffer.read())
    await asyncio.sleep(0)  # it goes on without a pause until it waits for room
    assert read == BUFFERED_BYTES_MAX // MESSAGE_BYTES_MIN
    assert not reading.done()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
