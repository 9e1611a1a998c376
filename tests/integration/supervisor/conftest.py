"""One installation on free ports in a short-named folder (unix sockets), gone after the test."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

BIN = Path(sys.executable).parent


class Installation:
    """`wingbeat` commands on one data folder, as typed by a user."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def wingbeat(self, command: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run(
            [BIN / "wingbeat", command, "--data-dir", str(self.data_dir), *flags],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def up(self, *flags: str) -> None:
        """Start in the background; ready on return."""
        done = self.wingbeat("up", "--grpc-port", "0", "--http-port", "0", "--detach", *flags)
        assert done.returncode == 0, done.stdout + done.stderr + self.log("supervisor")

    @property
    def state(self) -> dict[str, Any]:
        """state.json."""
        return json.loads((self.data_dir / "state.json").read_text())

    def pid(self, role: str) -> int:
        """Process of a role now; 0 between two."""
        return self.state["processes"].get(role, {}).get("pid", 0)

    def log(self, role: str) -> str:
        """What a role logged in this run."""
        file = self.data_dir / "logs" / f"{role}.log"
        return file.read_text() if file.exists() else ""

    def leftovers(self) -> list[int]:
        """Live processes whose command line or environment names the folder."""
        found: list[int] = []
        for process in psutil.process_iter():
            try:
                about = [*process.cmdline(), *process.environ().values()]
                if any(str(self.data_dir) in text for text in about) and process.pid != os.getpid():
                    found.append(process.pid)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found


def until(condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    """Look again until it is true: the events of other processes cannot be awaited."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.02)


@pytest.fixture
def installation() -> Iterator[Installation]:
    """Not started yet; whatever the test leaves running is killed and the folder removed."""
    folder = Path(tempfile.mkdtemp(prefix="wb-up-"))
    made = Installation(folder / "data")
    try:
        yield made
    finally:
        for pid in made.leftovers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        shutil.rmtree(folder, ignore_errors=True)
