"""The children of a worker: which there are, which are idle, and when one is replaced.

Each runs tasks of one version of the code (`code`), so no version sees another one's modules. An idle child is kept for
the next task of its code; when there are as many as may be, the one that was idle longest makes room. A child is
replaced after a number of tasks, when its memory has grown, and when it says itself that it should be.
"""

import asyncio
import logging
import shutil
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path

from wingbeat.worker.child import Child, give_back
from wingbeat.worker.options import WorkerOptions
from wingbeat.worker.wingbeat_task_child.messages import Report
from wingbeat.worker.zygote import Zygote

KEPT_MIN = 2
"""Idle children are kept for as many further versions of code, beside one for each slot."""

_log = logging.getLogger(__name__)


class Children:
    """The pool. At most `options.slots` of them run tasks, and there are not many more than twice as
    many."""

    def __init__(self, options: WorkerOptions, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self.zygote = Zygote(options.python, {**options.base_env, "TMPDIR": str(folder)}, self._on_ended)
        self._all: dict[int, Child] = {}
        self._busy: dict[str, dict[int, Child]] = {}
        """In the order in which they became so."""
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
            self._busy.setdefault(code, {})[child.number] = child
            return child
        if len(self._all) >= 2 * self._options.slots + KEPT_MIN and self._idle_since:
            self.discard(next(iter(self._idle_since.values())))
        self._last += 1
        folder = self._folder / str(self._last)
        folder.mkdir(mode=0o700)
        try:
            child = Child(self._last, code, folder)
        except OSError:
            folder.rmdir()
            raise
        try:
            self.zygote.fork(child.number, str(folder), child.theirs, child.born)
        except OSError:
            child.close()
            folder.rmdir()
            raise
        self._all[child.number] = child
        self._busy.setdefault(code, {})[child.number] = child
        own = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        child.share({**self._options.base_env, **env, **own})
        return child

    def busy(self, code: str) -> Iterable[Child]:
        """Those of this code that run something, in the order in which they became busy."""
        return self._busy.get(code, {}).values()

    def with_lines(self) -> list[Child]:
        """Those in which jobs stand in line."""
        return [child for busy in self._busy.values() for child in busy.values() if len(child.line) > 1]

    def can_line_up(self, child: Child) -> bool:
        """Whether it may run one more than it already has before it is replaced."""
        return child.done + len(child.line) < self._options.recycle_tasks

    def give_back(self, child: Child, report: Report) -> None:
        """It has run a task, and may have others in line."""
        if child.done == 1:
            child.rss_first = report["rss_bytes"]
        if not child.line:
            self._no_longer_busy(child)
        reason = report["recycle"] or self._reason_to_replace(child, report["rss_bytes"])
        if reason and not child.is_retired:
            _log.info("child %d is replaced: %s", child.number, reason)
            child.is_retired = True
            give_back(child.take_unread() if report["recycle"] else child.take_back())
        if child.is_retired:
            self.discard(child)
        elif not child.line and child.number in self._all:
            self._idle.setdefault(child.code, []).append(child)
            self._idle_since[child.number] = child

    def discard(self, child: Child) -> None:
        """It runs nothing beyond what it has."""
        child.is_retired = True
        self._no_longer_idle(child)
        if not child.line:
            child.close()

    def close(self) -> None:
        """Hang up on all."""
        for child in list(self._all.values()):
            self._no_longer_idle(child)
            child.close()
            child.signal(signal.SIGKILL)

    def _reason_to_replace(self, child: Child, rss_bytes: int) -> str:
        options = self._options
        if child.done >= options.recycle_tasks:
            return f"it has run {child.done} tasks"
        grown = rss_bytes - child.rss_first
        if grown > options.recycle_memory_bytes:
            return f"its memory has grown by {grown >> 20} MiB"
        return ""

    def _on_ended(self, number: int, status: int) -> None:
        child = self._all.pop(number, None)
        if child is None:
            return
        child.is_retired = True
        self._no_longer_busy(child)
        child.hear_out()
        if child.done:  # one that has never run anything may not be able to
            give_back(child.take_unread())
        child.end(status)
        self.discard(child)
        removal = asyncio.ensure_future(asyncio.to_thread(shutil.rmtree, child.folder, ignore_errors=True))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    def _no_longer_busy(self, child: Child) -> None:
        busy = self._busy.get(child.code)
        if busy is not None and busy.pop(child.number, None) is not None and not busy:
            del self._busy[child.code]

    def _no_longer_idle(self, child: Child) -> None:
        if self._idle_since.pop(child.number, None) is not None:
            waiting = self._idle[child.code]
            waiting.remove(child)
            if not waiting:
                del self._idle[child.code]
