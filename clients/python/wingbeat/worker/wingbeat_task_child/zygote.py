"""The zygote: loads flytekit once and forks children on request; it has no thread and loads no user code.

It ends with its worker, whatever ends that: by the end of the control socket, and by a signal of the kernel. On its way
out it kills the sessions of its children, so no task outlives the worker that would have to report it. If the zygote
itself is killed, the kernel kills the children.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import pickle
import selectors
import signal
import socket
import sys
import traceback
from typing import NoReturn, cast

from .child import run_child
from .messages import PROTOCOL, ForkRequest, ZygoteReport

_MESSAGE_BYTES = 256 << 10
_PR_SET_PDEATHSIG = 1


def serve(descriptor: int) -> NoReturn:
    """Fork what the worker asks for until it is gone."""
    die_with_parent(signal.SIGTERM)
    Zygote(socket.socket(fileno=descriptor)).run()


def die_with_parent(number: int) -> None:
    """Have the kernel send a signal when the parent process ends; without effect where the kernel cannot."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


class Zygote:
    """Serves one worker over `control`, a socket of whole messages."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, int] = {}
        """Numbers by pid."""
        self._ending = False

    def run(self) -> NoReturn:
        """See `serve`."""
        try:
            preload()
        except BaseException:  # noqa: BLE001 - whatever a broken environment raises, people must be told
            self._tell("failed", text=traceback.format_exc()[-4000:])
            os._exit(1)
        signals, wake = socket.socketpair()
        wake.setblocking(False)
        signals.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _notice)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._tell("ready")
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(signals, selectors.EVENT_READ)
            while not self._ending:
                for key, _ in selector.select():
                    if key.fileobj is signals:
                        with contextlib.suppress(BlockingIOError):
                            signals.recv(4096)
                        self._reap()
                    elif not self._serve(selector, signals, wake):
                        self._ending = True
        for pid in self._children:
            _kill_session(pid)
        os._exit(0)

    def _end(self, *_: object) -> None:
        self._ending = True

    def _serve(self, selector: selectors.BaseSelector, *sockets: socket.socket) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, 1)
        if not data:
            return False
        request = cast("ForkRequest", pickle.loads(data))  # noqa: S301 - from our own worker
        try:
            pid = os.fork()
        except OSError as error:
            os.close(descriptors[0])
            self._tell("ended", request["number"], status=1 << 8, text=str(error))
            return True
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            selector.close()
            for own in (self._control, *sockets):
                own.close()
            run_child(socket.socket(fileno=descriptors[0]), request["folder"])
        os.close(descriptors[0])
        self._children[pid] = request["number"]
        self._tell("forked", request["number"], pid)
        return True

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._children.pop(pid, 0)
            _kill_session(pid)
            self._tell("ended", number, pid, status)

    def _tell(self, what: str, number: int = 0, pid: int = 0, status: int = 0, text: str = "") -> None:
        report: ZygoteReport = {"what": what, "number": number, "pid": pid, "status": status, "text": text}
        with contextlib.suppress(OSError):  # the worker is gone, which the control socket says as well
            self._control.send(pickle.dumps(report, PROTOCOL))


def _notice(_number: int, _frame: object) -> None:
    """A handler, so that the wake-up descriptor hears of the signal."""


def preload() -> None:
    """Import flytekit, and keep it out of the garbage collector's way so that forks share its pages.

    Raises ImportError, and whatever the import raises.
    """
    importlib.import_module("flytekit.bin.entrypoint")
    # Every task definition parses its docstring; the parser compiles its patterns at its first use.
    importlib.import_module("flytekit.core.docstring").Docstring("A line.\n\n:param name: text")
    gc.collect()
    gc.freeze()
    sys.stdout.flush()
    sys.stderr.flush()


def _kill_session(leader: int) -> None:
    """SIGKILL what a child has left in its process group."""
    with contextlib.suppress(OSError):
        os.killpg(leader, signal.SIGKILL)
