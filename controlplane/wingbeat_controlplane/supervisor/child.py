"""One run of one child process: started so that it cannot outlive us, its output cut into lines, its end awaited.

The kernel sends `orphan_signal` to the child when we die, however we die. A child is the leader of a session of its
own, so a Ctrl-C at the terminal reaches only us, and we decide who ends when.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from wingbeat_controlplane.supervisor.embedded_postgres import ProcessUser
from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity
from wingbeat_controlplane.supervisor.readiness import VARIABLE

_LINE_BYTES_MAX = 256 * 1024
_LAST_LINES = 20
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

SAME_USER = ProcessUser(user=None, group=None, extra_groups=None)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to run a child. `orphan_signal` is what it gets when we die without stopping it."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    user: ProcessUser = field(default_factory=lambda: SAME_USER)
    announces_ready: bool = True
    """Whether it uses `readiness.notify_ready`."""
    grace_s: float = 20.0
    """Time from `stop_signal` to the merciless one."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended: its exit status, or minus the number of the signal that killed it, and its last lines."""

    status: int
    last_lines: Sequence[str]

    def __str__(self) -> str:
        if self.status >= 0:
            return f"exit status {self.status}"
        return f"signal {signal.Signals(-self.status).name}"


class Child:
    """A running child. Make it with `start` on the thread that lives longest: the kernel watches that thread."""

    def __init__(self, spec: ChildSpec, process: subprocess.Popen[bytes], output: int, ready: int | None) -> None:
        self.spec = spec
        self.identity = ProcessIdentity.of(process.pid)
        self.is_ready = asyncio.Event()
        self._process = process
        self._output = output
        self._ready = ready

    @classmethod
    def start(cls, spec: ChildSpec) -> "Child":
        """Start the process. Raises OSError."""
        output, output_end = os.pipe()
        ready, ready_end = os.pipe() if spec.announces_ready else (None, None)
        try:
            process = subprocess.Popen(  # noqa: S603  (our own programs)
                spec.argv,
                env=dict(spec.environment) | ({VARIABLE: str(ready_end)} if ready_end is not None else {}),
                cwd="/" if spec.user["user"] is not None else None,
                stdin=subprocess.DEVNULL,
                stdout=output_end,
                stderr=output_end,
                pass_fds=() if ready_end is None else (ready_end,),
                start_new_session=True,
                preexec_fn=_die_with_parent(spec.orphan_signal),  # noqa: PLW1509  (one thread starts all children)
                **spec.user,
            )
        except OSError:
            os.close(output)
            if ready is not None:
                os.close(ready)
            raise
        finally:
            os.close(output_end)
            if ready_end is not None:
                os.close(ready_end)
        os.set_blocking(output, False)
        return cls(spec, process, output, ready)

    @property
    def pid(self) -> int:
        """Process id, valid until `wait` returned."""
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Signal the child; nothing happens when it has ended."""
        self._process.send_signal(number)

    async def wait(self, on_line: Callable[[str], None]) -> Ending:
        """Hand on its lines until it ends. Lines that its own children write later are not waited for."""
        loop = asyncio.get_running_loop()
        lines = _Lines(on_line)
        loop.add_reader(self._output, self._read, lines)
        if self._ready is not None:
            loop.add_reader(self._ready, self._on_ready)
        try:
            await _wait_exit(self._process)
            while self._read(lines):
                pass
            lines.end()
        finally:
            self._close(loop)
        return Ending(self._process.returncode, tuple(lines.last))

    def _read(self, lines: "_Lines") -> bool:
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(self._output)
        lines.feed(data)
        return bool(data)

    def _on_ready(self) -> None:
        assert self._ready is not None
        if os.read(self._ready, 1):
            self.is_ready.set()
        asyncio.get_running_loop().remove_reader(self._ready)

    def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        for descriptor in (self._output, self._ready):
            if descriptor is not None:
                loop.remove_reader(descriptor)
                os.close(descriptor)


class _Lines:
    """Bytes in, lines out; a line without end is cut at a limit. Keeps the last ones."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self.last: deque[str] = deque(maxlen=_LAST_LINES)
        self._on_line = on_line
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._emit(line)
        while len(self._rest) > _LINE_BYTES_MAX:
            self._emit(self._rest[:_LINE_BYTES_MAX])
            self._rest = self._rest[_LINE_BYTES_MAX:]

    def end(self) -> None:
        if self._rest:
            self._emit(self._rest)
            self._rest = b""

    def _emit(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        self.last.append(text)
        self._on_line(text)


async def _wait_exit(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    try:
        loop.add_reader(descriptor, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.wait()


def _die_with_parent(number: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def ask_kernel() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)  # the parent died before we asked

    return ask_kernel
