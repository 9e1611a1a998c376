"""Large values pass whole from task to task and to the client; lists of executions stay small."""

import hashlib
import sys
import uuid
from pathlib import Path

import httpx
import pytest
from flyteidl.admin import common_pb2, execution_pb2, launch_plan_pb2, node_execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service import dataproxy_pb2
from raw_numbers import CYCLE, FIRST, MODULUS
from tests.e2e import specs
from tests.e2e.client import DOMAIN, PROJECT, Client, create_request, execution_id, phase, succeeded
from tests.e2e.installation import until

MIB = 1 << 20
TEXT_LENGTH = 3_000_000
NUMBERS = 3_300_000
"""Each takes 16 bytes of a serialized collection: 50 MiB together."""
LIST_BYTES_MAX = 64 << 10
SCRIPT = Path(__file__).parent / "programs" / "raw_numbers.py"


def list_bytes(client: Client) -> int:
    """Size of the answer that lists the newest execution."""
    page = client.admin.ListExecutions(
        common_pb2.ResourceListRequest(
            id=common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN),
            limit=1,
            sort_by=common_pb2.Sort(key="created_at", direction=common_pb2.Sort.DESCENDING),
        )
    )
    assert len(page.executions) == 1
    return page.ByteSize()


def test_three_megabytes_of_text(client: Client) -> None:
    """A string of three million characters goes through two tasks and comes back to flytekit unharmed."""
    execution = succeeded(client.run("sizes", "text_wf", {"length": TEXT_LENGTH}))
    text = "0123456789" * (TEXT_LENGTH // 10)
    assert execution.outputs["o0"] == text
    assert execution.outputs["o1"] == f"{TEXT_LENGTH} {hashlib.sha256(text.encode()).hexdigest()}"
    assert list_bytes(client) < LIST_BYTES_MAX


def test_text_larger_than_an_answer(client: Client) -> None:
    """Beyond the size of a message flytekit follows a signed link to the outputs, of the execution and of its nodes."""
    execution = succeeded(client.run("sizes", "text_wf", {"length": 21 * MIB // 10 * 10}))
    assert len(execution.outputs["o0"]) == len(execution.node_executions["n0"].outputs["o0"]) == 21 * MIB // 10 * 10
    assert list_bytes(client) < LIST_BYTES_MAX


def test_large_input_of_an_execution(client: Client) -> None:
    """The same string as an input of the execution itself; the stored inputs are what was sent."""
    text = "é" * TEXT_LENGTH
    execution = succeeded(client.run("sizes", "text_input_wf", {"text": text}))
    assert execution.outputs["o0"] == f"{TEXT_LENGTH} {hashlib.sha256(text.encode()).hexdigest()}"
    assert execution.inputs["text"] == text
    assert list_bytes(client) < LIST_BYTES_MAX


def test_long_list_by_flytekit(client: Client) -> None:
    """A list that flytekit writes and reads itself; longer ones take it minutes, not us."""
    execution = succeeded(client.run("sizes", "numbers_wf", {"count": 10_000}))
    assert execution.outputs["o1"] == sum(range(10_000)) + 10_000 * (1 << 40)
    assert execution.outputs.get("o0", list[int])[-1] == (1 << 40) + 9_999


def test_fifty_mebibytes_of_integers(client: Client) -> None:
    """Fifty MiB of literals pass from task to task; a client gets all of it, by a URL or inline, and from GetData."""
    name = _launch_raw(client)
    execution = until(lambda: _ended(client, name), timeout_s=120, what="the end of the execution")
    assert execution.closure.phase == core_execution_pb2.WorkflowExecution.SUCCEEDED, execution.closure.error.message
    answer = client.admin.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=execution_id(name)))
    outputs = answer.full_outputs
    if not outputs.literals:
        body = httpx.get(answer.outputs.url).raise_for_status().content
        assert len(body) == answer.outputs.bytes > 50 * MIB
        outputs = literals_pb2.LiteralMap.FromString(body)
    assert (
        outputs.literals["total"].scalar.primitive.integer
        == NUMBERS // CYCLE * sum(range(FIRST, FIRST + CYCLE)) % MODULUS
    )
    numbers = outputs.literals["numbers"].collection.literals
    assert len(numbers) == NUMBERS
    assert (numbers[0].scalar.primitive.integer, numbers[-1].scalar.primitive.integer) == (FIRST, FIRST + CYCLE - 1)
    url = f"flyte://v1/{PROJECT}/{DOMAIN}/{name}/n0/o"
    whole = client.data.GetData(dataproxy_pb2.GetDataRequest(flyte_url=url)).literal_map
    assert len(whole.literals["numbers"].collection.literals) == NUMBERS
    assert list_bytes(client) < LIST_BYTES_MAX


def test_ten_mebibytes_of_error(client: Client) -> None:
    """Ten MiB of error, five of which flytekit repeats, come back whole to flytekit, and not at all to lists."""
    execution = client.run("sizes", "complain_wf", {"size": 5 * MIB})
    assert phase(execution) == "FAILED"
    assert len(execution.error.message) > 10 * MIB
    assert execution.error.message.count("begin " + "x" * 5 * MIB + " end") == 2
    assert list_bytes(client) < LIST_BYTES_MAX
    name = execution.id.name
    nodes = client.admin.ListNodeExecutions(
        node_execution_pb2.NodeExecutionListRequest(workflow_execution_id=execution_id(name), limit=100)
    )
    assert nodes.ByteSize() < LIST_BYTES_MAX
    node = client.admin.GetNodeExecution(
        node_execution_pb2.NodeExecutionGetRequest(
            id=identifier_pb2.NodeExecutionIdentifier(execution_id=execution_id(name), node_id="n0")
        )
    )
    assert node.closure.error.message == execution.error.message


def test_error_larger_than_a_message(client: Client) -> None:
    """An error that no client could receive says that it is cut, how long it is, and where the whole of it lies."""
    execution = client.run("sizes", "complain_wf", {"size": 10 * MIB})
    assert phase(execution) == "FAILED"
    error = client.admin.GetExecution(
        execution_pb2.WorkflowExecutionGetRequest(id=execution_id(execution.id.name))
    ).closure.error
    assert "cut here: the whole message has" in error.message
    request = dataproxy_pb2.CreateDownloadLocationRequest(native_url=error.error_uri)
    url = client.data.CreateDownloadLocation(request).signed_url
    whole = core_execution_pb2.ExecutionError.FromString(httpx.get(url).raise_for_status().content)
    assert whole.message.count("begin " + "x" * 10 * MIB + " end") == 2


@pytest.mark.parametrize("count", [0, 1])
def test_empty_and_single_lists(client: Client, count: int) -> None:
    """The other end of the scale: an empty list is a list."""
    execution = succeeded(client.run("sizes", "numbers_wf", {"count": count}))
    assert phase(execution) == "SUCCEEDED"
    assert execution.outputs.get("o0", list[int]) == [1 << 40][:count]


def _launch_raw(client: Client) -> str:
    version = uuid.uuid4().hex
    make = specs.task_request(
        "raw.make",
        version,
        inputs={},
        outputs={"numbers": specs.NUMBERS},
        args=[sys.executable, str(SCRIPT), "make", "{{.outputPrefix}}", str(NUMBERS)],
    )
    add = specs.task_request(
        "raw.add",
        version,
        inputs={"numbers": specs.NUMBERS},
        outputs={"total": specs.INTEGER},
        args=[sys.executable, str(SCRIPT), "sum", "{{.input}}", "{{.outputPrefix}}"],
    )
    for request in (make, add):
        client.admin.CreateTask(request)
    outputs = {"numbers": specs.promise("n0", "numbers"), "total": specs.promise("n1", "total")}
    workflow = specs.workflow_request(
        "raw.numbers_wf",
        version,
        [specs.node("n0", make.id), specs.node("n1", add.id, numbers=specs.promise("n0", "numbers"))],
        outputs={"numbers": specs.NUMBERS, "total": specs.INTEGER},
        results=outputs,
    )
    client.admin.CreateWorkflow(workflow)
    plan = launch_plan_pb2.LaunchPlanCreateRequest(
        id=specs.identifier(identifier_pb2.LAUNCH_PLAN, "raw.numbers_wf", version),
        spec=launch_plan_pb2.LaunchPlanSpec(workflow_id=workflow.id),
    )
    client.admin.CreateLaunchPlan(plan)
    return client.admin.CreateExecution(create_request(plan)).id.name


def _ended(client: Client, name: str) -> execution_pb2.Execution | None:
    execution = client.admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id(name)))
    ended = execution.closure.phase in (
        core_execution_pb2.WorkflowExecution.SUCCEEDED,
        core_execution_pb2.WorkflowExecution.FAILED,
    )
    return execution if ended else None
