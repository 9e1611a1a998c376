"""`wingbeat why` against a running installation."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.client import Client, phase
from tests.e2e.installation import Installation, running_installation, until


def test_down_to_every_root_cause(installation: Installation, client: Client, tmp_path: Path) -> None:
    """From the last node the command leads to the task that runs, into the sub-workflow and the child execution, to the
    approval nobody gave and to the end of the sleep; while things move on, so does the answer."""
    file = tmp_path / "go"
    execution = client.launch("waiting", "waits", {"path": str(file)})
    name = execution.id.name

    def why(*arguments: str, execution: str = name) -> str:
        return installation.wingbeat("why", execution, *arguments, "--data-dir", str(installation.data_dir)).stdout

    def answer(node: str) -> dict:
        return json.loads(why(node, "-o", "json"))

    def settled() -> dict | None:
        found = answer("end-node")
        standings = {node["nodeId"]: node["standing"] for node in found["nodes"]}
        moving = {"STANDING_STARTING", "STANDING_QUEUED", "STANDING_PREPARING"}
        return found if not moving & set(standings.values()) and "childExecution" in json.dumps(found) else None

    try:
        found = until(settled, what="an answer of which everything has begun")
        reasons = {
            kind: reason[kind]
            for node in found["nodes"]
            for reason in node["reasons"]
            for kind in reason
            if kind != "sentence"
        }
        assert found["source"] == "SOURCE_ENGINE"
        assert found["nodes"][0]["nodeId"] == "end-node"
        assert reasons["signal"] == {"signalId": "carry on", "approval": True}
        assert reasons["sleep"]["until"]
        assert reasons["inner"]["nodes"][0]["name"].endswith("wait_for_file")
        assert reasons["running"]["attempt"] == 0
        child = reasons["childExecution"]
        assert child["exists"]
        assert child["execution"]["name"] != name
        assert len(found["rootCauses"]) == 4
        text = why("end-node")
        for words in ("root cause: ", "nobody has approved or rejected 'carry on'", "it sleeps until", "inside it"):
            assert words in text
        assert "└── " in text
        whole = why()
        assert f"flytesnacks/development/{name} is RUNNING" in whole
        assert "'carry on'" in whole
        until(lambda: "wait_for_file) is running" in why(execution=child["execution"]["name"]), what="the child's task")
        assert "its execution has not ended: " in why("end-node")
        file.touch()
        until(lambda: "childExecution" not in json.dumps(answer("end-node")), what="the end of the child execution")
        assert len(answer("end-node")["rootCauses"]) == 2
    finally:
        client.remote.terminate(execution, "seen enough")
    client.wait(execution)
    assert phase(execution) == "ABORTED"
    assert f"flytesnacks/development/{name} is ABORTED" in why()
    assert "will not run: the execution ended before its turn came" in why("end-node")


def test_what_cannot_be_told(installation: Installation) -> None:
    """An unknown execution is a sentence and an exit status."""
    absent = installation.wingbeat("why", "absent", "--data-dir", str(installation.data_dir), check=False)
    assert absent.returncode == 1
    assert "absent" in absent.stderr
    assert "Traceback" not in absent.stderr


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation of the test's own, with room for one task at a time."""
    monkeypatch.setenv("WINGBEAT_LOCAL_RUNTIME__CAPACITY", "1")
    with running_installation() as running:
        yield running


def test_a_full_runtime_and_an_engine_that_stands_still(alone: Installation, tmp_path: Path) -> None:
    """What waits for room names who takes it. While the engine is stopped the rows answer, and say that it does not;
    once it goes on, so do its answers."""
    client = Client(alone.endpoint)
    file = tmp_path / "go"
    executions = [client.launch("waiting", "inner", {"path": str(file), "x": number}) for number in range(2)]

    def why(execution, *arguments: str) -> str:
        return alone.wingbeat("why", execution.id.name, *arguments, "--data-dir", str(alone.data_dir)).stdout

    try:
        until(lambda: any("is running" in why(one) for one in executions), what="a task that runs")
        runs, waits = sorted(executions, key=lambda one: "is running" not in why(one))
        full = until(lambda: text if "only place" in (text := why(waits)) else "", what="a task that waits for room")
        assert "the only place of its engine's runtime is taken (1 by flytesnacks/development)" in full
        assert f"of flytesnacks/development/{runs.id.name}" in full
        assert "it is next in line, of 1 that wait" in full
        engine = alone.pid("propeller-0") or alone.pid("propeller")
        os.kill(engine, signal.SIGSTOP)
        try:
            silent = why(runs)
            assert "does not answer" in silent
            assert "(wait_for_file) is running" in silent
            assert json.loads(why(waits, "-o", "json"))["source"] == "SOURCE_ROWS"
        finally:
            os.kill(engine, signal.SIGCONT)
        until(
            lambda: json.loads(why(runs, "-o", "json"))["source"] == "SOURCE_ENGINE",
            what="an engine that answers again",
        )
        file.touch()
        for execution in executions:
            assert phase(client.wait(execution)) == "SUCCEEDED"
        second_file = tmp_path / "go on"
        mapped = client.launch("waiting", "mapped", {"path": str(second_file)})
        elements = until(lambda: text if "waits in a queue" in (text := why(mapped)) else "", what="elements under way")
        assert "0 of 3 elements have ended; 2 are under way (at most 2 at once): n0-0-n0" in elements
        assert "1 of these waits in a queue; 1 has not begun" in elements
        assert "the only place of its engine's runtime is taken" in elements
        engine = alone.pid("propeller-0") or alone.pid("propeller")
        os.kill(engine, signal.SIGSTOP)
        try:
            silent = why(mapped)
            assert "does not answer" in silent
            assert "0 of 3 elements have ended" in silent
        finally:
            os.kill(engine, signal.SIGCONT)
        second_file.touch()
        assert phase(client.wait(mapped)) == "SUCCEEDED"
    finally:
        client.close()
