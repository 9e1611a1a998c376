"""OpenLineage events of a real installation, sent to a real receiver while the server is killed."""

from collections.abc import Iterator

import pytest
from tests.e2e.client import Client, succeeded
from tests.e2e.installation import Installation, running_installation, until
from tests.integration.openlineage.receiver import Receiver, receiver


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the environment names."""
    with receiver() as found:
        monkeypatch.setenv("WINGBEAT_OPENLINEAGE__URL", found.url)
        yield found


@pytest.fixture
def reporting(received: Receiver) -> Iterator[Installation]:
    """An installation that reports to it."""
    with running_installation() as running:
        yield running


def test_events_survive_the_server(reporting: Installation, received: Receiver) -> None:
    """An execution and its child are told of with their tie and the file that was made; those that the killed server
    owed come from the next one."""
    client = Client(reporting.endpoint)
    try:
        received.answers += [503] * 3
        succeeded(client.run("lineages", "long_way_wf", {"text": "four"}))
        received.wait(4)
        kinds = {(event["job"]["name"].rsplit(".", 1)[1], event["eventType"]) for event in received.events}
        assert kinds == {(job, state) for job in ("long_way_wf", "doubling_lp") for state in ("START", "COMPLETE")}
        child = next(event for event in received.events if "doubling_lp" in event["job"]["name"])
        parent = next(event for event in received.events if "long_way_wf" in event["job"]["name"])
        assert child["run"]["facets"]["parent"]["run"]["runId"] == parent["run"]["runId"]
        over = next(event for event in received.events if event["eventType"] == "COMPLETE" and event["outputs"])
        assert over["run"]["runId"] == parent["run"]["runId"]
        received.answers += [503] * 1_000_000
        execution = client.launch("lineages", "writing_wf", {"text": "x"})
        until(lambda: len(received.answers) < 1_000_000, what="a delivery that fails")
        pid = reporting.pid("server")
        reporting.kill(["server"])
        until(lambda: reporting.pid("server") not in (0, pid) and reporting.answers(), what="the next server")
        received.answers.clear()
        succeeded(client.wait(execution))
        until(lambda: received.states("writing_wf")[-1:] == ["COMPLETE"], what="the end")
        assert received.states("writing_wf")[0] == "START"
    finally:
        client.close()
