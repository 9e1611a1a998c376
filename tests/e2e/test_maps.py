"""Map tasks with the real flytekit."""

import subprocess
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from flyteidl.admin import common_pb2, launch_plan_pb2, node_execution_pb2, task_execution_pb2
from flyteidl.core import execution_pb2, identifier_pb2, types_pb2
from flyteidl.core.workflow_pb2 import ArrayNode, Node
from flytekit.exceptions.user import FlyteEntityNotExistException
from flytekit.models.core.identifier import NodeExecutionIdentifier, WorkflowExecutionIdentifier
from maps import Point
from tests.e2e.client import FOLDERS, Client, entity, execution_id, phase, succeeded
from tests.e2e.installation import BIN, Installation, until
from tests.e2e.specs import INTEGER, NUMBERS, node, promise, workflow_request
from tests.e2e.test_launch_plans import children

SIZE = 50
TaskExecution = execution_pb2.TaskExecution


def array_entries(client: Client, name: str, node_id: str = "n0") -> list[Any]:
    """What clients see of the elements of an array: the entries of its one task execution."""
    request = task_execution_pb2.TaskExecutionListRequest(
        node_execution_id=identifier_pb2.NodeExecutionIdentifier(node_id=node_id, execution_id=execution_id(name)),
        limit=10,
    )
    (found,) = client.admin.ListTaskExecutions(request).task_executions
    return list(found.closure.metadata.external_resources)


@pytest.mark.parametrize(
    ("workflow", "inputs", "expected"),
    [
        ("map_wf", {"numbers": [3, 1, 2]}, [6, 2, 4]),
        ("map_wf", {"numbers": [7]}, [14]),
        ("map_wf", {"numbers": []}, []),
        ("partial_wf", {"numbers": [1, 2], "factor": 3}, ["product: 3", "product: 6"]),
        ("some_wf", {"numbers": [1, -2, 3, -4]}, [2, None, 6, None]),
        ("sum_wf", {"numbers": [1, -2, 3, -4]}, 8),
        ("doze_wf", {"seconds": [0, 600]}, [0, None]),
        ("large_wf", {"words": ["ab", "c"]}, ["ab" * 1000, "c" * 1000]),
        ("values_wf", {"points": [Point(1, 2), Point(3, 4)], "texts": ["a", "bcd"]}, [198, 596, 1, 3]),
        ("plans_wf", {"numbers": [1, 2]}, [4, 8]),
        ("plans_wf", {"numbers": []}, []),
        ("some_plans_wf", {"numbers": [1, -1, 2]}, [4, None, 8]),
        ("legacy_wf", {"numbers": [1, 2, 5], "factor": 2}, ["older: 2", "older: 4", "older: 10"]),
    ],
)
def test_results(client: Client, workflow: str, inputs: dict[str, Any], expected: object) -> None:
    """Results stand in the order of the items, with None for elements that failed where that is allowed."""
    execution = succeeded(client.run("maps", workflow, inputs))
    assert execution.outputs["o0"] == expected


def test_what_clients_see(client: Client) -> None:
    """One array node with one task execution, in which each element has its logs; flytekit reads inputs and outputs."""
    execution = succeeded(client.run("maps", "map_wf", {"numbers": [5, 6]}))
    array = execution.node_executions["n0"]
    assert array.metadata.is_array
    assert array.inputs["number"] == [5, 6]
    assert array.outputs["o0"] == [10, 12]
    (task,) = array.task_executions
    assert task.id.task_id.name.startswith("maps.map_double_")
    entries = array_entries(client, execution.id.name)
    assert [(entry.index, entry.phase) for entry in entries] == [
        (0, TaskExecution.SUCCEEDED),
        (1, TaskExecution.SUCCEEDED),
    ]
    assert entries[1].external_id == f"{execution.id.name}-n0-0-n1-0"
    assert [log.name for log in entries[1].logs] == ["stdout-1", "stderr-1"]


def element_id(execution: str, element: int, array: str = "n0") -> NodeExecutionIdentifier:
    """What a client of flytekit asks for an element by."""
    return NodeExecutionIdentifier(
        node_id=f"{array}-0-n{element}",
        execution_id=WorkflowExecutionIdentifier(project="flytesnacks", domain="development", name=execution),
    )


