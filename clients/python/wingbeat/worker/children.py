"""The children of a worker: which there are, which are idle, and when one is replaced.

Each runs tasks of one version of the code (`code`), so no version sees another one's modules. An idle child is kept for
the next task of its code; when there are as many as may be, the one that was idle longest makes room. A child is
replaced after a number of tasks, when its memory has grown, and when it says itself that it should be.
"""

import asyncio
import contextlib
import logging
import os
import pickle
import shutil
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from wingbeat.worker.options import WorkerOptions
from wingbeat.worker.wingbeat_task_child.messages import HEAD, Report, Task, pack
from wingbeat.worker.zygote import Zygote

KEPT_MIN = 2
"""Idle children are kept for as many further versions of code, beside one for each slot."""
_READ_BYTES = 32 << 10
"""At once. A larger buffer would be mapped by the kernel, and unmapped, for each report of a few hundred bytes."""

_log = logging.getLogger(__name__)


class Child:
    """One child. `on_report` receives what it says of a task; how it ends the pool hears from the zygote."""

    def __init__(self, number: int, code: str, folder: Path) -> None:
        self.number = number
        self.code = code
        self.folder = folder
        self.pid = 0
        """0: not known yet."""
        self.on_report: Callable[[Report], None] | None = None
        """Set while it runs a task."""
        self.on_end: Callable[[int], None] | None = None
        self.tasks = 0
        self.rss_first = 0
        self.sent = {"stdout": 0, "stderr": 0}
        """How much of its streams has been read; what was read whole is cut off."""
        self._sock: socket.socket | None = None
        self._received = bytearray()
        self._unsent = b""
        self._kill = 0

    def connect(self, sock: socket.socket) -> None:
        """Listen to it."""
        self._sock = sock
        asyncio.get_running_loop().add_reader(sock.fileno(), self._on_readable)

    def share(self, env: Mapping[str, str]) -> None:
        """Give it the environment that all its tasks have in common; comes before the first of them."""
        self._unsent += pack(dict(env))
        self._write()

    def run(self, task: Task) -> None:
        """Have it run a task; it runs none."""
        self.tasks += 1
        self._unsent += pack(task)
        self._write()

    def signal(self, number: int) -> None:
        """Signal everything in its process group."""
        if not self.pid:
            self._kill = number  # as soon as it is known whom
            return
        with contextlib.suppress(ProcessLookupError):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                os.kill(self.pid, number)  # it has not made its group yet

    def born(self, pid: int) -> None:
        """Its process is known."""
        self.pid = pid
        if self._kill:
            self.signal(self._kill)

    def hear_out(self) -> None:
        """Read what it has said before it ended."""
        while self._read():
            pass

    def close(self) -> None:
        """Hang up: an idle child ends then."""
        if self._sock is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._sock.fileno())
            loop.remove_writer(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _write(self) -> None:
        if self._sock is None:
            return
        loop = asyncio.get_running_loop()
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # it has ended, which the zygote will tell
        self._unsent = self._unsent[sent:]
        if self._unsent:
            loop.add_writer(self._sock.fileno(), self._write)
        else:
            loop.remove_writer(self._sock.fileno())

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Whether there was something to read."""
        if self._sock is None:
            return False
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return False
        received = self._received
        received += data
        while len(received) >= HEAD.size:
            size = HEAD.unpack_from(received)[0]
            if len(received) < HEAD.size + size:
                break
            report = cast("Report", pickle.loads(bytes(received[HEAD.size : HEAD.size + size])))  # noqa: S301
            del received[: HEAD.size + size]
            if self.on_report is not None:
                self.on_report(report)
        return True


class Children:
    """The pool. At most `options.slots` of them run tasks, and there are not many more than twice as
    many."""

    def __init__(self, options: WorkerOptions, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self.zygote = Zygote(options.python, {**options.base_env, "TMPDIR": str(folder)}, self._on_ended)
        self._all: dict[int, Child] = {}
        self._idle: dict[str, list[Child]] = {}
        self._idle_since: dict[int, Child] = {}
        """In the order in which they became idle."""
        self._removals: set[asyncio.Future[None]] = set()
        """Folders of ended ones that are being removed."""
        self._last = 0

    def __len__(self) -> int:
        return len(self._all)

    def take(self, code: str, env: Mapping[str, str]) -> Child:
        """An idle child of this code, else a new one; `env` is what the environments of its tasks have in common,
        beside what this machine decides. Raises OSError when none can be made."""
        if waiting := self._idle.get(code):
            child = waiting.pop()
            del self._idle_since[child.number]
            if not waiting:
                del self._idle[code]
            return child
        if len(self._all) >= 2 * self._options.slots + KEPT_MIN and self._idle_since:
            self.discard(next(iter(self._idle_since.values())))
        self._last += 1
        folder = self._folder / str(self._last)
        folder.mkdir(mode=0o700)
        child = Child(self._last, code, folder)
        try:
            child.connect(self.zygote.fork(child.number, str(folder), child.born))
        except OSError:
            folder.rmdir()
            raise
        self._all[child.number] = child
        own = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        child.share({**self._options.base_env, **env, **own})
        return child

    def give_back(self, child: Child, report: Report) -> None:
        """It has run a task."""
        child.on_report = child.on_end = None
        if child.tasks == 1:
            child.rss_first = report["rss_bytes"]
        reason = report["recycle"] or self._reason_to_replace(child, report["rss_bytes"])
        if reason:
            _log.info("child %d is replaced: %s", child.number, reason)
            self.discard(child)
        elif child.number in self._all:
            self._idle.setdefault(child.code, []).append(child)
            self._idle_since[child.number] = child

    def discard(self, child: Child) -> None:
        """It runs no further task."""
        self._no_longer_idle(child)
        child.close()

    def close(self) -> None:
        """Hang up on all."""
        for child in list(self._all.values()):
            self.discard(child)
            child.signal(signal.SIGKILL)

    def _reason_to_replace(self, child: Child, rss_bytes: int) -> str:
        options = self._options
        if child.tasks >= options.recycle_tasks:
            return f"it has run {child.tasks} tasks"
        grown = rss_bytes - child.rss_first
        if grown > options.recycle_memory_bytes:
            return f"its memory has grown by {grown >> 20} MiB"
        return ""

    def _on_ended(self, number: int, status: int) -> None:
        child = self._all.pop(number, None)
        if child is None:
            return
        child.hear_out()
        self.discard(child)
        on_end, child.on_end, child.on_report = child.on_end, None, None
        if on_end is not None:
            on_end(status)
        removal = asyncio.ensure_future(asyncio.to_thread(shutil.rmtree, child.folder, ignore_errors=True))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    def _no_longer_idle(self, child: Child) -> None:
        if self._idle_since.pop(child.number, None) is not None:
            waiting = self._idle[child.code]
            waiting.remove(child)
            if not waiting:
                del self._idle[child.code]
