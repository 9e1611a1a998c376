"""`wingbeat history` against a running installation."""

import json
from datetime import timedelta

from tests.e2e.client import Client, succeeded
from tests.e2e.installation import Installation


def test_an_execution_at_its_instants(installation: Installation, client: Client) -> None:
    """Before, during and after: the command tells how execution and nodes stood, to people and to programs."""
    execution = succeeded(client.run("hello_world", "hello_world_wf", {"name": "Ada"}))
    name = execution.id.name
    folder = ("--data-dir", str(installation.data_dir))

    def told(at, *more: str) -> str:
        return installation.wingbeat("history", name, "--at", at.isoformat(), *folder, *more).stdout

    created, started = execution.closure.created_at, execution.closure.started_at
    ended = started + execution.closure.duration + timedelta(seconds=1)
    assert "did not exist yet" in told(created - timedelta(seconds=5))
    during = json.loads(told(started, "-o", "json"))
    assert during["phase"] == "EXECUTION_PHASE_RUNNING"
    assert {node["phase"] for node in during["nodes"]} <= {"NODE_PHASE_SUCCEEDED", "NODE_PHASE_QUEUED"}
    after = json.loads(told(ended, "-o", "json"))
    assert after["phase"] == "EXECUTION_PHASE_SUCCEEDED"
    assert {node["nodeId"]: node["phase"] for node in after["nodes"]} == {
        "start-node": "NODE_PHASE_SUCCEEDED",
        "n0": "NODE_PHASE_SUCCEEDED",
        "end-node": "NODE_PHASE_SUCCEEDED",
    }
    text = told(ended)
    assert f"flytesnacks/development/{name}" in text
    assert "SUCCEEDED" in text
    assert "3 nodes" in text


def test_what_cannot_be_told(installation: Installation) -> None:
    """An unknown execution, and what is no time: a sentence and an exit status, no traceback."""
    folder = ("--data-dir", str(installation.data_dir))
    absent = installation.wingbeat("history", "absent", "--at", "now", *folder, check=False)
    assert absent.returncode == 1
    assert "absent" in absent.stderr
    wrong = installation.wingbeat("history", "absent", "--at", "soon", *folder, check=False)
    assert wrong.returncode == 2
    assert "'soon' is no time" in wrong.stderr
    for done in (absent, wrong):
        assert "Traceback" not in done.stderr
