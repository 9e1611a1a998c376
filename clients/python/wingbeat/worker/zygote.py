"""The worker's side of its zygote: starts it, asks it for children, hears how they end, starts another one if it dies.

When a zygote dies its children die with it; each is reported as ended by SIGKILL, so nothing waits for them.
"""

import array
import asyncio
import logging
import os
import pickle
import socket
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from wingbeat.worker import wingbeat_task_child
from wingbeat.worker.wingbeat_task_child.messages import PROTOCOL, ForkRequest, ZygoteReport

_MESSAGE_BYTES = 256 << 10
_BACKOFF_S_MAX = 10.0
_KILLED = 9

_log = logging.getLogger(__name__)


class ZygoteFailedError(RuntimeError):
    """The interpreter has no flytekit that can be loaded; the text says why."""


class Zygote:
    """`on_ended` receives the number of a child and its status as os.waitpid gives it."""

    def __init__(self, python: str, env: Mapping[str, str], on_ended: Callable[[int, int], None]) -> None:
        self._python = python
        self._env = env
        self._on_ended = on_ended
        self._on_pid: dict[int, Callable[[int], None]] = {}
        self._children: set[int] = set()
        self._requests: deque[tuple[ForkRequest, socket.socket]] = deque()
        """What it has not taken yet, each with the child's end of its socket."""
        self._control: socket.socket | None = None
        self._ready = asyncio.Event()
        self._said = ""

    async def ready(self) -> None:
        """Wait until it has loaded flytekit."""
        await self._ready.wait()

    @property
    def is_ready(self) -> bool:
        """Whether children can be had now."""
        return self._ready.is_set()

    async def run(self) -> None:
        """Keep a zygote until cancelled. Raises ZygoteFailedError when the first one cannot load flytekit."""
        failures = 0
        was_ready = False
        while True:
            is_good = await self._run_once()
            was_ready = was_ready or is_good
            if not was_ready:
                raise ZygoteFailedError(f"{self._python} cannot run tasks:\n{self._said or 'its process has ended'}")
            failures = 0 if is_good else failures + 1
            self._drop_requests()
            for number in list(self._children):
                self._ended(number, _KILLED)
            _log.warning("the zygote has ended and is started again")
            await asyncio.sleep(min(_BACKOFF_S_MAX, 0.1 * 2**failures))

    def fork(self, number: int, folder: str, sock: socket.socket, on_pid: Callable[[int], None]) -> None:
        """Have a child made that talks over `sock`, which stays the caller's as well. One that is asked for while the
        zygote dies is reported as ended with the others. Raises OSError when there is no descriptor left."""
        theirs = sock.dup()
        self._children.add(number)
        self._on_pid[number] = on_pid
        self._requests.append(({"number": number, "folder": folder}, theirs))
        self._send_requests()

    def _send_requests(self) -> None:
        """As many as it takes now; it takes further ones as soon as it has made their children."""
        control = self._control
        if control is None:
            return
        loop = asyncio.get_running_loop()
        while self._requests:
            request, theirs = self._requests[0]
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))
            try:
                control.sendmsg([pickle.dumps(request, PROTOCOL)], [rights])
            except BlockingIOError:
                loop.add_writer(control.fileno(), self._send_requests)
                return
            except OSError as error:  # it is about to be noticed that it is gone
                _log.warning("the zygote does not answer: %s", error)
                break
            self._requests.popleft()
            theirs.close()
        loop.remove_writer(control.fileno())

    def _drop_requests(self) -> None:
        while self._requests:
            self._requests.popleft()[1].close()

    async def _run_once(self) -> bool:
        """One zygote from beginning to end; whether it could be used."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        gone = asyncio.Event()
        program = Path(wingbeat_task_child.__file__).with_name("__main__.py")
        with ours:
            try:
                process = await asyncio.create_subprocess_exec(
                    self._python,
                    str(program),
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env={**self._env, "FLYTE_SDK_RICH_TRACEBACKS": "0"},
                    start_new_session=True,
                )
            except OSError as error:
                self._said = str(error)
                return False
            finally:
                theirs.close()
            self._control = ours
            loop.add_reader(ours.fileno(), self._read, ours, gone)
            try:
                await gone.wait()
            finally:
                is_good = self._ready.is_set()
                self._ready.clear()
                loop.remove_reader(ours.fileno())
                loop.remove_writer(ours.fileno())
                self._control = None
                ours.close()
                if process.returncode is None:
                    process.terminate()
                await process.wait()
        return is_good

    def _read(self, control: socket.socket, gone: asyncio.Event) -> None:
        while True:
            try:
                data = control.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                asyncio.get_running_loop().remove_reader(control.fileno())
                gone.set()
                return
            report = cast("ZygoteReport", pickle.loads(data))  # noqa: S301 - from our own zygote
            self._take(report)

    def _take(self, report: ZygoteReport) -> None:
        match report["what"]:
            case "ready":
                self._ready.set()
            case "failed":
                self._said = report["text"]
            case "forked":
                if (on_pid := self._on_pid.pop(report["number"], None)) is not None:
                    on_pid(report["pid"])
            case "ended":
                if report["text"]:
                    _log.error("no child can be made: %s", report["text"])
                self._ended(report["number"], report["status"])
            case _:
                _log.warning("the zygote says something unknown: %s", report["what"])

    def _ended(self, number: int, status: int) -> None:
        self._on_pid.pop(number, None)
        if number in self._children:
            self._children.discard(number)
            self._on_ended(number, status)


def describe_status(status: int) -> tuple[int, int]:
    """Exit code and signal of a status; one of them is 0."""
    code = os.waitstatus_to_exitcode(status)
    return (code, 0) if code >= 0 else (0, -code)
