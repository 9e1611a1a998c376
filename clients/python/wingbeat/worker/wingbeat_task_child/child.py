"""A child: runs tasks of one version of the code, one after another, until it is told to end or should be renewed.

It leads a session of its own, so that whatever a task has started can be reached. Its standard streams go to files in
its folder, which the worker reads; code and scratch space lie there too. Between tasks it puts back what a task of its
own process would have found: environment, working folder, scratch space, signal handlers. What a task leaves in memory
stays, which is what a warm worker is for; a child that holds more than it should says so and is replaced.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from typing import NoReturn, cast

from . import execution
from .flytekit_hooks import Hooks
from .folders import Folders
from .messages import Report, Task, receive, rss_bytes, send

_HARMLESS_THREADS = ("fsspecIO", "asyncio_")
"""Threads of libraries that serve every task of a process."""
_LOOP_RUNNER = " : loop-runner"
"""As flytekit names its own."""
_SIGNALS = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD, signal.SIGPIPE),
)
"""Those that tasks have handlers for; to look at all of them takes as long as a small value."""


def run_child(sock: socket.socket, folder: str) -> NoReturn:
    """Serve tasks in this freshly forked process; over `sock` comes the environment that they share, then the tasks."""
    code = 1
    try:
        os.setsid()
        from .zygote import die_with_parent

        die_with_parent(signal.SIGKILL)
        _enter(folder)
        env = receive(sock)
        if env is not None:
            hooks = execution.renew(cast("dict[str, str]", env))
            gc.enable()
            Child(sock, folder, hooks).serve()
        code = 0
    except BaseException:  # noqa: BLE001 - the last frame of this process: nothing may unwind into the zygote's loop
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Child:
    """Runs the tasks that come over `sock`."""

    def __init__(self, sock: socket.socket, folder: str, hooks: Hooks) -> None:
        self._sock = sock
        self._hooks = hooks
        self._folders = Folders(os.path.join(folder, "work"), os.path.join(folder, "tmp"))
        self._threads = set(threading.enumerate())
        self._cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
        self._is_kept_to_cpus = False
        self._handlers = [(number, signal.getsignal(number)) for number in _SIGNALS]
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._peak = 0
        self._rss = 0

    def serve(self) -> None:
        """Until the worker closes the connection, or this child should be renewed: what stands in line runs elsewhere
        then."""
        while (message := receive(self._sock)) is not None:
            report = self._run(cast("Task", message))
            send(self._sock, report)
            if report["recycle"]:
                return

    def _run(self, task: Task) -> Report:
        self._keep_to(task["cpus"])
        before = resource.getrusage(resource.RUSAGE_SELF)
        started_at = time.time()
        result = execution.run(task, self._hooks)
        left = self._wait_for_threads() or _left_process()
        self._put_back()
        recycle = left or self._folders.clean_up(code_came=result.unpacked)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        after = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "started_at": started_at,
            "ended_at": time.time(),
            "code": result.code,
            "outputs": result.outputs,
            "error": result.error,
            "files": result.files,
            "stdout_bytes": os.fstat(1).st_size,
            "stderr_bytes": os.fstat(2).st_size,
            "rss_bytes": self._rss_bytes(after.ru_maxrss),
            "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "waits": after.ru_nvcsw - before.ru_nvcsw,
            "recycle": recycle,
        }

    def _rss_bytes(self, peak: int) -> int:
        """Resident memory; looked at only when the most that it ever was has grown, which is far cheaper to know."""
        if peak != self._peak:
            self._peak = peak
            self._rss = rss_bytes()
        return self._rss

    def _keep_to(self, cpus: tuple[int, ...]) -> None:
        if cpus or self._is_kept_to_cpus:
            with contextlib.suppress(OSError, AttributeError):
                os.sched_setaffinity(0, cpus or self._cpus)
            self._is_kept_to_cpus = bool(cpus)

    def _put_back(self) -> None:
        """What the kernel keeps for this process and a task may have changed."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._handlers:
            if signal.getsignal(number) != handler:
                signal.signal(number, handler)
        os.umask(self._umask)

    def _wait_for_threads(self) -> str:
        """A process waits at its end for threads that are no daemons, and so does the task."""
        if threading.active_count() == len(self._threads):
            return ""
        left = [one for one in threading.enumerate() if one not in self._threads and not _is_harmless(one)]
        for thread in left:
            if not thread.daemon:
                thread.join()
        return f"a task has left the thread {left[0].name!r}" if left else ""


def _left_process() -> str:
    """A task has started a process that is not over; it ends with this one, as with a container."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return ""
    return "a task has left a process"


def _is_harmless(thread: threading.Thread) -> bool:
    return thread.name.startswith(_HARMLESS_THREADS) or thread.name.endswith(_LOOP_RUNNER)


def _enter(folder: str) -> None:
    for part in ("work", "tmp", "home"):
        os.makedirs(os.path.join(folder, part), exist_ok=True)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for name, target in (("stdout", 1), ("stderr", 2)):
        handle = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(handle, target)
        os.close(handle)
    os.chdir(os.path.join(folder, "work"))
