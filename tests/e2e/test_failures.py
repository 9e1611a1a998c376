"""How tasks fail, how often they are tried, and what the user is told."""

import os
import signal
import uuid
from pathlib import Path

import pytest
from flyteidl.admin import execution_pb2, node_execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2
from tests.e2e import specs
from tests.e2e.client import Client, create_request, execution_id, phase
from tests.e2e.installation import until

USER = core_execution_pb2.ExecutionError.USER


def error_of(client: Client, name: str) -> core_execution_pb2.ExecutionError:
    """The whole error of an execution."""
    request = execution_pb2.WorkflowExecutionGetRequest(id=execution_id(name))
    return client.admin.GetExecution(request).closure.error


def test_recoverable_error_uses_every_retry(client: Client, marks: Path) -> None:
    """`retries=2` means three attempts, no more and no less, and the message says how many there were."""
    execution = client.run("failures", "recoverable_wf", {"path": str(marks)})
    assert phase(execution) == "FAILED"
    assert marks.read_text().splitlines() == ["run"] * 3
    error = error_of(client, execution.id.name)
    assert (error.kind, error.code) == (USER, "RetriesExhausted|USER:Recoverable")
    assert error.message.startswith("[3/3] currentAttempt done. Last Error: USER::")
    assert "the moon is not in place" in error.message


def test_permanent_error_is_not_repeated(client: Client, marks: Path) -> None:
    """An ordinary exception ends the task at once, retries or not."""
    execution = client.run("failures", "permanent_wf", {"path": str(marks)})
    assert phase(execution) == "FAILED"
    assert marks.read_text().splitlines() == ["run"]
    error = error_of(client, execution.id.name)
    assert (error.kind, error.code) == (USER, "USER:RuntimeError")
    assert "ValueError: seven is not a colour" in error.message


def test_program_that_just_exits(client: Client, marks: Path) -> None:
    """A program that leaves with an exit code tells neither success nor error: code and last words are the message."""
    execution = client.run("failures", "exit_wf", {"path": str(marks), "code": 3})
    assert phase(execution) == "FAILED"
    error = error_of(client, execution.id.name)
    assert error.kind == USER
    assert "exit code 3" in error.message
    assert "last words on the error stream" in error.message


def test_exit_code_of_a_shell(client: Client) -> None:
    """Any program is a task; what its shell returns decides, and retries are counted for it like for any other."""
    version = uuid.uuid4().hex
    script = "echo went wrong >&2; exit 7"
    task = specs.task_request("raw.exit", version, inputs={}, outputs={}, args=["sh", "-c", script])
    task.spec.template.metadata.retries.retries = 1
    client.admin.CreateTask(task)
    name = client.admin.CreateExecution(create_request(task, resource_type=identifier_pb2.TASK)).id.name
    execution = client.wait(client.remote.fetch_execution(name=name))
    error = error_of(client, name)
    assert (error.kind, error.code) == (USER, "RetriesExhausted|Error")
    assert error.message.startswith("[2/2] currentAttempt done.")
    assert "exit code 7" in error.message
    assert "went wrong" in error.message
    (node,) = (node for node in execution.node_executions.values() if node.task_executions)
    assert len(node.task_executions) == 2


def test_exit_zero_without_outputs(client: Client, marks: Path) -> None:
    """Exit code 0 without the outputs that were promised is a failure that says so."""
    execution = client.run("failures", "exit_wf", {"path": str(marks), "code": 0})
    assert phase(execution) == "FAILED"
    assert "OutputsNotFound" in error_of(client, execution.id.name).code


def test_memory_limit(client: Client, marks: Path) -> None:
    """A task that outgrows its limit is stopped, and the user learns which limit it was."""
    execution = client.run("failures", "memory_wf", {"path": str(marks)})
    assert phase(execution) == "FAILED"
    error = error_of(client, execution.id.name)
    assert error.kind == USER
    assert "OOMKilled" in error.code
    assert "memory" in error.message.lower()


def test_timeout(client: Client, marks: Path) -> None:
    """A task that takes longer than its timeout is stopped."""
    execution = client.run("failures", "timeout_wf", {"path": str(marks)})
    assert phase(execution) == "FAILED"
    error = error_of(client, execution.id.name)
    assert error.kind == USER
    assert "timeout" in error.message.lower()
    assert marks.read_text().splitlines() == ["run"]


@pytest.mark.parametrize(("workflow", "rest_runs"), [("patient_wf", True), ("hasty_wf", False)])
def test_failure_policy(client: Client, tmp_path: Path, workflow: str, rest_runs: bool) -> None:
    """By default one failure stops everything; FAIL_AFTER_EXECUTABLE_NODES_COMPLETE lets the rest run to its end."""
    paths = {name: str(tmp_path / name) for name in ("failing", "path", "path_after")}
    execution = client.run("failures", workflow, paths)
    assert phase(execution) == "FAILED"
    assert "seven is not a colour" in execution.error.message
    assert (tmp_path / "path_after").exists() is rest_runs
    nodes = client.admin.ListNodeExecutions(
        node_execution_pb2.NodeExecutionListRequest(workflow_execution_id=execution_id(execution.id.name), limit=100)
    ).node_executions
    phases = {node.id.node_id: core_execution_pb2.NodeExecution.Phase.Name(node.closure.phase) for node in nodes}
    if rest_runs:
        assert [phases[name] for name in ("n0", "n1", "n2", "n3")] == ["FAILED", "SUCCEEDED", "SUCCEEDED", "SKIPPED"]
    else:
        assert phases["n0"] == "FAILED"
        assert not {"RUNNING", "QUEUED"} & set(phases.values())


def test_terminate(client: Client, tmp_path: Path) -> None:
    """Terminating ends the task's process and what it started; cause and phase are kept; again is refused."""
    paths = {"path": str(tmp_path / "pid"), "child_path": str(tmp_path / "child")}
    execution = client.launch("failures", "hold_wf", paths)
    until((tmp_path / "pid").exists, what="the start of the task")
    pids = [int(Path(path).read_text()) for path in paths.values()]
    client.remote.terminate(execution, "enough")
    execution = client.wait(execution)
    assert phase(execution) == "ABORTED"
    assert execution.closure.abort_metadata.cause == "enough"
    until(lambda: not any(_alive(pid) for pid in pids), timeout_s=60, what="the end of the processes")
    node = client.admin.ListNodeExecutions(
        node_execution_pb2.NodeExecutionListRequest(workflow_execution_id=execution_id(execution.id.name), limit=100)
    )
    ended = {item.id.node_id: item.closure.phase for item in node.node_executions}
    assert ended["n0"] == core_execution_pb2.NodeExecution.ABORTED
    with pytest.raises(Exception, match="already terminated"):
        client.remote.terminate(execution, "again")


def test_killed_from_outside(client: Client, tmp_path: Path) -> None:
    """A task process that somebody else kills is a failure of the system: the attempt is repeated."""
    paths = {"path": str(tmp_path / "pid"), "child_path": str(tmp_path / "child")}
    execution = client.launch("failures", "hold_wf", paths)
    until((tmp_path / "pid").exists, what="the start of the task")
    first = int((tmp_path / "pid").read_text())
    (tmp_path / "pid").unlink()
    os.kill(first, signal.SIGKILL)
    until((tmp_path / "pid").exists, what="the second attempt")
    assert int((tmp_path / "pid").read_text()) != first
    client.remote.terminate(execution, "seen enough")
    assert phase(client.wait(execution)) == "ABORTED"


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