def test_an_element_is_read_like_a_node(client: Client) -> None:
    """By its id: how it stands, with what is its own of the inputs and outputs; unknown ones are unknown."""
    name = succeeded(client.run("maps", "partial_wf", {"numbers": [5, 6], "factor": 3})).id.name
    node = client.remote.client.get_node_execution(element_id(name, 1))
    assert node.closure.phase == execution_pb2.NodeExecution.SUCCEEDED
    assert node.closure.duration.total_seconds() > 0
    data = client.remote.client.get_node_execution_data(element_id(name, 1))
    given = {var: literal.scalar.primitive.value for var, literal in data.full_inputs.literals.items()}
    assert given == {"number": 6, "factor": 3, "name": "product"}
    assert data.full_outputs.literals["o0"].scalar.primitive.string_value == "product: 18"
    url = f"flyte://v1/flytesnacks/development/{name}/n0-0-n1/o/o0"
    assert client.remote.get(url).scalar.primitive.string_value == "product: 18"
    with pytest.raises(FlyteEntityNotExistException):
        client.remote.client.get_node_execution(element_id(name, 2))


def test_attempts_of_an_element(client: Client, tmp_path: Path) -> None:
    """Each is a task execution of the element's id, with its own logs, error, inputs and outputs."""
    inputs = {"numbers": [1, 2, 3], "folder": str(tmp_path)}
    name = succeeded(client.run("maps", "hesitate_wf", inputs)).id.name
    (array,) = _attempts(client, name, "n0")
    first, second = _attempts(client, name, "n0-0-n1")
    assert {first.id.task_id.name, second.id.task_id.name} == {array.id.task_id.name}
    assert [one.id.retry_attempt for one in (first, second)] == [0, 1]
    assert [one.closure.phase for one in (first, second)] == [TaskExecution.RETRYABLE_FAILED, TaskExecution.SUCCEEDED]
    assert "not yet" in first.closure.error.message
    assert second.closure.task_type == "python-task"
    assert second.closure.metadata.generated_name == f"{name}-n0-0-n1-1"
    assert [log.name for log in second.closure.logs] == ["stdout", "stderr"]
    got = client.admin.GetTaskExecution(task_execution_pb2.TaskExecutionGetRequest(id=second.id))
    assert got.closure == second.closure
    data = client.admin.GetTaskExecutionData(task_execution_pb2.TaskExecutionGetDataRequest(id=second.id))
    assert data.full_inputs.literals["number"].scalar.primitive.integer == 2
    assert data.full_outputs.literals["o0"].scalar.primitive.integer == 2
    filters = f"eq(phase,{TaskExecution.SUCCEEDED})"
    assert [one.id.retry_attempt for one in _attempts(client, name, "n0-0-n1", filters)] == [1]
    assert len(_attempts(client, name, "n0-0-n2")) == 4
    assert _attempts(client, name, "n0-0-n3") == []
    other = task_execution_pb2.TaskExecutionGetRequest(id=second.id)
    other.id.task_id.version = "another"
    with pytest.raises(grpc.RpcError) as refused:
        client.admin.GetTaskExecution(other)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND  # pyright: ignore[reportAttributeAccessIssue]


def _attempts(client: Client, name: str, node_id: str, filters: str = "") -> list[Any]:
    request = task_execution_pb2.TaskExecutionListRequest(
        node_execution_id=identifier_pb2.NodeExecutionIdentifier(node_id=node_id, execution_id=execution_id(name)),
        limit=10,
        filters=filters,
        sort_by=common_pb2.Sort(key="retry_attempt", direction=common_pb2.Sort.ASCENDING),
    )
    return list(client.admin.ListTaskExecutions(request).task_executions)


