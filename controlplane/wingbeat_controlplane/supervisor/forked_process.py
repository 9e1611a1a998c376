"""A copy of this process that goes on as another program whose code is loaded already.

A new interpreter spends most of its start on loading code that this process has in memory; a copy shares it. What is
not meant for the copy is taken from it before its program begins: our environment, output and descriptors (the lock of
the data folder among them, which would outlive us in it) and what `ps` shows of us. It never comes back to our code:
when its program ends, the process ends, without the clean-up of an interpreter that is not its own.
"""

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the copy has in the place of ours. `output` is a descriptor; `kept` are others that stay open."""

    title: str
    environment: Mapping[str, str]
    output: int
    kept: Sequence[int]
    orphan_signal: signal.Signals


class ForkedProcess:
    """Satisfies `child.Process`. Statuses are those of `subprocess`: minus the number of the signal that killed it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    @classmethod
    def start(cls, main: Callable[[], int], surroundings: Surroundings) -> "ForkedProcess":
        """Make the copy; `main` gives its exit status. Raises OSError."""
        sys.stdout.flush()
        sys.stderr.flush()
        dies_with_parent = die_with_parent(surroundings.orphan_signal)
        pid = os.fork()
        if pid == 0:
            _live(main, surroundings, dies_with_parent)
        return cls(pid)

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._collect(os.WNOHANG)

    def wait(self) -> int:
        """Block until it ends; its exit status."""
        status = self._collect(0)
        assert status is not None, "waited for its end"
        return status

    def send_signal(self, sig: int, /) -> None:
        """Signal it unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def _collect(self, flags: int) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status


def can_fork() -> bool:
    """Whether a copy of this process would be whole: a fork takes only the thread that calls it along."""
    return len(os.listdir("/proc/self/task")) == 1


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """What a child of ours calls first, so that the kernel signals it when we die."""
    parent = os.getpid()

    def ask_kernel() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # the parent died before we asked

    return ask_kernel


def _live(main: Callable[[], int], surroundings: Surroundings, dies_with_parent: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        os.setsid()
        dies_with_parent()
        _redirect(surroundings)
        os.environ.clear()
        os.environ.update(surroundings.environment)
        _set_title(surroundings.title)
        status = main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
    except BaseException:  # noqa: BLE001  (nothing may leave: above us is the code of another process)
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _redirect(surroundings: Surroundings) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(surroundings.output, 1)
    os.dup2(surroundings.output, 2)
    # Objects that stand for closed descriptors remain in memory, but nothing of them runs any more.
    stay = {0, 1, 2, *surroundings.kept}
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor not in stay:
            with suppress(OSError):  # the one that listed them is closed already
                os.close(descriptor)


def _set_title(title: str) -> None:
    """Write over the arguments of the process, where the kernel looks when `ps` asks; cut to the room they took.

    Where the kernel does not tell where they are, as in some sandboxes, `ps` goes on showing ours.
    """
    text = os.fsencode(title)
    _libc.prctl(_PR_SET_NAME, text[:15], 0, 0, 0)
    with suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end
        if (room := end - start) > 0:
            ctypes.memmove(start, text[: room - 1].ljust(room, b"\0"), room)
