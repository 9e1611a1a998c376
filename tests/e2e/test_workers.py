"""`wingbeat up --workers 2`: programs as users write them run in warm processes, and go on when those are killed."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fanout import WIDTH
from flytekit.core.options import Options
from flytekit.models.common import Labels
from tests.e2e.client import Client, phase, succeeded
from tests.e2e.installation import BIN, Installation, running_installation, until


@pytest.fixture(scope="module")
def warm() -> Iterator[Installation]:
    """An installation with two workers, in which nothing that a worker can run may run elsewhere. Only those that are
    killed lose their leases, however busy the machine is."""
    settings = (
        '[workers]\ncount = 2\nslots = 2\nwithout_worker = "wait"\nlease_s = 6\n'
        "[propeller]\nlease_s = 4\nbackoff_s = 0\n"
    )
    with running_installation(settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(warm: Installation) -> Iterator[Client]:
    """Clients of it."""
    client = Client(warm.endpoint)
    yield client
    client.close()


def local_claims(installation: Installation) -> list[str]:
    """Attempts that ran as processes of their own."""
    folder = installation.data_dir / "local" / "claims"
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_programs_run_in_workers(client: Client, warm: Installation, marks: Path) -> None:
    """Plain, mapped and dynamic tasks, values of many kinds, and errors; none of them in a process of its own."""
    assert succeeded(client.run("basics", "line_wf")).outputs["slope"] == -1.5
    assert succeeded(client.run("maps", "map_wf", {"numbers": [1, 2, 3]})).outputs["o0"] == [2, 4, 6]
    assert succeeded(client.run("dynamics", "sort_wf", {"numbers": [3, 1, 2]})).outputs["o0"] == [1, 2, 3]
    assert succeeded(client.run("dynamics", "sort_wf", {"numbers": [5, 4]})).outputs["o0"] == [4, 5]
    assert succeeded(client.run("values", "frames_wf", {"rows": 3})).outputs["o1"]
    failed = client.run("failures", "recoverable_wf", {"path": str(marks)})
    assert phase(failed) == "FAILED"
    assert len(marks.read_text().split()) > 1
    assert not local_claims(warm)


def test_logs(client: Client, warm: Installation) -> None:
    """What a task in a worker has written is found by the links of its execution."""
    execution = client.run("failures", "permanent_wf", {"path": "/dev/null"})
    node = next(one for one in execution.node_executions.values() if one.task_executions)
    [links] = [one.closure.logs for one in node.task_executions]
    [link] = [one for one in links if one.name == "stderr"]
    assert "User Error Captured" in httpx.get(link.uri).text
    assert warm.http_url in link.uri


def test_a_task_that_no_worker_can_run_waits(client: Client, warm: Installation, tmp_path: Path) -> None:
    """It says what it needs of a worker, holds up nothing else, and runs as soon as there is one."""
    labels = Options(labels=Labels({"worker.wingbeat.dev/pool": "gpu"}))
    waiting = client.launch("basics", "line_wf", options=labels)

    def why() -> str:
        return warm.wingbeat("why", waiting.id.name, "--data-dir", str(warm.data_dir)).stdout

    until(lambda: "no worker is connected that can run it" in why(), what=f"a reason for {waiting.id.name}")
    assert "label pool=gpu" in why()
    succeeded(client.run("basics", "line_wf"))
    command = [BIN / "wingbeat", "worker", "--data-dir", str(warm.data_dir), "--label", "pool=gpu", "--slots", "1"]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as worker:
        try:
            assert succeeded(client.wait(waiting)).outputs["slope"] == -1.5
        finally:
            worker.terminate()
    assert worker.returncode == 0


def test_kills(client: Client, warm: Installation, tmp_path: Path) -> None:
    """Workers and the engine are killed while a fan-out runs: it succeeds, and what ended before runs only once."""
    execution = client.launch("fanout", "fanout_wf", {"folder": str(tmp_path), "seconds": 0.2})

    def ended() -> dict[str, int]:
        lines = {mark.name: mark.read_text().count("end") for mark in tmp_path.iterdir()}
        return {name: count for name, count in lines.items() if count}

    until(lambda: len(ended()) >= 4, what="a beginning")
    warm.kill(["worker-0"])
    until(lambda: len(ended()) >= 10, what="more of it")
    warm.kill(["propeller-0"])
    until(lambda: len(ended()) >= 20, timeout_s=90, what="more of it after the engine was killed")
    warm.kill(["worker-1"])
    assert succeeded(client.wait(execution)).outputs["o0"] == sum(number * number for number in range(WIDTH))
    # Attempts that were killed have no end; of the others at most those run twice whose end was on its way to a killed
    # worker's engine.
    assert sum(ended().values()) <= WIDTH + 1 + 4
    assert not local_claims(warm)
