"""Keeps one child running: restarts it when it dies, with growing pauses, and logs why it died.

The pause doubles with each death and starts over once the child has lived for a while. A child that dies again and
again before it was ready even once is given up, so that `wingbeat up` fails with its reason instead of trying for ever.
"""

import asyncio
import signal
from collections.abc import Callable

import structlog

from wingbeat_controlplane.logging import plain_text
from wingbeat_controlplane.supervisor.child import Child, ChildSpec, Ending
from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity

_BACKOFF_S_MIN = 0.1
_BACKOFF_S_MAX = 10.0
_HEALTHY_S = 30.0
_TRIES_BEFORE_READY = 3

_log = structlog.get_logger(__name__)


class ChildFailedError(RuntimeError):
    """A child never got ready; the text holds how it ended and its last lines."""


def backoff_s(deaths: int) -> float:
    """Pause before the next start after so many deaths in a row (at least 1)."""
    return min(_BACKOFF_S_MAX, _BACKOFF_S_MIN * 2 ** min(deaths - 1, 30))


class ChildKeeper:
    """`first` is a run that has been started already. `on_change` is called whenever the process behind the name
    changes. `prepare` runs before every start.
    """

    def __init__(
        self,
        spec: ChildSpec,
        *,
        first: Child | None = None,
        on_line: Callable[[str, str], None],
        on_change: Callable[[], None],
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        """Set once it was ready for the first time."""
        self._on_line = on_line
        self._on_change = on_change
        self._prepare = prepare
        self._child: Child | None = None
        self._first = first
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def identity(self) -> ProcessIdentity | None:
        """The process that runs now."""
        return self._child.identity if self._child is not None else None

    async def run(self) -> None:
        """Live until `stop`. Raises ChildFailedError when the child never gets ready."""
        deaths = 0
        loop = asyncio.get_running_loop()
        try:
            while self._first is not None or not self._stopping.is_set():
                started = loop.time()
                ending = await self._run_once()
                if self._stopping.is_set():
                    return
                deaths = 1 if loop.time() - started > _HEALTHY_S else deaths + 1
                if not self.ready.is_set() and deaths >= _TRIES_BEFORE_READY:
                    raise ChildFailedError(_failure(self.spec.name, ending))
                pause = backoff_s(deaths)
                _log.warning(
                    "process ended, will be started again",
                    name=self.spec.name,
                    reason=str(ending),
                    pause_s=pause,
                    last_lines=list(ending.last_lines[-5:]),
                )
                await self._pause(pause)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Ask the child to end, wait, and kill it when its grace is over; returns when it is gone for good."""
        self._stopping.set()
        child = self._child or self._first
        if child is not None:
            child.send(self.spec.stop_signal)
            try:
                async with asyncio.timeout(self.spec.grace_s):
                    await self._ended.wait()
            except TimeoutError:
                _log.warning("process did not stop in time and is killed", name=self.spec.name)
                child.send(signal.SIGKILL)
        await self._ended.wait()

    def kill(self) -> None:
        """End the child at once, for good."""
        self._stopping.set()
        if (child := self._child or self._first) is not None:
            child.send(signal.SIGKILL)

    async def _run_once(self) -> Ending:
        try:
            child = self._first or self._start()
        except (OSError, RuntimeError) as error:
            return Ending(127, (str(error),))
        self._first = None
        self._child = child
        self._on_change()
        waiting = asyncio.create_task(self._watch_ready(child), name=f"ready:{self.spec.name}")
        try:
            ending = await child.wait(self._take_line)
        except BaseException:
            child.send(signal.SIGKILL)
            raise
        finally:
            waiting.cancel()
            self._child = None
        self._on_change()
        return ending

    def _start(self) -> Child:
        if self._prepare is not None:
            self._prepare()
        return Child.start(self.spec)

    async def _watch_ready(self, child: Child) -> None:
        if self.spec.announces_ready:
            await child.is_ready.wait()
            self.ready.set()
            _log.info("process ready", name=self.spec.name, pid=child.pid)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _take_line(self, line: str) -> None:
        self._on_line(self.spec.name, line)


def _failure(name: str, ending: Ending) -> str:
    said = "\n".join(plain_text(line) for line in ending.last_lines)
    return "\n".join([f"the {name} process does not start: {ending}", *(f"  {line}" for line in said.splitlines())])
