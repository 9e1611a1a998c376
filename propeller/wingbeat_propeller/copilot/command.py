"""Runs the program of a raw container as a child and waits for it, for good and bad ends alike.

While the child runs, a polite end of the process group is the child's affair: this process notes it and waits on, and
afterwards ends in the same way, so that whoever watches sees what happened to the program itself.
"""

import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

_POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NOT_EXECUTABLE = 126
_NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """Exit code, or the signal that ended the program. `asked` is the signal that told the attempt to end, if any."""

    code: int | None
    signal: int | None
    asked: int | None = None

    @property
    def is_success(self) -> bool:
        """Whether the program says that it did its work and nobody told it to stop."""
        return self.code == 0 and self.asked is None


def run_command(program: str, argv: Sequence[str], env: Mapping[str, str]) -> CommandEnd:
    """Start the program with nothing to read, and wait for its end. No other thread may run."""
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    former = {number: signal.signal(number, note) for number in _POLITE}
    pid = os.fork()
    if pid == 0:
        _become(program, argv, env)
    try:
        _, status = os.waitpid(pid, 0)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
    return CommandEnd(code, os.WTERMSIG(status) if code is None else None, asked[0] if asked else None)


def end_likewise(end: CommandEnd) -> NoReturn:
    """End this process as the program ended."""
    sys.stdout.flush()
    sys.stderr.flush()
    number = end.signal if end.signal is not None else end.asked
    if number is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program has left its own, if any
        signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
        os.kill(os.getpid(), number)
    os._exit(end.code if end.code is not None else 1)


def _become(program: str, argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    code = _NOT_EXECUTABLE
    try:
        for number in (*_POLITE, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execve(program, list(argv), dict(env))  # noqa: S606 - the argument list is the task's own
    except FileNotFoundError as error:
        code = _NOT_FOUND
        sys.stderr.write(f"cannot execute {program}: {error.strerror} (itself or the program in its first line)\n")
    except OSError as error:
        sys.stderr.write(f"cannot execute {program}: {error.strerror}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)
