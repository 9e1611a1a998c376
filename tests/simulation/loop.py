"""A deterministic asyncio event loop with virtual time, in which several simulated processes live.

Every callback belongs to the process in whose context it was scheduled. Callbacks of one process run in the order in
which they were scheduled, as asyncio promises; whose callback is next is drawn from the seed, as nothing orders what
separate processes do. Time stands still while any callback can run and then jumps to the next timer, so an hour of
waiting costs nothing. What is left to a thread happens at one instant. There are no
sockets, signals or real clocks here: asking for one is an error.

A process can be killed (`kill`): it stops between two callbacks, as under SIGKILL, and none of its code takes effect
again. A paused process (SIGSTOP) misses its timers and meets them all when it goes on.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

_CALLBACKS_MAX = 200_000
"""Callbacks at one instant of virtual time: more is a busy loop."""


class BusyLoopError(AssertionError):
    """Callbacks follow each other without end while no time passes."""


class DeadlockError(AssertionError):
    """Nothing can run and no timer is set."""


class Process:
    """One simulated operating system process. `name` is for people; `number` orders them."""

    __slots__ = (
        *("alive", "context", "doom", "failed", "fuse", "loop", "name", "number", "offset_s", "paused", "ready"),
        "tasks",
    )

    def __init__(self, loop: "SimulatedLoop", name: str, number: int) -> None:
        self.loop = loop
        self.name = name
        self.number = number
        self.alive = True
        self.paused = False
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: dict[SimulatedTask, None] = {}
        """Those that have not ended."""
        self.failed: list[SimulatedTask] = []
        self.offset_s = 0.0
        """By how much its wall clock is ahead of the others'."""
        self.fuse = 0
        """Callbacks until `doom` is called; 0 is never."""
        self.doom: Callable[[], None] | None = None
        self.context = copy_context()
        self.context.run(_PROCESS.set, self)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        """A task of this process."""
        return self.context.copy().run(self.loop.create_task, coroutine, name=name)

    def lost(self) -> list[str]:
        """What the process has lost sight of when its main task has ended: tasks that go on, and errors that nobody
        took. Call it once."""
        lost = [f"{task.get_name()} goes on" for task in self.tasks if not task.done()]
        for task in (*self.tasks, *self.failed):
            if task.done() and task._log_traceback:
                lost.append(f"{task.get_name()} has failed with {task._exception!r}")
                task._log_traceback = False
        return lost

    def ended(self, task: "SimulatedTask") -> None:
        """A task has ended."""
        del self.tasks[task]
        if task._exception is not None:
            self.failed.append(task)

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        """Run `callback` inside this process."""
        return self.loop.call_at(self.loop.time() + delay_s, callback, *args, context=self.context)


_PROCESS: ContextVar[Process] = ContextVar("process")


def current_process() -> Process:
    """The process that the running code belongs to."""
    return _PROCESS.get()


