"""Every program under examples/ gives on Wingbeat what it gives on its own."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from diamond import Reading, Summary, diamond_wf
from flytekit.types.file import FlyteFile
from hello_world import hello_world_wf
from retries import FAILURES, share_wf
from shell_task import shell_wf
from subworkflow import Pace, travel_wf
from tests.e2e.client import Client, phase, succeeded


def test_hello_world(client: Client) -> None:
    """The smallest program returns what a local run returns, with its default and with an input."""
    assert succeeded(client.run("hello_world", "hello_world_wf")).outputs["o0"] == hello_world_wf()
    execution = succeeded(client.run("hello_world", "hello_world_wf", {"name": "Ada ✈"}))
    assert execution.outputs["o0"] == hello_world_wf(name="Ada ✈")


def test_diamond(client: Client) -> None:
    """Files, dataclasses and lists pass along the edges, and the file can be read by the client."""
    execution = succeeded(client.run("diamond", "diamond_wf", {"days": 9}))
    report, summary, warmest = diamond_wf(days=9)
    assert execution.outputs.get("o1", Summary) == summary
    assert execution.outputs.get("o2", list[Reading]) == warmest
    remote_report = Path(execution.outputs.get("o0", FlyteFile).download())
    assert remote_report.read_text(encoding="utf-8") == Path(report).read_text(encoding="utf-8")
    assert {name: node.metadata.spec_node_id for name, node in execution.node_executions.items()} == {
        name: name for name in ("n0", "n1", "n2", "n3", "start-node", "end-node") if name in execution.node_executions
    }
    assert execution.node_executions["n2"].outputs.get("o0", Summary) == summary


def test_dataframe_pipeline(client: Client) -> None:
    """A DataFrame that went through Parquet three times is equal to the local one."""
    from dataframe_pipeline import dataframe_wf

    execution = succeeded(client.run("dataframe_pipeline", "dataframe_wf", {"orders": 50}))
    sentence, totals = dataframe_wf(orders=50)
    assert execution.outputs["o0"] == sentence
    pd.testing.assert_frame_equal(execution.outputs.get("o1", pd.DataFrame), totals)


@pytest.mark.parametrize(
    "inputs",
    [{}, {"traveller": "Ada", "luggage": "a trunk", "pace": Pace.FAST}, {"luggage": 7, "kilometres": 33}],
    ids=["defaults", "words", "numbers"],
)
def test_subworkflow(client: Client, inputs: dict[str, Any]) -> None:
    """Nested sub-workflows, optional, union and enum inputs, maps and datetimes come out as in a local run."""
    execution = succeeded(client.run("subworkflow", "travel_wf", inputs))
    expected = travel_wf(**inputs)
    assert execution.outputs.get("arrival") == expected.arrival
    assert execution.outputs.get("distances", dict[str, int]) == expected.distances
    assert execution.outputs["note"] == expected.note


def test_nested_nodes_are_visible(client: Client) -> None:
    """flytekit's sync finds the nodes inside sub-workflows, two levels deep, with their outputs."""
    execution = succeeded(client.run("subworkflow", "travel_wf"))
    outer = execution.node_executions["n0"]
    assert outer.subworkflow_node_executions is not None
    inner = {name: node for name, node in outer.subworkflow_node_executions.items() if node.subworkflow_node_executions}
    assert len(inner) == 2
    legs = [leaf for node in inner.values() for leaf in node.subworkflow_node_executions.values()]
    outputs = [leaf.outputs for leaf in legs if leaf.outputs]
    assert [values["kilometres"] for values in outputs if "kilometres" in values.literals] == [150, 150]


def test_recoverable_error_is_tried_again(client: Client) -> None:
    """A recoverable error costs one attempt; the attempts are listed with their errors."""
    execution = succeeded(client.run("retries", "flaky_wf"))
    assert execution.outputs["o0"] == "What is the answer? 42"
    attempts = sorted(execution.node_executions["n0"].task_executions, key=lambda task: task.id.retry_attempt)
    assert [task.id.retry_attempt for task in attempts] == list(range(FAILURES + 1))
    assert "the service is down (attempt 1)" in attempts[1].closure.error.message


def test_user_error_comes_back(client: Client) -> None:
    """The user's own words stand in the error of the execution; the same program with other inputs succeeds."""
    execution = client.run("retries", "share_wf", {"people": 0})
    assert phase(execution) == "FAILED"
    assert "ValueError: cannot share 3 cakes among 0 people" in execution.error.message
    assert succeeded(client.run("retries", "share_wf")).outputs["o0"] == share_wf()


def test_shell_task(client: Client) -> None:
    """A shell script reads and writes files of the store."""
    assert (
        succeeded(client.run("shell_task", "shell_wf", {"words": ["a", "b", "a"]})).outputs["o0"]
        == "'a' occurs 2 times"
    )
    assert succeeded(client.run("shell_task", "shell_wf")).outputs["o0"] == shell_wf()
