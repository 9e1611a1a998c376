"""Engines as real processes, which tests kill and stop; see engine_spawner for what they are and what tasks do."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
from flyteidl.core import literals_pb2

from wingbeat_propeller.runtimes.local import stop_hosts

DOMAINS = ("development", "staging")
_PATIENCE_S = 60.0


class EngineProcesses:
    """Starts engines on one folder, which stands for a machine."""

    def __init__(self, folder: Path, spawner: "subprocess.Popen[str]") -> None:
        self.folder = folder
        self._spawner = spawner
        self.pids: list[int] = []
        """All that were started; engine number n is called `engine-n`."""

    def start(self) -> int:
        """A new engine process; returns its pid."""
        assert self._spawner.stdin is not None
        assert self._spawner.stdout is not None
        self._spawner.stdin.write(f"engine-{len(self.pids)}\n")
        self.pids.append(int(self._spawner.stdout.readline()))
        return self.pids[-1]

    def is_alive(self, pid: int) -> bool:
        """Whether it has not ended."""
        return psutil.pid_exists(pid)

    def revive(self, engines: list[int]) -> None:
        """Put others in the places of those that ended by themselves: on a busy machine an engine can lose its lease
        at any time, and then it is for whoever started it to start another."""
        engines[:] = [pid if self.is_alive(pid) else self.start() for pid in engines]

    def kill(self, pid: int) -> None:
        """Without warning; it may have ended by itself, for want of its lease."""
        if self.is_alive(pid):
            os.kill(pid, signal.SIGKILL)

    def samples(self, domain: str) -> list[tuple[str, int]]:
        """Attempts that have begun, and how many of their tenant ran then."""
        file = self.folder / domain / "samples"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(name, int(count)) for name, count in (line.split() for line in lines)]

    def log(self) -> str:
        """What the engines said."""
        return (self.folder / "engines.log").read_text()


@asynccontextmanager
async def engine_processes(
    dsn: str, folder: Path, lease_s: float, *, capacity: int = 100
) -> AsyncIterator[EngineProcesses]:
    """Engines of one machine with room for `capacity` tasks; all of them and all their tasks end with the block."""
    for domain in DOMAINS:
        (folder / domain / "running").mkdir(parents=True)
    number = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=1)))
    (folder / "result.pb").write_bytes(literals_pb2.LiteralMap(literals={"o0": number}).SerializeToString())
    spawner = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.integration.engine.engine_spawner",
            dsn,
            str(folder),
            str(lease_s),
            str(capacity),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert spawner.stdin is not None
    assert spawner.stdout is not None
    processes = EngineProcesses(folder, spawner)
    try:
        yield processes
    finally:
        for pid in processes.pids:
            processes.kill(pid)
        spawner.stdin.close()
        spawner.wait(_PATIENCE_S)
        spawner.stdout.close()
        await stop_hosts(folder / "state")
