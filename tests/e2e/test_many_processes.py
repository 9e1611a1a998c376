"""`wingbeat up --propellers 3`: engines that are stopped, continued and killed while real programs run."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import grpc
import pytest
from fanout import WIDTH
from tests.e2e.client import Client, phase
from tests.e2e.installation import Installation, until

from wingbeatidl.operations.v1 import operations_pb2, operations_pb2_grpc

LEASE_S = 2.0
TIMEOUT_S = 120


def _owners(installation: Installation) -> dict[int, int]:
    """Shards by term, of engines whose lease holds."""
    with grpc.insecure_channel(installation.endpoint) as channel:
        stub = operations_pb2_grpc.OperationsServiceStub(channel)
        status = stub.GetStatus(operations_pb2.GetStatusRequest(), timeout=10)
    return {engine.term: engine.shards for engine in status.propellers}


def _are_spread(installation: Installation, engines: int) -> bool:
    owners = _owners(installation)
    return len(owners) == engines and sum(owners.values()) == 256


def _lines(folder: Path) -> int:
    return sum(len(mark.read_text().splitlines()) for mark in folder.iterdir())


@pytest.mark.timeout(300)
def test_shards_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards spread over three engines, leave one that is stopped past its lease and one that is killed, and come back
    when they do; meanwhile every execution succeeds, and no task runs twice."""
    monkeypatch.setenv("WINGBEAT_PROPELLER__LEASE_S", str(LEASE_S))
    folder = Path(tempfile.mkdtemp(prefix="wb-many-"))
    trio = Installation(folder, "--propellers", "3")
    trio.up()
    paused = 0
    try:
        client = Client(trio.endpoint)
        until(lambda: _are_spread(trio, 3), what="three engines with all shards")
        marks = [tmp_path / str(number) for number in range(6)]
        for mark in marks:
            mark.mkdir()
        launched = [client.launch("fanout", "fanout_wf", {"folder": str(mark), "seconds": 0.2}) for mark in marks]
        until(lambda: sum(map(_lines, marks)) > 10, timeout_s=TIMEOUT_S, what="a beginning")
        paused = trio.pid("propeller-0")
        os.kill(paused, signal.SIGSTOP)
        until(lambda: _are_spread(trio, 2), timeout_s=TIMEOUT_S, what="two engines with all shards")
        before = sum(map(_lines, marks))
        until(lambda: sum(map(_lines, marks)) > before, timeout_s=TIMEOUT_S, what="work of the others")
        killed = trio.pid("propeller-1")
        os.kill(killed, signal.SIGKILL)
        until(lambda: trio.pid("propeller-1") not in (0, killed), timeout_s=TIMEOUT_S, what="a new engine")
        os.kill(paused, signal.SIGCONT)
        until(
            lambda: trio.pid("propeller-0") not in (0, paused), timeout_s=TIMEOUT_S, what="the end of the stopped one"
        )
        until(lambda: _are_spread(trio, 3), timeout_s=TIMEOUT_S, what="three engines with all shards again")
        for execution in launched:
            ended = client.wait(execution, sync_nodes=False)
            assert phase(ended) == "SUCCEEDED", f"{ended.error and ended.error.message}\n{trio.logs()}"
            assert ended.outputs["o0"] == sum(index * index for index in range(WIDTH))
        lines = [line for mark in marks for path in mark.iterdir() for line in path.read_text().splitlines()]
        assert sum(line.startswith("end") for line in lines) == len(marks) * (WIDTH + 1)
        client.close()
    finally:
        if paused and trio.pid("propeller-0") == paused:
            os.kill(paused, signal.SIGCONT)
        trio.down()
        until(lambda: not trio.leftovers(), timeout_s=60, what=f"an end of {trio.leftovers()}")
        shutil.rmtree(folder)
