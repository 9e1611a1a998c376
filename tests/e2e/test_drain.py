"""`wingbeat down` in the middle of work."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.e2e.client import Client, succeeded
from tests.e2e.installation import Installation, running_installation, until


@pytest.fixture
def own_installation() -> Iterator[Installation]:
    """An installation of this test's own. Two engines: what one ends must not look like a failure to the other."""
    with running_installation("--propellers", "2") as running:
        yield running


def _runs(folder: Path) -> list[list[int]]:
    """Process ids of each run of the task and its child."""
    file = folder / "runs"
    lines = file.read_text().splitlines() if file.exists() else []
    return [[int(pid) for pid in line.split()] for line in lines]


def _alive(*, pids: set[int], sessions: set[int]) -> list[int]:
    """Live processes among `pids` or in one of `sessions`; the dead that nobody has reaped yet do not count."""
    found: list[int] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            is_ours = process.pid in pids or os.getsid(process.pid) in sessions
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def test_running_tasks_are_ended_and_launched_anew(own_installation: Installation, tmp_path: Path) -> None:
    """When `down` returns nothing of the installation runs; after the next `up` the attempt that was cut is launched
    again under its number, and the execution succeeds as if nothing had been."""
    folders = [tmp_path / name for name in ("a", "b", "c")]
    names: dict[str, Path] = {}
    first = Client(own_installation.endpoint)
    for folder in folders:
        folder.mkdir()
        names[first.launch("drain", "drain_wf", {"folder": str(folder)}).id.name] = folder
    until(lambda: all(len(_runs(folder)) == 1 for folder in folders), what="the start of the tasks")
    first.close()
    pids = {pid for folder in folders for pid in _runs(folder)[0]}
    sessions = {os.getsid(pid) for pid in pids}

    own_installation.down()

    until(lambda: not _alive(pids=pids, sessions=sessions), timeout_s=60, what="the death of what was killed")
    assert not own_installation.leftovers()

    own_installation.up()
    second = Client(own_installation.endpoint)
    until(lambda: all(len(_runs(folder)) == 2 for folder in folders), what="the second start of the tasks")
    for name, folder in names.items():
        (folder / "go").touch()
        execution = succeeded(second.wait(second.remote.fetch_execution(name=name)))
        assert execution.outputs["o0"] == name
        [attempt] = execution.node_executions["n0"].task_executions
        assert attempt.id.retry_attempt == 0
    second.close()


def test_eager_executions_go_on(own_installation: Installation, tmp_path: Path) -> None:
    """An eager task and its child are cut by `down`; after the next `up` both go on, and the child is the same one."""
    first = Client(own_installation.endpoint)
    name = first.launch("eager", "patient_inner", {"folder": str(tmp_path)}).id.name
    mark = tmp_path / "grandchild"
    until(mark.exists, what="the child of the eager task")
    first.close()
    own_installation.down()
    assert not own_installation.leftovers()
    mark.unlink()

    own_installation.up()
    until(mark.exists, what="the second start of the child")
    (tmp_path / "go").touch()
    second = Client(own_installation.endpoint)
    execution = succeeded(second.wait(second.remote.fetch_execution(name=name)))
    assert execution.outputs["o0"] == "grandchild"
    listed = second.remote.recent_executions(limit=10)
    assert len([one for one in listed if one.spec.labels.values.get("eager-exec") == name]) == 1
    second.close()