def test_why_of_an_element_after_its_end(client: Client, installation: Installation) -> None:
    """An element that has ended says how, by its id."""
    name = succeeded(client.run("maps", "some_wf", {"numbers": [1, -2]})).id.name
    for element, word in ((0, "succeeded"), (1, "is negative")):
        said = subprocess.run(
            [BIN / "wingbeat", "why", name, f"n0-0-n{element}", "--endpoint", installation.endpoint],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"n0-0-n{element}" in said
        assert word in said


def test_an_element_that_failed(client: Client) -> None:
    """It tells its own error, as the node of a task does."""
    name = succeeded(client.run("maps", "some_wf", {"numbers": [1, -2]})).id.name
    node = client.remote.client.get_node_execution(element_id(name, 1))
    assert node.closure.phase == execution_pb2.NodeExecution.FAILED
    assert "-2 is negative" in node.closure.error.message


def test_too_many_failures(client: Client) -> None:
    """The array fails with what its elements said, and nothing behind it runs."""
    execution = client.run("maps", "map_wf", {"numbers": [1, -2, 3]})
    assert phase(execution) == "FAILED"
    assert execution.error.code == "USER:RuntimeError"
    assert execution.error.message.startswith("[1]: ")
    assert "-2 is negative" in execution.error.message


def test_elements_are_tried_again_one_by_one(client: Client, tmp_path: Path) -> None:
    """Each has the retries of the task for itself."""
    inputs = {"numbers": [1, 2, 3, 4], "folder": str(tmp_path)}
    execution = succeeded(client.run("maps", "hesitate_wf", inputs))
    assert execution.outputs["o0"] == [1, 2, None, 4]
    runs = {mark.name: len(mark.read_text().splitlines()) for mark in tmp_path.iterdir()}
    assert runs == {"01": 1, "02": 2, "03": 4, "04": 2}
    entries = array_entries(client, execution.id.name)
    assert [(entry.index, entry.retry_attempt) for entry in entries] == [
        (0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3), (3, 0), (3, 1)
    ]  # fmt: skip
    assert "three does not want to" in entries[3].custom_info["error"]


def test_no_more_at_once_than_asked_for(client: Client, tmp_path: Path) -> None:
    """Concurrency bounds what runs at the same time."""
    inputs = {"numbers": list(range(6)), "folder": str(tmp_path), "seconds": 0.2}
    succeeded(client.run("maps", "two_at_once_wf", inputs))
    lines = [line.split() for mark in tmp_path.iterdir() for line in mark.read_text().splitlines()]
    running = most = 0
    for _, what in sorted((float(at), what) for what, at in lines):
        running += 1 if what == "start" else -1
        most = max(most, running)
    assert most <= 2
    assert len(lines) == 12


def test_children_of_a_mapped_launch_plan(client: Client) -> None:
    """Each element is an execution with this one as its parent, and is named where clients look for it."""
    execution = succeeded(client.run("maps", "plans_wf", {"numbers": [1, 2, 3]}))
    names = {child.id.name for child in children(client, execution.id.name)}
    entries = array_entries(client, execution.id.name)
    assert {entry.workflow_node_metadata.execution_id.name for entry in entries} == names
    assert len(names) == 3


def test_reference_tasks(client: Client) -> None:
    """A plain task that was registered before is mapped over; each element has inputs of its own."""
    client.remote.register_script(
        entity("maps", "double"), source_path=str(FOLDERS[0]), module_name="maps", version="referenced"
    )
    execution = succeeded(client.run("maps", "reference_wf", {"numbers": [4, 5]}))
    assert execution.outputs["o0"] == [8, 10]


def test_abort_in_the_middle(client: Client, installation: Installation, tmp_path: Path) -> None:
    """What runs is stopped, what waits never begins."""
    inputs = {"numbers": list(range(SIZE)), "folder": str(tmp_path), "seconds": 30.0}
    execution = client.launch("maps", "linger_wf", inputs)
    until(lambda: any(tmp_path.iterdir()), what="an element")
    said = installation.wingbeat("why", execution.id.name, "n0", "--data-dir", str(installation.data_dir)).stdout
    assert f"0 of {SIZE} elements have ended" in said
    client.remote.terminate(execution, "enough")
    execution = client.wait(execution)
    assert phase(execution) == "ABORTED"
    begun = {int(mark.name) for mark in tmp_path.iterdir()}
    assert len(begun) < SIZE
    entries = array_entries(client, execution.id.name)
    assert {entry.phase for entry in entries} <= {TaskExecution.ABORTED, TaskExecution.UNDEFINED}
    until(lambda: not _tasks(installation, execution.id.name), what="an end of the elements")


@pytest.mark.timeout(300)
def test_killed_in_the_middle(client: Client, installation: Installation, tmp_path: Path) -> None:
    """A propeller that is killed twice while fifty elements run goes on with them: none runs twice."""
    inputs = {"numbers": list(range(SIZE)), "folder": str(tmp_path), "seconds": 0.2}
    execution = client.launch("maps", "linger_wf", inputs)
    for least in (5, 25):
        until(lambda least=least: len(list(tmp_path.iterdir())) >= least, what=f"{least} elements")
        former = installation.pid("propeller-0")
        installation.kill(["propeller-0"])
        until(lambda former=former: installation.pid("propeller-0") not in (0, former), what="another propeller")
    execution = succeeded(client.wait(execution))
    assert execution.outputs["o0"] == [number * number for number in range(SIZE)]
    lines = [[line.split()[0] for line in mark.read_text().splitlines()] for mark in tmp_path.iterdir()]
    assert lines == [["start", "end"]] * SIZE


def _tasks(installation: Installation, name: str) -> list[str]:
    return [process for process in installation.leftovers() if name in process]


# ---- what flytekit cannot write ----


def _mapped(
    client: Client, name: str, inner: Node, item: types_pb2.LiteralType, *others: Any, array_id: str = "n0"
) -> Any:
    """Register a workflow that maps over its input `numbers`; returns its launch plan."""
    lists = types_pb2.LiteralType(collection_type=item)
    array = Node(
        id=array_id,
        inputs=node(array_id, identifier_pb2.Identifier(), number=promise("", "numbers")).inputs,
        array_node=ArrayNode(node=inner, is_original_sub_node_interface={"value": True}),
    )
    version = uuid.uuid4().hex
    request = workflow_request(
        name,
        version,
        [array],
        inputs={"numbers": lists},
        outputs={"o0": lists},
        results={"o0": promise(array_id, "o0")},
    )
    request.spec.sub_workflows.extend(others)
    client.admin.CreateWorkflow(request)
    plan = launch_plan_pb2.LaunchPlanCreateRequest(id=request.id)
    plan.id.resource_type = identifier_pb2.LAUNCH_PLAN
    plan.spec.workflow_id.CopyFrom(request.id)
    plan.spec.default_inputs.SetInParent()
    plan.spec.fixed_inputs.SetInParent()
    client.admin.CreateLaunchPlan(plan)
    return client.remote.fetch_launch_plan(name=name, version=version)


def _double(client: Client) -> Any:
    return client.register("maps", "double").id.to_flyte_idl()


def test_over_a_sub_workflow(client: Client) -> None:
    """Elements run the sub-workflow in this execution."""
    double = _double(client)
    inner = workflow_request(
        "maps.inner",
        "1",
        [node("n0", double, number=promise("", "number")), node("n1", double, number=promise("n0", "o0"))],
        inputs={"number": INTEGER},
        outputs={"o0": INTEGER},
        results={"o0": promise("n1", "o0")},
    ).spec.template
    called = Node(id="i", workflow_node={"sub_workflow_ref": inner.id})
    plan = _mapped(client, "maps.over_sub_workflow", called, INTEGER, inner)
    execution = client.wait(client.remote.execute(plan, inputs={"numbers": [1, 2, 3]}), sync_nodes=False)
    assert succeeded(execution).outputs["o0"] == [4, 8, 12]


def test_over_a_map(client: Client) -> None:
    """Lists of lists."""
    inner = Node(
        id="i", array_node=ArrayNode(node=node("j", _double(client)), is_original_sub_node_interface={"value": True})
    )
    plan = _mapped(client, "maps.over_map", inner, NUMBERS)
    execution = client.wait(client.remote.execute(plan, inputs={"numbers": [[1, 2], [], [3]]}), sync_nodes=False)
    assert succeeded(execution).outputs["o0"] == [[2, 4], [], [6]]


def test_over_a_dynamic_task(client: Client) -> None:
    """Each element makes a workflow of its own."""
    dynamic = client.register("maps", "count_down").id.to_flyte_idl()
    plan = _mapped(client, "maps.over_dynamic", node("i", dynamic), INTEGER)
    execution = client.wait(client.remote.execute(plan, inputs={"numbers": [0, 1, 2]}), sync_nodes=False)
    assert succeeded(execution).outputs["o0"] == [0, 4, 16]
    name = execution.id.name
    for element in range(3):
        asked = element_id(name, element).to_flyte_idl()
        shown = client.admin.GetNodeExecution(node_execution_pb2.NodeExecutionGetRequest(id=asked))
        assert shown.metadata.is_dynamic
        assert shown.metadata.is_parent_node
        assert shown.closure.dynamic_job_spec_uri.endswith(f"/n0/data/0/{element}/0/futures.pb")
        request = node_execution_pb2.GetDynamicNodeWorkflowRequest(id=asked)
        compiled = client.admin.GetDynamicNodeWorkflow(request).compiled_workflow
        made = {each.id for each in compiled.primary.template.nodes}
        assert len(made - {"start-node", "end-node"}) == element + 1
        children = client.admin.ListNodeExecutions(
            node_execution_pb2.NodeExecutionListRequest(
                workflow_execution_id=execution_id(name), unique_parent_id=asked.node_id, limit=100
            )
        ).node_executions
        assert {child.metadata.spec_node_id for child in children} == made
        data = client.remote.client.get_node_execution_data(element_id(name, element))
        assert data.dynamic_workflow.compiled_workflow.primary.template.id.name == f"dynamic_n0-0-n{element}"


def test_a_dynamic_element_of_an_array_with_a_long_id(client: Client) -> None:
    """Ids of what is inside are shortened; the element is known by its id in full."""
    dynamic = client.register("maps", "count_down").id.to_flyte_idl()
    plan = _mapped(client, "maps.long_id", node("i", dynamic), INTEGER, array_id="an-array-with-a-name")
    execution = client.wait(client.remote.execute(plan, inputs={"numbers": [1]}), sync_nodes=False)
    asked = element_id(succeeded(execution).id.name, 0, "an-array-with-a-name").to_flyte_idl()
    request = node_execution_pb2.GetDynamicNodeWorkflowRequest(id=asked)
    assert client.admin.GetDynamicNodeWorkflow(request).compiled_workflow.primary.template.nodes
    listing = node_execution_pb2.NodeExecutionListRequest(
        workflow_execution_id=asked.execution_id, unique_parent_id=asked.node_id, limit=100
    )
    assert len(client.admin.ListNodeExecutions(listing).node_executions) == 4
