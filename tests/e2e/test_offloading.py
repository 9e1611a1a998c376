"""Large outputs with the real flytekit: stored apart by the task, passed on by reference, read where somebody looks
into them, kept by the cache, and collected."""

import os
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from flyteidl.admin import node_execution_pb2
from flyteidl.core import catalog_pb2, identifier_pb2, literals_pb2
from tests.e2e.client import DOMAIN, PROJECT, Client, execution_id, phase, succeeded
from tests.e2e.installation import Installation

import wingbeat

SIZE = 11 << 20
"""Above `propeller.offload_min_mib`."""


def test_large_outputs_are_passed_on_by_reference(installation: Installation, client: Client, marks: Path) -> None:
    """To a task, a sub-workflow and into parts of them; the cache hands out the reference for as long as the value is
    there, and the collector leaves it for as long as somebody refers to it."""
    given = {"marks": str(marks), "size": SIZE}
    first = _run(client, given)
    apart = _outputs(client, first, "n0")["o0"]
    uri = Path(apart.offloaded_metadata.uri)
    assert uri.name == "o0_offloaded_metadata.pb"
    assert uri.stat().st_size > SIZE
    assert apart.hash
    assert _outputs(client, first, "n1")["o0"].offloaded_metadata.uri
    for node in ("n2", "n3"):
        assert _inputs(client, first, node)["values"] == apart
    outputs = _read(installation, first)
    assert len(outputs["o0"]["large"]) == SIZE
    assert (outputs["o1"], outputs["o2"], outputs["o4"]) == (2 * SIZE, 2 * SIZE, "a title")
    assert outputs["o3"] == outputs["o0"]["small"]

    second = _run(client, given)
    assert [_status(client, second, node) for node in ("n0", "n2")] == [catalog_pb2.CACHE_HIT] * 2
    assert _outputs(client, second, "n0")["o0"] == apart
    assert _read(installation, second)["o3"] == outputs["o3"]
    assert marks.read_text() == "made\n"

    folder = ("--data-dir", str(installation.data_dir))
    _grow_old(uri.parents[3])
    installation.wingbeat("gc", "--older-than", "2h", "--yes", *folder)
    assert uri.exists()
    installation.wingbeat("erase", first.id.name, "--yes", *folder)
    assert not uri.exists()
    third = _run(client, given)
    assert _status(client, third, "n0") == catalog_pb2.CACHE_POPULATED
    assert marks.read_text() == "made\nmade\n"


def test_a_part_of_a_value_that_is_gone(installation: Installation, client: Client) -> None:
    """Fails the node that is bound to it, with the address of what is gone."""
    given = {"store": str(installation.data_dir / "blobs"), "size": SIZE}
    execution = client.wait(client.launch("offloading", "lost", given, execution_name=f"lost-{uuid4().hex[:12]}"))
    assert phase(execution) == "FAILED"
    error = execution.error
    assert error.code == "BindingResolutionFailure"
    assert "o0_offloaded_metadata.pb, which is gone" in error.message


def _run(client: Client, given: dict[str, Any]) -> Any:
    name = f"offload-{uuid4().hex[:12]}"
    return succeeded(client.wait(client.launch("offloading", "offloaded", given, execution_name=name)))


def _node(execution: Any, node: str) -> identifier_pb2.NodeExecutionIdentifier:
    return identifier_pb2.NodeExecutionIdentifier(node_id=node, execution_id=execution_id(execution.id.name))


def _data(client: Client, execution: Any, node: str) -> node_execution_pb2.NodeExecutionGetDataResponse:
    return client.admin.GetNodeExecutionData(node_execution_pb2.NodeExecutionGetDataRequest(id=_node(execution, node)))


def _inputs(client: Client, execution: Any, node: str) -> dict[str, literals_pb2.Literal]:
    return dict(_data(client, execution, node).full_inputs.literals)


def _outputs(client: Client, execution: Any, node: str) -> dict[str, literals_pb2.Literal]:
    return dict(_data(client, execution, node).full_outputs.literals)


def _status(client: Client, execution: Any, node: str) -> int:
    request = node_execution_pb2.NodeExecutionGetRequest(id=_node(execution, node))
    return client.admin.GetNodeExecution(request).closure.task_node_metadata.cache_status


def _read(installation: Installation, execution: Any) -> dict[str, Any]:
    """Outputs as the client without flytekit reads them."""
    with wingbeat.Client(data_dir=str(installation.data_dir)) as plain:
        return plain.outputs(wingbeat.ExecutionId(PROJECT, DOMAIN, execution.id.name))


def _grow_old(folder: Path) -> None:
    """Let all below a folder seem to have been written days ago."""
    then = time.time() - 3 * 86_400
    for path in folder.rglob("*"):
        os.utime(path, (then, then))
