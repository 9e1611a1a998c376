"""The loop that a child runs flytekit's coroutines on."""

import asyncio
import socket

from wingbeat.worker.wingbeat_task_child.same_thread import TURNS_MAX, new_loop


def test_sockets_and_timers_are_served_beside_busy_tasks() -> None:
    """However busy a task keeps the loop, another one gets what it waits for."""

    async def busy(done: asyncio.Event) -> int:
        turns = 0
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)
        return turns

    async def patient(done: asyncio.Event) -> bytes:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.send(b"x")
            said = await asyncio.get_running_loop().sock_recv(ours, 1)
            while True:
                try:
                    async with asyncio.timeout(0.001):
                        await asyncio.Event().wait()
                except TimeoutError:
                    break
        done.set()
        return said

    async def both() -> tuple[int, bytes]:
        done = asyncio.Event()
        turns, said = await asyncio.gather(busy(done), patient(done))
        return turns, said

    loop = new_loop()
    try:
        turns, said = loop.run_until_complete(both())
        assert loop.run_until_complete(asyncio.sleep(0.001, "slept")) == "slept"
    finally:
        loop.close()
    assert said == b"x"
    assert turns > TURNS_MAX
