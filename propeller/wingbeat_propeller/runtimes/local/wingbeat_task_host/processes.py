"""Looking at and ending processes by /proc: identity, memory, members of a session, and orphans.

Without /proc (not Linux) identity is the pid alone, memory is unknown, a session is reached as its process group and
orphans not at all.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from typing import NamedTuple

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PR_SET_CHILD_SUBREAPER = 36
_prctl = getattr(ctypes.CDLL(None), "prctl", None)


class Process(NamedTuple):
    """A line of /proc/<pid>/stat: `start` in clock ticks since boot, `rss_bytes` resident memory."""

    pid: int
    state: str
    session: int
    start: int
    rss_bytes: int


def read_process(pid: int | str) -> Process | None:
    """The process as it is now, None when there is none (or no /proc)."""
    try:
        handle = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        text = os.read(handle, 4096)
    except OSError:
        return None
    finally:
        os.close(handle)
    head, _, tail = text.rpartition(b")")  # the name in parentheses may hold anything
    fields = tail.split()
    return Process(
        int(head.split(b" ", 1)[0]),
        fields[0].decode(),
        int(fields[3]),
        int(fields[19]),
        int(fields[21]) * _PAGE_BYTES,
    )


def list_processes() -> list[Process]:
    """All processes that can be seen."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    found = (read_process(name) for name in names if name.isdigit())
    return [process for process in found if process is not None]


def boot_id() -> str:
    """What tells one boot of the machine from the next; empty where unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def is_alive(pid: int, start: int) -> bool:
    """Whether that very process still runs; a zombie does not."""
    process = read_process(pid)
    if process is not None:
        return process.state not in "ZX" and start in (0, process.start)
    if os.path.exists("/proc/self/stat"):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def adopt_orphans() -> None:
    """From now on processes below this one, also of other sessions, become its children when their own parent ends."""
    if _prctl is not None:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> list[int]:
    """Children of this process, which has one thread; zombies are among them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def session_rss_bytes() -> dict[int, int]:
    """Resident memory by session, summed over its processes."""
    usage: dict[int, int] = {}
    for process in list_processes():
        usage[process.session] = usage.get(process.session, 0) + process.rss_bytes
    return usage


def signal_group(leader: int, number: int) -> None:
    """Signal the process group that `leader` leads, or the leader alone while it has not made its group yet."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, number)
    except PermissionError:
        pass  # every member runs under another user now; nothing more can be done


def kill_session(leader: int, start: int) -> None:
    """SIGKILL every process of the session that `leader` (with that start time) made, whatever group it is in."""
    members = [process for process in list_processes() if process.session == leader]
    if any(process.pid == leader and start and process.start != start for process in members):
        return  # the pid was given to somebody else, who leads a session of its own
    for process in members:
        with contextlib.suppress(OSError):  # ended in the meantime, or runs under another user
            os.kill(process.pid, signal.SIGKILL)
