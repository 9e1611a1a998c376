"""Work that ends when the process is told to stop."""

import asyncio
import signal
from collections.abc import Coroutine


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set from now on. Call it inside the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def unless_stopped(stop: asyncio.Event, work: Coroutine[object, object, object]) -> bool:
    """Do the work; False when the stop came first, and the work was cancelled and took its leave.

    Raises what the work raises, while it is taking its leave as well.
    """
    working = asyncio.create_task(work, name="work")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        finished = working.done()
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.wait((working, stopping))
    if not working.cancelled():
        working.result()
    return finished
