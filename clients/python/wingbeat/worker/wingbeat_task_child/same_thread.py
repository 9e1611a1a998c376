"""Runs flytekit's coroutines on the thread that asks, instead of handing each to a thread with a loop and waiting.

flytekit converts values in coroutines that it runs from synchronous code, several for each task. Two switches of
threads each would be a third of a small task. A thread whose own loop runs already gets flytekit's way.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

TURNS_MAX = 50
"""Of a loop, without a look at its sockets and timers."""


class _Runner(Protocol):
    def run(self, coro: Coroutine[Any, Any, Any]) -> object: ...


def install() -> None:
    """For the main thread of this process. Without effect when flytekit is not made as it is known here."""
    module = sys.modules.get("flytekit.utils.asyn")
    manager = getattr(module, "loop_manager", None)
    runners = cast("dict[str, _Runner] | None", getattr(manager, "_runner_map", None))
    make = cast("Callable[[], _Runner] | None", getattr(module, "_TaskRunner", None))
    if runners is not None and make is not None:
        runners[f"{threading.current_thread().name}PID:{os.getpid()}"] = SameThread(make)


class SameThread:
    """Stands in for flytekit's runner of one thread; `make` makes one of those."""

    def __init__(self, make: Callable[[], _Runner]) -> None:
        self._make = make
        self._loop: asyncio.AbstractEventLoop | None = None
        self._other: _Runner | None = None

    def run(self, coro: Coroutine[Any, Any, Any]) -> object:
        """The result of a coroutine."""
        if _is_in_loop():
            self._other = self._other or self._make()
            return self._other.run(coro)
        self._loop = self._loop or new_loop()
        return self._loop.run_until_complete(coro)


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop that looks at its sockets and timers once in a while only as long as it has something else to do: most
    conversions wait for nothing."""
    if hasattr(asyncio.SelectorEventLoop, "_run_once"):
        return _EagerLoop()
    return asyncio.new_event_loop()


class _EagerLoop(asyncio.SelectorEventLoop):
    _turns = 0

    def _run_once(self) -> None:
        ready = cast("deque[asyncio.Handle]", getattr(self, "_ready", ()))
        if not ready or self._turns >= TURNS_MAX:
            self._turns = 0
            super()._run_once()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            return
        self._turns += 1
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001 - as its base does


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
