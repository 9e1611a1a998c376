"""A running `wingbeat up` as tests see it: started, looked at, killed in part or in whole, stopped."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

BIN = Path(sys.executable).parent
COMMAND_TIMEOUT_S = 120.0


class Installation:
    """One data folder and whatever runs on it. All commands are the ones a user types."""

    def __init__(self, data_dir: Path, *flags: str) -> None:
        self.data_dir = data_dir
        self._flags = flags

    def wingbeat(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command; AssertionError with all it said when it fails."""
        environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            [BIN / "wingbeat", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"wingbeat {arguments} ended {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def up(self) -> None:
        """Start everything on free ports; returns when it is ready."""
        ports = ("--grpc-port", "0", "--http-port", "0")
        self.wingbeat("up", "--data-dir", str(self.data_dir), *ports, "--detach", *self._flags)

    def down(self) -> None:
        """Stop everything."""
        self.wingbeat("down", "--data-dir", str(self.data_dir))

    @property
    def state(self) -> dict:
        """What state.json says now."""
        return json.loads((self.data_dir / "state.json").read_text())

    @property
    def endpoint(self) -> str:
        """gRPC host and port."""
        return self.state["grpc_endpoint"]

    @property
    def http_url(self) -> str:
        """Base of the REST addresses."""
        return self.state["http_url"].rstrip("/")

    @property
    def client_config(self) -> Path:
        """Configuration file for flytekit's own command."""
        return self.data_dir / "flyte-config.yaml"

    @property
    def roles(self) -> list[str]:
        """Names of the processes that run, the supervisor among them."""
        return sorted(self.state["processes"])

    def pid(self, role: str) -> int:
        """Process id of a role, 0 while it is not running."""
        return self.state["processes"].get(role, {"pid": 0})["pid"]

    def answers(self) -> bool:
        """Whether gRPC can be reached and the server calls itself ready, its database included."""
        host, port = self.endpoint.rsplit(":", 1)
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return httpx.get(f"{self.http_url}/readyz", timeout=5).status_code == 200
        except (OSError, httpx.TransportError):
            return False

    def kill(self, roles: Iterable[str]) -> None:
        """End processes without warning, all at the same moment, as far as a list of signals allows."""
        roles = list(roles)
        assert all(re.fullmatch(r"postgres|server|supervisor|(propeller|worker)-\d+", role) for role in roles), roles
        pids = [self.pid(role) for role in roles]
        for pid in filter(None, pids):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it was being restarted just now

    def kill_everything(self) -> None:
        """As if the machine had lost its power: tasks and their hosts go, too."""
        self.kill(self.roles)
        while processes := self._processes():
            for process in processes:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue

    def leftovers(self) -> list[str]:
        """Live processes that have anything to do with the data folder, as text."""
        return [str(process) for process in self._processes()]

    def _processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                about = [process.cwd(), *process.cmdline(), *process.environ().values()]
                if process.pid != os.getpid() and any(str(self.data_dir) in text for text in about):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found

    def logs(self, lines: int = 60) -> str:
        """The ends of all log files, for messages of failed tests."""
        files = sorted((self.data_dir / "logs").glob("*"))
        return "\n".join(f"== {file.name}\n" + "\n".join(file.read_text().splitlines()[-lines:]) for file in files)


@contextmanager
def running_installation(*flags: str, settings: str = "") -> Iterator[Installation]:
    """`wingbeat up` in a folder of its own, with `settings` as its wingbeat.toml; ended at last, whatever a test has
    done to it, and then nothing of it may be left running."""
    folder = Path(tempfile.mkdtemp(prefix="wb-e2e-"))
    if settings:
        (folder / "wingbeat.toml").write_text(settings)
    installation = Installation(folder, *flags)
    try:
        installation.up()
        yield installation
    finally:
        installation.wingbeat("down", "--data-dir", str(folder), check=False)
        until(lambda: not installation.leftovers(), timeout_s=60, what=f"an end of {installation.leftovers()}")
        shutil.rmtree(folder)


def until(condition, *, timeout_s: float = 60.0, what: str = "the condition"):
    """Look again until the condition is true; returns its value. The events of another process cannot be awaited."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.02)
