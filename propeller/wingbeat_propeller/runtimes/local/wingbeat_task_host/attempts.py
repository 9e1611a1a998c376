"""The attempts a host watches, and every way they end.

An attempt is a child of this host, whose end SIGCHLD tells, or a process that a former host started, whose end a pidfd
tells. Either way its end is settled in one place: what the process recorded stands, unless this host killed it for a
limit; what it could not record is written here. An attempt that is cut because the installation stops leaves no record,
as if it had never been started: whoever wants it launches it again. Ends are handed to `on_ended` once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

from .loop import Loop
from .processes import children, is_alive, kill_session, session_rss_bytes, signal_group
from .record import (
    OUT_OF_MEMORY,
    STOPPED,
    TIMEOUT,
    VANISHED,
    Claim,
    Exit,
    read_exit,
    remove_record,
    write_exit,
)

PID_POLL_S = 0.2
"""How often a former host's process is looked at where the system has no pidfd."""


class Attempt:
    """One live attempt. `reason`, `detail` and `killed_at` (seconds since the epoch) say why and when it was killed, if
    it was; `pidfd` is -1 for own children."""

    __slots__ = (
        "deadline",
        "detail",
        "folder",
        "killed_at",
        "memory_limit_bytes",
        "name",
        "pid",
        "pidfd",
        "reason",
        "start",
        "started_at",
    )

    def __init__(self, name: str, folder: str, pid: int, *, memory_limit_bytes: int | None, start: int = 0) -> None:
        self.name = name
        self.folder = folder
        self.pid = pid
        self.start = start
        self.memory_limit_bytes = memory_limit_bytes
        self.started_at = time.time()
        self.pidfd = -1
        self.reason = ""
        self.detail = ""
        self.killed_at = 0.0


class Attempts:
    """Live attempts by name."""

    def __init__(
        self, loop: Loop, on_ended: Callable[[str, Exit], None], *, kill_grace_s: float, memory_poll_s: float
    ) -> None:
        self._loop = loop
        self._on_ended = on_ended
        self._kill_grace_s = kill_grace_s
        self._memory_poll_s = memory_poll_s
        self._memory_polled = False
        self._live: dict[str, Attempt] = {}
        self._children: dict[int, Attempt] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, name: str) -> bool:
        return name in self._live

    def names(self) -> list[str]:
        """Names of all live attempts."""
        return list(self._live)

    def started_at(self, name: str) -> float:
        """When the attempt was started, or found running, in seconds since the epoch."""
        return self._live[name].started_at

    def add_child(
        self, name: str, folder: str, pid: int, *, timeout_s: float | None, memory_limit_bytes: int | None
    ) -> None:
        """Watch a process just forked."""
        attempt = Attempt(name, folder, pid, memory_limit_bytes=memory_limit_bytes)
        self._children[pid] = attempt
        self._add(attempt, timeout_s, "" if timeout_s is None else f"{timeout_s:g}")

    def add_orphan(self, name: str, folder: str, claim: Claim) -> None:
        """Watch the process of a former host, with what is left of its limits."""
        attempt = Attempt(name, folder, claim.pid, memory_limit_bytes=claim.memory_limit_bytes, start=claim.start)
        left_s = None if claim.deadline is None else max(0.0, claim.deadline - time.time())
        self._add(attempt, left_s, "")
        try:
            attempt.pidfd = os.pidfd_open(claim.pid)
        except (AttributeError, OSError):  # it may have ended just now; whoever has added it has more to say first
            self._loop.call_later(0.0, lambda: self._poll_orphan(attempt))
        else:
            self._loop.watch(attempt.pidfd, lambda: self._orphan_ended(attempt))

    def kill(self, name: str, reason: str, detail: str = "", *, at_once: bool = False) -> None:
        """End the attempt: politely first, for good after the grace period. The first reason stands."""
        attempt = self._live[name]
        if attempt.reason:
            return
        attempt.reason, attempt.detail, attempt.killed_at = reason, detail, time.time()
        if at_once:
            self._kill_now(attempt)
            return
        signal_group(attempt.pid, signal.SIGTERM)
        self._loop.call_later(self._kill_grace_s, lambda: self._kill_now(attempt))

    def reap(self) -> None:
        """Settle all children that have ended; what a task left running ends with it, as in a container."""
        ended: list[tuple[Attempt, int]] = []
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                attempt = self._children.pop(pid, None)
                if attempt is not None:
                    ended.append((attempt, status))
                    with contextlib.suppress(OSError):  # most often nothing was left
                        os.killpg(pid, signal.SIGKILL)
        self._end_strays()
        for attempt, status in ended:
            code = None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            self._settle(attempt, Exit(code, os.WTERMSIG(status) if code is None else None, "", "", time.time()))

    def _end_strays(self) -> None:
        """Kill what came to this host because its attempt has ended: as long as that runs, its orphans are its own."""
        for pid in children():
            if pid not in self._children:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)  # its own children come next

    def _add(self, attempt: Attempt, left_s: float | None, timeout_text: str) -> None:
        self._live[attempt.name] = attempt
        if left_s is not None:
            self._loop.call_later(left_s, lambda: self._time_out(attempt, timeout_text))
        if attempt.memory_limit_bytes is not None and not self._memory_polled:
            self._memory_polled = True
            self._loop.call_later(self._memory_poll_s, self._poll_memory)

    def _time_out(self, attempt: Attempt, timeout_text: str) -> None:
        if self._live.get(attempt.name) is attempt:
            self.kill(attempt.name, TIMEOUT, timeout_text)

    def _poll_memory(self) -> None:
        limited = [attempt for attempt in self._live.values() if attempt.memory_limit_bytes is not None]
        self._memory_polled = bool(limited)
        if not limited:
            return
        usage = session_rss_bytes()
        for attempt in limited:
            used = usage.get(attempt.pid, 0)
            limit = attempt.memory_limit_bytes
            if limit is not None and used > limit:
                self.kill(attempt.name, OUT_OF_MEMORY, f"{used}/{limit}", at_once=True)
        self._loop.call_later(self._memory_poll_s, self._poll_memory)

    def _kill_now(self, attempt: Attempt) -> None:
        if self._live.get(attempt.name) is attempt:
            signal_group(attempt.pid, signal.SIGKILL)
            kill_session(attempt.pid, attempt.start)

    def _poll_orphan(self, attempt: Attempt) -> None:
        if is_alive(attempt.pid, attempt.start):
            self._loop.call_later(PID_POLL_S, lambda: self._poll_orphan(attempt))
        else:
            self._orphan_ended(attempt)

    def _orphan_ended(self, attempt: Attempt) -> None:
        if attempt.pidfd >= 0:
            self._loop.unwatch(attempt.pidfd)
            os.close(attempt.pidfd)
            attempt.pidfd = -1
        kill_session(attempt.pid, attempt.start)
        self._settle(attempt, Exit(None, None, VANISHED, "", time.time()))

    def _settle(self, attempt: Attempt, seen: Exit) -> None:
        """`seen` is what this host saw of the end; it counts when there is no record, or when the host killed."""
        del self._live[attempt.name]
        recorded = read_exit(attempt.folder)
        if attempt.reason == STOPPED and recorded is not None and recorded.at <= attempt.killed_at:
            end = recorded  # it had done its work when the stop came
        elif attempt.reason:
            end = seen._replace(reason=attempt.reason, detail=attempt.detail)
            if attempt.reason == STOPPED:
                remove_record(attempt.folder)
            else:
                write_exit(attempt.folder, end)
        else:
            end = recorded or seen
            if recorded is None:
                write_exit(attempt.folder, end)
        self._on_ended(attempt.name, end)
