"""Wide workflows: everything runs, everything can be read, and reading stays small."""

from pathlib import Path

from fanout import WIDTH
from flyteidl.admin import node_execution_pb2
from tests.e2e.client import Client, execution_id, succeeded


def test_fifty_tasks(client: Client, tmp_path: Path) -> None:
    """Each of fifty tasks runs exactly once; flytekit's wait, which reads every node at each poll, sees them all."""
    execution = succeeded(client.run("fanout", "fanout_wf", {"folder": str(tmp_path)}))
    assert execution.outputs["o0"] == sum(index * index for index in range(WIDTH))
    for mark in tmp_path.iterdir():
        assert [line.split()[0] for line in mark.read_text().splitlines()] == ["start", "end"], mark.name
    assert len(list(tmp_path.iterdir())) == WIDTH + 1
    nodes = {name: node for name, node in execution.node_executions.items() if name.startswith("n")}
    assert sorted(node.outputs["o0"] for node in nodes.values())[-2] == (WIDTH - 1) ** 2
    assert all(len(node.task_executions) == 1 for node in nodes.values())


def test_paging_through_nodes(client: Client, tmp_path: Path) -> None:
    """Pages of nodes follow each other without gap or double, whatever their size."""
    execution = succeeded(client.run("fanout", "fanout_wf", {"folder": str(tmp_path)}))
    whole = _node_ids(client, execution.id.name, limit=1000)
    assert len(whole) == len(set(whole)) == WIDTH + 3  # start, end and the sum
    assert _node_ids(client, execution.id.name, limit=7) == whole


def test_two_at_once_share_the_machine(client: Client, tmp_path: Path) -> None:
    """Executions side by side do not disturb each other, nor does one wait for the other to end."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    launched = [client.launch("fanout", "fanout_wf", {"folder": str(folder)}) for folder in folders]
    for execution in launched:
        assert succeeded(client.wait(execution, sync_nodes=False)).outputs["o0"] == 40425


def _node_ids(client: Client, name: str, *, limit: int) -> list[str]:
    found, token = [], ""
    while True:
        page = client.admin.ListNodeExecutions(
            node_execution_pb2.NodeExecutionListRequest(
                workflow_execution_id=execution_id(name), limit=limit, token=token
            )
        )
        found += [node.id.node_id for node in page.node_executions]
        token = page.token
        if not token:
            return found
