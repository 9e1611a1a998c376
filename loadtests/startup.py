# ruff: noqa: N802 - rpcs carry the names of the protos
"""From nothing to an installation that works: how long `wingbeat up` takes.

    python -m loadtests.startup [--runs 15]

Each run starts `wingbeat up` on a folder that does not exist yet, with free ports, and measures from the start of the
process until a client's GetVersion is answered and, by GetStatus, an engine has its lease and its shards. Then it stops
the installation and starts it again on the same folder, measured alike.

    runs, ready_...   milliseconds from nothing
    said_...          the same until the line `ready` in its log
    cpu_...           processor time of all its processes until it is ready; moves less on a shared machine
    again_...         milliseconds on the folder of an earlier start

`bare_p50_ms` is the machine's own floor in the same run: initdb and the start of PostgreSQL, by the same options and
with nothing else. `ratio` is the floor's share of what a user waits.
"""

import argparse
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import grpc
import psutil
from flyteidl.admin import version_pb2
from flyteidl.service.admin_pb2_grpc import AdminServiceStub

from wingbeat_controlplane.supervisor.data_folder import DataFolder
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres
from wingbeatidl.operations.v1 import operations_pb2, operations_pb2_grpc

_WINGBEAT = Path(sys.executable).parent / "wingbeat"
_POLL_S = 0.002
_START_S_MAX = 60.0


class Admin(Protocol):
    """What is used of AdminService; its generated stub carries no types."""

    def GetVersion(self, request: version_pb2.GetVersionRequest) -> version_pb2.GetVersionResponse: ...


class Operations(Protocol):
    """What is used of OperationsService; its generated stub carries no types."""

    def GetStatus(self, request: operations_pb2.GetStatusRequest) -> operations_pb2.GetStatusResponse: ...


@dataclass(frozen=True, slots=True)
class Start:
    """One start: milliseconds until its log said `ready`, until a client found it so, and of processor time."""

    said_ms: float
    ready_ms: float
    cpu_ms: float


def start_and_stop(folder: Path) -> Start:
    """Run `wingbeat up` on `folder` until it is ready, then stop it. Raises RuntimeError with what it said."""
    began = time.perf_counter()
    with subprocess.Popen(
        [_WINGBEAT, "up", "--data-dir", folder, "--grpc-port", "0", "--http-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            endpoint = _endpoint(process)
            said_s = time.perf_counter() - began
            _wait_until_it_works(endpoint, began + _START_S_MAX)
            ready_s = time.perf_counter() - began
            cpu_s = _cpu_s(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()
    return Start(said_s * 1000, ready_s * 1000, cpu_s * 1000)


def bare_ms(folder: Path) -> float:
    """Milliseconds of initdb and the start of PostgreSQL without anything else."""
    began = time.perf_counter()
    data_folder = DataFolder(folder)
    data_folder.create()
    server = EmbeddedPostgres(data_folder.postgres)
    server.initialise()
    process = server.spawn()
    try:
        server.wait_ready(process)
        return (time.perf_counter() - began) * 1000
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)


def measure(runs: int) -> dict[str, object]:
    """Start and stop, from nothing and again, `runs` times; returns what is printed."""
    first: list[Start] = []
    again: list[Start] = []
    bare: list[float] = []
    for _ in range(runs):
        folder = Path(tempfile.mkdtemp(prefix="wingbeat-up-"))
        try:
            first.append(start_and_stop(folder / "data"))
            again.append(start_and_stop(folder / "data"))
            bare.append(bare_ms(folder / "bare"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    ready = [start.ready_ms for start in first]
    return {
        "runs": [round(one) for one in ready],
        "ready_p50_ms": round(statistics.median(ready)),
        "ready_max_ms": round(max(ready)),
        "said_p50_ms": round(statistics.median(start.said_ms for start in first)),
        "cpu_p50_ms": round(statistics.median(start.cpu_ms for start in first)),
        "again_p50_ms": round(statistics.median(start.ready_ms for start in again)),
        "again_max_ms": round(max(start.ready_ms for start in again)),
        "again_cpu_p50_ms": round(statistics.median(start.cpu_ms for start in again)),
        "bare_p50_ms": round(statistics.median(bare)),
        "ratio": round(statistics.median(bare) / statistics.median(ready), 3),
    }


def _endpoint(process: subprocess.Popen[str]) -> str:
    """Where it listens, once it says that it is ready."""
    assert process.stdout is not None
    said: Sequence[str] = ()
    for line in process.stdout:
        said = [*said, line][-20:]
        if line.startswith("{") and (event := json.loads(line))["event"] == "ready":
            return event["grpc"]
    raise RuntimeError(f"wingbeat up did not get ready:\n{''.join(said)}")


def _wait_until_it_works(endpoint: str, deadline: float) -> None:
    with grpc.insecure_channel(endpoint) as channel:
        cast("Admin", AdminServiceStub(channel)).GetVersion(version_pb2.GetVersionRequest())
        operations = cast("Operations", operations_pb2_grpc.OperationsServiceStub(channel))
        while not any(engine.shards for engine in operations.GetStatus(operations_pb2.GetStatusRequest()).propellers):
            if time.perf_counter() > deadline:
                raise RuntimeError(f"no engine holds shards after {_START_S_MAX} s")
            time.sleep(_POLL_S)


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process, what it started, and what of that has ended."""
    command = psutil.Process(pid)
    spent = 0.0
    for process in (command, *command.children(recursive=True)):
        try:
            cpu = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += cpu.user + cpu.system + cpu.children_user + cpu.children_system
    return spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.startup", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=15)
    print(json.dumps(measure(parser.parse_args().runs)))


if __name__ == "__main__":
    main()
