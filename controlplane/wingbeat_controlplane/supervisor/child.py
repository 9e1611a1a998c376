"""One run of one child process: started so that it cannot outlive us, its output cut into lines, its end awaited.

A child is a new program (`start`) or a copy of this process that goes on with code it has loaded already (`fork`, see
`forked_process`); what follows is the same. The kernel sends `orphan_signal` to the child when we die, however we die.
A child is the leader of a session of its own, so a Ctrl-C at the terminal reaches only us, and we decide who ends when.
"""

import asyncio
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wingbeat_controlplane.supervisor.embedded_postgres import ProcessUser
from wingbeat_controlplane.supervisor.forked_process import ForkedProcess, Surroundings, die_with_parent
from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity
from wingbeat_controlplane.supervisor.readiness import VARIABLE

_LINE_BYTES_MAX = 256 * 1024
_LAST_LINES = 20

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
    title: str = ""
    """What `ps` shows of a forked run; empty: the name."""


class Process(Protocol):
    """What is used of a process that we started; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...


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
    """A running child. Make it on the thread that lives longest: the kernel watches that thread."""

    def __init__(self, spec: ChildSpec, process: Process, output: int, ready: int | None) -> None:
        self.spec = spec
        self.identity = ProcessIdentity.of(process.pid)
        self.is_ready = asyncio.Event()
        self._process = process
        self._output = output
        self._ready = ready

    @classmethod
    def start(cls, spec: ChildSpec) -> "Child":
        """Start its program. Raises OSError."""
        return cls._begin(spec, _spawn)

    @classmethod
    def fork(cls, spec: ChildSpec, main: Callable[[], int]) -> "Child":
        """Run `main` in a copy of this process, in the place of the program; its result is the exit status.

        The caller has no threads, no event loop and no gRPC channel, which would not survive in the copy. Raises
        OSError.
        """
        assert spec.user == SAME_USER, "a fork stays who we are"

        def begin(spec: ChildSpec, output_end: int, ready_end: int | None) -> ForkedProcess:
            return ForkedProcess.start(
                main,
                Surroundings(
                    title=spec.title or spec.name,
                    environment=_environment(spec, ready_end),
                    output=output_end,
                    kept=() if ready_end is None else (ready_end,),
                    orphan_signal=spec.orphan_signal,
                ),
            )

        return cls._begin(spec, begin)

    @classmethod
    def _begin(cls, spec: ChildSpec, begin: Callable[[ChildSpec, int, int | None], Process]) -> "Child":
        output, output_end = os.pipe()
        ready, ready_end = os.pipe() if spec.announces_ready else (None, None)
        try:
            process = begin(spec, output_end, ready_end)
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

    async def end_session(self) -> None:
        """Kill it and what it started in its session, and wait for its end; nothing happens when it has ended."""
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            await _wait_exit(self._process)

    async def wait(self, on_line: Callable[[str], None]) -> Ending:
        """Hand on its lines until it ends. Lines that its own children write later are not waited for."""
        loop = asyncio.get_running_loop()
        lines = _Lines(on_line)
        loop.add_reader(self._output, self._read, lines)
        if self._ready is not None:
            loop.add_reader(self._ready, self._on_ready)
        try:
            status = await _wait_exit(self._process)
            while self._read(lines):
                pass
            lines.end()
        finally:
            self._close(loop)
        return Ending(status, tuple(lines.last))

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


def _spawn(spec: ChildSpec, output_end: int, ready_end: int | None) -> Process:
    return subprocess.Popen(  # noqa: S603  (our own programs)
        spec.argv,
        env=_environment(spec, ready_end),
        cwd="/" if spec.user["user"] is not None else None,
        stdin=subprocess.DEVNULL,
        stdout=output_end,
        stderr=output_end,
        pass_fds=() if ready_end is None else (ready_end,),
        start_new_session=True,
        preexec_fn=die_with_parent(spec.orphan_signal),  # noqa: PLW1509  (one thread starts all children)
        **spec.user,
    )


def _environment(spec: ChildSpec, ready_end: int | None) -> dict[str, str]:
    return dict(spec.environment) | ({VARIABLE: str(ready_end)} if ready_end is not None else {})


async def _wait_exit(process: Process) -> int:
    if (status := process.poll()) is not None:
        return status
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    try:
        loop.add_reader(descriptor, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return process.wait()
