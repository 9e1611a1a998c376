"""Decks: pages that tasks write, reachable while the task runs and afterwards."""

from pathlib import Path

import grpc
import httpx
import pytest
from flyteidl.admin import node_execution_pb2
from flyteidl.core import execution_pb2, identifier_pb2
from flyteidl.service import dataproxy_pb2
from tests.e2e.client import FOLDERS, Client, entity, execution_id, phase, succeeded
from tests.e2e.installation import Installation, until
from tests.e2e.test_maps import array_entries, element_id


def _nodes(client: Client, name: str) -> dict[str, node_execution_pb2.NodeExecution]:
    request = node_execution_pb2.NodeExecutionListRequest(workflow_execution_id=execution_id(name), limit=100)
    return {node.id.node_id: node for node in client.admin.ListNodeExecutions(request).node_executions}


def _page(client: Client, name: str, node: str) -> str:
    """The deck as a browser gets it."""
    request = dataproxy_pb2.CreateDownloadLinkRequest(
        artifact_type=dataproxy_pb2.ARTIFACT_TYPE_DECK,
        node_execution_id=identifier_pb2.NodeExecutionIdentifier(node_id=node, execution_id=execution_id(name)),
    )
    link = client.data.CreateDownloadLink(request).pre_signed_urls.signed_url[0]
    answer = httpx.get(link)
    assert answer.headers["content-type"].startswith("text/html")
    return answer.text


def test_a_deck_while_it_is_written_and_after(client: Client, tmp_path: Path) -> None:
    """The deck is there from RUNNING on, what the task publishes is seen at once, and the last version stays."""
    execution = client.launch("decks", "report_wf", {"folder": str(tmp_path)})
    name = execution.id.name
    until((tmp_path / "published").exists, what="the first page")
    node = until(lambda: _nodes(client, name).get("n1"), what="the node")
    assert node.closure.phase == execution_pb2.NodeExecution.RUNNING
    assert node.closure.deck_uri.endswith("/n1/data/0/deck.html")
    assert "half done" in _page(client, name, "n1")
    (tmp_path / "go").touch()
    succeeded(client.wait(execution))
    nodes = _nodes(client, name)
    assert nodes["n1"].closure.deck_uri.endswith("/n1/data/0/deck.html")
    assert "all done" in _page(client, name, "n1")
    assert nodes["n0"].closure.deck_uri == ""
    with pytest.raises(grpc.RpcError) as caught:
        _page(client, name, "n0")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_deck_of_a_task_that_fails(client: Client) -> None:
    """What a failed task has published can be read."""
    execution = client.run("decks", "failing_wf")
    assert phase(execution) == "FAILED"
    assert "last words" in _page(client, execution.id.name, "n0")


def test_a_deck_that_was_announced_and_never_written(client: Client) -> None:
    """At the end of the task the announced deck is gone again."""
    execution = client.run("decks", "leaving_wf")
    assert phase(execution) == "FAILED"
    assert _nodes(client, execution.id.name)["n0"].closure.deck_uri == ""


def test_data_of_a_node_names_its_deck(client: Client, installation: Installation, tmp_path: Path) -> None:
    """GetNodeExecutionData gives the flyte:// address of a deck, and the data proxy resolves it."""
    (tmp_path / "go").touch()
    execution = succeeded(client.run("decks", "report_wf", {"folder": str(tmp_path)}))
    node = identifier_pb2.NodeExecutionIdentifier(node_id="n1", execution_id=execution_id(execution.id.name))
    urls = client.admin.GetNodeExecutionData(node_execution_pb2.NodeExecutionGetDataRequest(id=node)).flyte_urls
    link = client.data.GetData(dataproxy_pb2.GetDataRequest(flyte_url=urls.deck)).pre_signed_urls.signed_url[0]
    assert link.startswith(installation.http_url)
    assert "all done" in httpx.get(link).text


def test_decks_of_the_elements_of_a_map(client: Client) -> None:
    """Each element has a page of its own, also one that failed: by the element's id, and by the address that clients
    see beside its logs."""
    client.remote.register_script(
        entity("decks", "show"), source_path=str(FOLDERS[0]), module_name="decks", version="referenced"
    )
    name = succeeded(client.run("decks", "map_wf", {"numbers": [7, -1, 8, 9]})).id.name
    for element, number in enumerate([7, -1, 8, 9]):
        assert f"this is {number}" in _page(client, name, f"n0-0-n{element}")
    entries = array_entries(client, name)
    url = entries[1].custom_info["deck"]
    assert url == f"flyte://v1/flytesnacks/development/{name}/n0-0-n1/d"
    link = client.data.GetData(dataproxy_pb2.GetDataRequest(flyte_url=url)).pre_signed_urls.signed_url[0]
    assert "this is -1" in httpx.get(link).text
    node = client.remote.client.get_node_execution(element_id(name, 2))
    assert node.closure.deck_uri.endswith("/n0/data/0/2/0/deck.html")
    asked = node_execution_pb2.NodeExecutionGetDataRequest(id=element_id(name, 2).to_flyte_idl())
    assert client.admin.GetNodeExecutionData(asked).flyte_urls.deck == url.replace("n0-0-n1", "n0-0-n2")
