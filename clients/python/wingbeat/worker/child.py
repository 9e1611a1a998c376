"""One child of a worker: the line of its jobs, and what goes over its socket.

The child runs what is sent to it, one after another. Each job that stands in line is one packet, and the worker keeps
the child's end of the socket too: what it can still read from there the child has not begun and never will. The child
reports a job before it reads the next one, so with what it has said since, the worker knows which job it runs.
"""

import asyncio
import contextlib
import os
import pickle
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from wingbeat.worker.wingbeat_task_child.messages import HEAD, PACKET_BYTES, Report, Task, packets, socket_pair


@dataclass(slots=True, eq=False)
class Job:
    """A task for a child, and who hears of it: that its turn has come, and then how it went or how its child ended, as
    os.waitpid says; or that its turn will not come."""

    task: Task
    on_begin: Callable[[], None]
    on_report: Callable[[Report], None]
    on_end: Callable[[int], None]
    on_return: Callable[[], None]


def give_back(jobs: Sequence[Job]) -> None:
    """Say that their turn will not come; the first of them last, since each goes before all others."""
    for job in reversed(jobs):
        job.on_return()


class Child:
    """See the module. How its process ends the pool hears from the zygote. Raises OSError when there is no descriptor
    left."""

    def __init__(self, number: int, code: str, folder: Path) -> None:
        self.number = number
        self.code = code
        self.folder = folder
        self.pid = 0
        """0: not known yet."""
        self.line: deque[Job] = deque()
        """The first is the one that it runs."""
        self.began_at = 0.0
        """When that one's turn came, by the clock of the event loop."""
        self.done = 0
        """How many it has reported."""
        self.rss_first = 0
        self.is_retired = False
        """It is given nothing more, and ends after what it runs."""
        self.since = {"stdout": 0, "stderr": 0}
        """Where in the files of its streams that begins which the present job writes."""
        self.sent = {"stdout": 0, "stderr": 0}
        """How much of them has been read."""
        ours, self.theirs = socket_pair()
        """The latter is its own end."""
        ours.setblocking(False)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._on_readable)
        self._sock: socket.socket | None = ours
        self._received = bytearray()
        self._unsent: deque[bytes] = deque()
        self._has_begun = False
        self._is_whole = True
        """What it runs was sent as one packet."""
        self._is_killed = False
        self._kill = 0

    # ---- what it is to do ----

    def share(self, env: Mapping[str, str]) -> None:
        """Give it the environment that all its tasks have in common; comes before the first of them."""
        self._send(packets(dict(env)))

    def run(self, job: Job) -> None:
        """Have it run a job at once; it has none."""
        self.line.append(job)
        message = packets(job.task)
        self._is_whole = len(message) == 1
        self._send(message)
        self._begin()

    def line_up(self, job: Job) -> bool:
        """Have it run a job after those that it has, if it can: it must have run one, and written nothing that would
        have to be told apart; and the job must fit into one packet behind whole ones."""
        if self.is_retired or self._is_killed or not self.done or any(self.sent.values()):
            return False
        message = packets(job.task)
        if not self._is_whole or len(message) > 1 or self._unsent or self._sock is None:
            return False
        try:
            self._sock.send(message[0])
        except OSError:
            return False
        self.line.append(job)
        return True

    def take_back(self) -> list[Job]:
        """Those in line that it has not begun, and never will. Of the others the first that has no report is the one
        that it runs; `hear_out` tells."""
        if len(self.line) < 2:
            return []
        unread = self._take_unread()
        if unread >= len(self.line):  # it has not even seen the first one, whose turn has come
            self._send(packets(self.line[0].task))
            unread = len(self.line) - 1
        return self._last(unread)

    def take_unread(self) -> list[Job]:
        """All that its process, which has ended, had not begun."""
        return self._last(min(self._take_unread(), len(self.line)))

    def _take_unread(self) -> int:
        count = 0
        with contextlib.suppress(OSError):
            while self._sock is not None and self.theirs.recv(PACKET_BYTES, socket.MSG_DONTWAIT):
                count += 1
        return count

    def _last(self, count: int) -> list[Job]:
        jobs = [self.line.pop() for _ in range(count)]
        jobs.reverse()
        return jobs

    def _begin(self) -> None:
        self._has_begun = True
        self.began_at = asyncio.get_running_loop().time()
        self.line[0].on_begin()

    # ---- its process ----

    def signal(self, number: int) -> None:
        """Signal everything in its process group, for good or ill: it runs nothing more, and says nothing that
        counts."""
        self._is_killed = True
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

    def end(self, status: int) -> None:
        """Its process has ended, and with it what it ran."""
        if self.line:
            job = self.line[0]
            if not self._has_begun:
                self._begin()
            self.line.clear()
            job.on_end(status)

    def close(self) -> None:
        """Hang up: it ends then, once it has nothing to do."""
        if self._sock is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._sock.fileno())
            loop.remove_writer(self._sock.fileno())
            self._sock.close()
            self._sock = None
            self.theirs.close()

    # ---- its socket ----

    def hear_out(self) -> None:
        """Read all that it has said."""
        while self._read():
            pass

    def _send(self, message: list[bytes]) -> None:
        self._unsent += message
        self._write()

    def _write(self) -> None:
        if self._sock is None:
            return
        loop = asyncio.get_running_loop()
        while self._unsent:
            try:
                self._sock.send(self._unsent[0])
            except BlockingIOError:
                loop.add_writer(self._sock.fileno(), self._write)
                return
            except OSError:
                return  # it has ended, which the zygote will tell
            self._unsent.popleft()
        loop.remove_writer(self._sock.fileno())

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Whether there was something to read."""
        if self._sock is None:
            return False
        try:
            data = self._sock.recv(PACKET_BYTES)
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
            self._on_report(report)
        return True

    def _on_report(self, report: Report) -> None:
        if self._is_killed or not self.line:
            return
        self.done += 1
        job = self.line.popleft()
        self._has_begun = False
        if self.line and not report["recycle"]:
            self._begin()
        job.on_report(report)
