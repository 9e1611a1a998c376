"""What a process does between the fork and the end of its attempt.

It makes a session of its own, claims the attempt, and only then becomes the task: a fork of a host with flytekit loaded
runs flytekit's program itself; for any other program it stays as a small keeper that waits for it. In both cases the
process records the end of the attempt before it exits, so the end is known even when the host was killed. What the
process cannot record (a signal that ends it) the host does, or whoever finds the claim of a dead process.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from typing import NoReturn

from . import flytekit_entry
from .cpus import keep_to
from .messages import TaskSpec
from .processes import adopt_orphans, read_process
from .record import SETUP_FAILED, Claim, Exit, remove_claim, write_claim, write_exit

_NOT_EXECUTABLE = 126
_NOT_FOUND = 127
_HOST_FDS_MAX = 1024
"""The host's descriptors are below this number; a task has none of them."""


def run_attempt(
    spec: TaskSpec, folder: str, *, host_pid: int, host_key: str, boot: str, cpus: tuple[int, ...] | None
) -> NoReturn:
    """Run the attempt in this freshly forked process; never returns into the host's loop."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        adopt_orphans()
        if not _claim(spec, folder, host_pid, host_key, boot):
            os._exit(0)
        try:
            os.closerange(3, _HOST_FDS_MAX)
            keep_to(cpus)
            _enter(folder)
        except OSError as error:
            write_exit(folder, Exit(None, None, SETUP_FAILED, str(error), time.time()))
            os._exit(1)
        if spec["entry"]:
            code = flytekit_entry.run(spec)
            write_exit(folder, Exit(code, None, "", "", time.time()))
        else:
            code = _keep(spec, folder)
    except BaseException:  # noqa: BLE001 - the last frame of this process: nothing may unwind into the host's loop
        traceback.print_exc()
    os._exit(code)


def _claim(spec: TaskSpec, folder: str, host_pid: int, host_key: str, boot: str) -> bool:
    """Claim the attempt. False when it is taken, or when the host is gone: nobody knows of this process then."""
    pid = os.getpid()
    process = read_process("self")
    timeout_s = spec["timeout_s"]
    deadline = None if timeout_s is None else time.time() + timeout_s
    start = process.start if process else 0
    claim = Claim(pid, start, boot, host_key, deadline, spec["memory_limit_bytes"], spec["origin"])
    if not write_claim(folder, claim):
        return False
    if os.getppid() != host_pid:
        remove_claim(folder)
        return False
    return True


def _enter(folder: str) -> None:
    """Go to the working folder, with output to the log files. Input stays what the host has, /dev/null."""
    for name, target in (("stdout.log", 1), ("stderr.log", 2)):
        handle = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, target)
        os.close(handle)
    os.chdir(os.path.join(folder, "work"))


def _keep(spec: TaskSpec, folder: str) -> int:
    """Start the program, wait for it, record its end. The keeper itself ends well whatever the program did."""
    pid = os.fork()
    if pid == 0:
        _execute(spec, folder)
    # A polite end of the group is for the program; the keeper must be there to record what comes of it.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        end = Exit(None, os.WTERMSIG(status), "", "", time.time())
    else:
        end = Exit(os.WEXITSTATUS(status), None, "", "", time.time())
    if write_exit(folder, end):
        return 0
    return os.WEXITSTATUS(status) if end.signal is None else 128 + end.signal  # so the host sees at least this


def _execute(spec: TaskSpec, folder: str) -> NoReturn:
    code = _NOT_EXECUTABLE
    try:
        if spec.get("stdin"):  # absent in what an engine of an earlier release asks for
            _give(spec["stdin"], os.path.join(folder, "stdin"))
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # Python ignores these; other programs rely on them
        os.execve(spec["program"], spec["argv"], spec["env"])  # noqa: S606 - the argument list is the task's own
    except FileNotFoundError as error:
        code = _NOT_FOUND
        sys.stderr.write(
            f"cannot execute {spec['program']}: {error.strerror} (itself or the program in its first line)\n"
        )
    except OSError as error:
        sys.stderr.write(f"cannot execute {spec['program']}: {error.strerror}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


def _give(text: str, path: str) -> None:
    """Have `text` on the standard input, by way of a file that nobody else can open any more."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    with open(handle, "w+", encoding="utf-8", closefd=False) as file:
        file.write(text)
    os.lseek(handle, 0, os.SEEK_SET)
    os.dup2(handle, 0)
    os.close(handle)
