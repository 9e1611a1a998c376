"""Gates with the real flytekit: sleeps, inputs, approvals."""

from typing import Any

import pytest
from flyteidl.admin import signal_pb2
from tests.e2e.client import Client, execution_id, phase, succeeded
from tests.e2e.installation import Installation, until


def waiting(client: Client, name: str) -> list[str]:
    """Signals of an execution, as clients list them."""
    request = signal_pb2.SignalListRequest(workflow_execution_id=execution_id(name), limit=10)
    return [signal.id.signal_id for signal in client.signals.ListSignals(request).signals]


def give(client: Client, execution: Any, signal_id: str, value: object, python_type: type) -> None:
    """Set a signal once its gate waits, as `pyflyte` and the console do."""
    name = execution.id.name
    until(lambda: signal_id in waiting(client, name), timeout_s=60, what=f"signal {signal_id}")
    client.remote.set_signal(signal_id, name, value, python_type=python_type)


def test_sleep(client: Client) -> None:
    """What waits for a sleep begins after it."""
    execution = succeeded(client.run("gates", "sleep_wf", {"number": 4}))
    assert execution.outputs["o0"] == 8
    nodes = {node.metadata.spec_node_id: node for node in execution.node_executions.values()}
    assert (nodes["n1"].closure.created_at - nodes["n0"].closure.started_at).total_seconds() >= 1


def test_input(client: Client) -> None:
    """The value given is the output of the gate."""
    execution = client.launch("gates", "input_wf", {"report": "all is well"})
    give(client, execution, "title", "Weather", str)
    assert succeeded(client.wait(execution)).outputs["o0"] == "Weather: all is well"


@pytest.mark.parametrize("answer", [True, False])
def test_approval(client: Client, answer: bool) -> None:
    """After a yes the value passes, after a no the node fails."""
    execution = client.launch("gates", "approval_wf", {"number": 3 if answer else 4})
    give(client, execution, "fine", answer, bool)
    execution = client.wait(execution)
    if answer:
        assert succeeded(execution).outputs["o0"] == 12
    else:
        assert phase(execution) == "FAILED"
        assert execution.error.code == "ReceivedRejectSignal"


@pytest.mark.parametrize("answer", [True, False])
def test_choice(client: Client, answer: bool) -> None:
    """A condition on a value that was given."""
    execution = client.launch("gates", "choice_wf", {"number": 3 if answer else 4})
    give(client, execution, "wanted", answer, bool)
    execution = client.wait(execution)
    assert phase(execution) == ("SUCCEEDED" if answer else "FAILED")


def test_nobody_answers(client: Client) -> None:
    """The timeout of a gate ends it."""
    execution = client.run("gates", "hasty_wf", {})
    assert phase(execution) == "FAILED"
    assert "Timeout" in execution.error.code


def test_gates_over_a_crash(installation: Installation, client: Client) -> None:
    """A propeller that dies while gates wait, and a signal set while it is down: everything goes on."""
    sleeping = client.launch("gates", "sleep_wf", {"number": 1})
    waits = client.launch("gates", "input_wf", {"report": "still here"})
    until(lambda: "title" in waiting(client, waits.id.name), timeout_s=60, what="the gate")
    installation.kill(["propeller-0"])
    client.remote.set_signal("title", waits.id.name, "Later", python_type=str)
    assert succeeded(client.wait(waits)).outputs["o0"] == "Later: still here"
    assert succeeded(client.wait(sleeping)).outputs["o0"] == 2