class SimulatedTask(asyncio.Task[Any]):
    """A task with a hash that does not depend on its address, so that sets of tasks have the same order each run."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, serial: int, **options: Any) -> None:
        self._serial = serial
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._serial


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module. `world` is the process of the code that starts the loop; it is never killed or paused."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._draw = rng.random
        self._virtual_s = 0.0
        self._heap: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._serial = 0
        self._runnable: list[Process] = []
        self._instant = 0
        self.callbacks = 0
        self.unhandled: Callable[[BaseException], None] = lambda _error: None
        """Hears what asyncio would only have logged: exceptions that nobody took."""
        self.processes: list[Process] = []
        self.world = self.add_process("world")
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._on_exception)

    def add_process(self, name: str) -> Process:
        """A fresh process without tasks."""
        process = Process(self, name, len(self.processes))
        self.processes.append(process)
        return process

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run `main` in the process `world` to its end, then close the loop."""
        try:
            self.world.context.copy().run(self.run_until_complete, main)
        finally:
            for process in self.processes:
                self.kill(process)
            self.close()

    def pause(self, process: Process) -> None:
        """Stop the process until `resume`."""
        process.paused = True
        if process in self._runnable:
            self._runnable.remove(process)

    def resume(self, process: Process) -> None:
        """Let a paused process go on."""
        if process.paused:
            process.paused = False
            if process.ready and process.alive:
                self._runnable.append(process)

    def kill(self, process: Process) -> None:
        """End the process here and now; not from one of its own callbacks.

        Its coroutines are closed so that nothing of them is left, which runs their `finally` blocks in a process whose
        calls reach nobody.
        """
        process.alive = False
        process.ready.clear()
        if process in self._runnable:
            self._runnable.remove(process)
        for task in list(process.tasks):
            if not task.done():
                task._log_destroy_pending = False
                process.context.copy().run(_close, task.get_coro())
        for task in (*process.tasks, *process.failed):
            task._log_traceback = False
        process.tasks.clear()
        process.failed.clear()

    # ---- what asyncio calls ----

    def time(self) -> float:
        """Virtual seconds since the world began."""
        return self._virtual_s

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Put a callback at the end of its process's line."""
        handle = asyncio.Handle(callback, args, self, context)
        self._push(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        return self.call_at(self._virtual_s + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, timer))
        return timer

    def call_soon_threadsafe(self, *_args: Any, **_options: Any) -> asyncio.Handle:
        raise NotImplementedError("there are no threads in the simulation")

    def run_in_executor(self, _executor: object, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """A thread does its work at one instant, some time later."""
        result = self.create_future()

        def work() -> None:
            if not result.cancelled():
                try:
                    result.set_result(func(*args))
                except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
                    result.set_exception(error)

        self.call_later(self._draw() * 0.01, work)
        return result

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers stay in the heap until they come up."""

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Nothing runs because memory is given back: when that happens is no part of the seed."""
        self._asyncgens.discard(agen)

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""

    def _make_task(self, _loop: object, coro: Coroutine[Any, Any, Any], **options: Any) -> SimulatedTask:
        self._serial += 1
        process = _PROCESS.get()
        task = SimulatedTask(coro, serial=self._serial, loop=self, **options)
        if process.alive:
            process.tasks[task] = None
            task.add_done_callback(process.ended)
        else:
            task._log_destroy_pending = False
            _close(coro)
        return task

    def _push(self, handle: asyncio.Handle) -> None:
        process = handle._context.get(_PROCESS, self.world)
        if not process.alive:
            return
        ready = process.ready
        if not ready and not process.paused:
            self._runnable.append(process)
        ready.append(handle)

    def _run_once(self) -> None:
        runnable = self._runnable
        if not runnable:
            self._advance()
            return
        index = int(self._draw() * len(runnable)) if len(runnable) > 1 else 0
        process = runnable[index]
        handle = process.ready.popleft()
        if not process.ready:
            runnable[index] = runnable[-1]
            runnable.pop()
        self.callbacks += 1
        self._instant += 1
        if self._instant > _CALLBACKS_MAX:
            raise BusyLoopError(f"{process.name} is busy while no time passes: {handle!r}")
        if not handle._cancelled:
            handle._run()
        if process.fuse:
            process.fuse -= 1
            if not process.fuse and process.doom is not None:
                process.doom()

    def _advance(self) -> None:
        """To the next timer; all that are due then become ready in the order of their times."""
        heap = self._heap
        while heap and heap[0][2]._cancelled:
            heapq.heappop(heap)
        if not heap:
            raise DeadlockError("nothing can run and nothing is waited for")
        if heap[0][0] > self._virtual_s:
            self._virtual_s = heap[0][0]
            self._instant = 0
        while heap and heap[0][0] <= self._virtual_s:
            timer = heapq.heappop(heap)[2]
            if not timer._cancelled:
                self._push(timer)

    def _on_exception(self, _loop: object, context: dict[str, Any]) -> None:
        if str(context.get("message")).endswith("was never retrieved"):
            return  # heard of when garbage is collected, whenever that is; see Process.lost
        error = AssertionError(f"nobody took an exception: {context.get('message')}")
        error.__cause__ = context.get("exception")
        self.unhandled(error)


def _close(coroutine: Any) -> None:
    """Close a coroutine with all that it awaits, innermost first, also when `finally` blocks await again and again."""
    for _ in range(1000):
        innermost = None
        current = coroutine
        while getattr(current, "cr_frame", None) is not None:
            innermost, current = current, current.cr_await
        if innermost is None:
            return
        try:
            innermost.close()
        except BaseException:  # noqa: BLE001 - it awaited while it was closed, or whatever a dying process meets
            continue
    raise AssertionError(f"{coroutine!r} does not let itself be closed")
