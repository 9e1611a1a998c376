"""Eager workflows of flytekit: their tasks drive this very installation."""

import contextlib
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

import psutil
from flyteidl.admin import common_pb2, execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from tests.e2e.client import DOMAIN, PROJECT, Client, entity, execution_id, phase, succeeded
from tests.e2e.installation import Installation, until

Phase = core_execution_pb2.WorkflowExecution


def _children(client: Client, parent: str, label: str = "eager-exec") -> Mapping[str, execution_pb2.Execution]:
    """Executions with a label, found as flytekit's own cleanup finds them."""
    request = common_pb2.ResourceListRequest(
        id=common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN),
        limit=100,
        filters=f"value_in(execution_tag.key,{label})+value_in(execution_tag.value,{parent})",
    )
    return {execution.id.name: execution for execution in client.admin.ListExecutions(request).executions}


def _phases(client: Client, parent: str) -> dict[str, int]:
    return {name: child.closure.phase for name, child in _children(client, parent).items()}


def test_children(client: Client) -> None:
    """Tasks, workflows and eager workflows are executions of their own, with names and labels that lead to them."""
    execution = succeeded(client.run("eager", "outer", {"x": 3}))
    assert execution.outputs.get("o0", list[int]) == [4, 8, 10, 10, 20]
    name = execution.id.name
    children = _children(client, name)
    parts = sorted(re.fullmatch(rf"e-outer-{name[:5]}-([a-z0-9-]+)-[0-9a-f]{{16}}", child)[1] for child in children)
    assert parts == ["add-one", "add-two-", "double", "double", "inner"]
    assert {child.closure.phase for child in children.values()} == {Phase.SUCCEEDED}
    assert max(map(len, children)) <= 63
    (nested,) = (child for child in children if "-inner-" in child)
    (grandchild,) = _children(client, nested).values()
    assert grandchild.spec.labels.values == {"eager-exec": nested, "eager-root-exec": name}
    assert {pair.key: pair.value for pair in grandchild.spec.envs.values} == {"_F_EE_ROOT": name}
    assert len(_children(client, name, "eager-root-exec")) == len(children) + 1


def test_a_child_that_fails(client: Client) -> None:
    """Its failure is the parent's, for good, unless the parent catches it."""
    careless = client.launch("eager", "careless", {"x": 3})
    careful = client.launch("eager", "careful", {"x": 3})
    assert phase(client.wait(careless)) == "FAILED"
    request = execution_pb2.WorkflowExecutionGetRequest(id=execution_id(careless.id.name))
    error = client.admin.GetExecution(request).closure.error
    assert (error.code, error.kind) == ("USER:NonRecoverableSystemError", core_execution_pb2.ExecutionError.USER)
    assert "Error executing eager.refuse" in error.message
    assert "caught: Error executing eager.refuse" in succeeded(client.wait(careful)).outputs["o0"]


def test_abort_reaches_children_and_grandchildren(client: Client, tmp_path: Path) -> None:
    """Everything that an eager execution has started ends with it."""
    execution = client.launch("eager", "patient", {"folder": str(tmp_path)})
    until(lambda: {"child", "grandchild"} <= {path.name for path in tmp_path.iterdir()}, what="the descendants")
    pids = [int((tmp_path / name).read_text()) for name in ("child", "grandchild")]
    client.remote.terminate(execution, "enough")
    assert phase(client.wait(execution)) == "ABORTED"
    (nested,) = (name for name in _children(client, execution.id.name) if "-patient" in name[15:])
    for parent in (execution.id.name, nested):
        until(
            lambda parent=parent: set(_phases(client, parent).values()) == {Phase.ABORTED},
            what=f"the end of {_phases(client, parent)}",
        )
    child = next(iter(_children(client, nested).values()))
    assert "enough" in child.closure.abort_metadata.cause
    until(lambda: not any(map(psutil.pid_exists, pids)), what="the end of their processes")


def test_siblings_of_a_child_that_fails(client: Client, tmp_path: Path) -> None:
    """The failure node that flytekit adds to registered eager workflows terminates what is left running."""
    workflow = client.remote.register_script(
        entity("eager", "reckless").get_as_workflow(),
        source_path=str(Path(__file__).parent / "programs"),
        module_name="eager",
    )
    execution = client.wait(client.remote.execute(workflow, inputs={"folder": str(tmp_path)}))
    assert phase(execution) == "FAILED"
    phases = {name: phase for name, phase in _phases(client, execution.id.name).items() if "-hold-" in name}
    assert set(phases.values()) <= {Phase.ABORTING, Phase.ABORTED}
    assert phases


def test_more_eager_executions_than_room(client: Client) -> None:
    """Eager tasks that wait for their children leave them the room they need."""
    executions = [client.launch("eager", "inner", {"x": number}) for number in range(8)]
    assert [succeeded(client.wait(execution)).outputs["o0"] for execution in executions] == [0, 2, 4, 6, 8, 10, 12, 14]


def test_an_eager_task_that_is_killed(client: Client, installation: Installation, tmp_path: Path) -> None:
    """The next attempt finds the children of the one before, by their names, and waits on for them."""
    execution = client.launch("eager", "patient_inner", {"folder": str(tmp_path)})
    until((tmp_path / "grandchild").exists, what="the child")
    folder = str(installation.data_dir / "local/tasks" / execution.id.name)
    first = until(lambda: _working_in(folder), what="the eager task")
    os.kill(first, signal.SIGKILL)
    second = until(lambda: _working_in(folder) not in (0, first) and _working_in(folder), what="its next attempt")
    assert second
    (tmp_path / "go").touch()
    assert succeeded(client.wait(execution)).outputs["o0"] == "grandchild"
    (child,) = _children(client, execution.id.name).values()
    assert child.closure.phase == Phase.SUCCEEDED


def _working_in(folder: str) -> int:
    """Process of a task whose working folder begins with this path, 0 when there is none."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.cwd().startswith(folder):
                return process.pid
    return 0
