"""Whatever a client sends, it gets a clear status and sentence, and nothing is left half written."""

import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from flyteidl.admin import common_pb2, execution_pb2, node_execution_pb2, project_pb2, version_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service import admin_pb2, dataproxy_pb2, signal_pb2
from tests.e2e import specs
from tests.e2e.client import DOMAIN, PROJECT, Client, create_request, execution_id

SERVICES = [
    admin_pb2.DESCRIPTOR.services_by_name["AdminService"],
    dataproxy_pb2.DESCRIPTOR.services_by_name["DataProxyService"],
    signal_pb2.DESCRIPTOR.services_by_name["SignalService"],
]
METHODS = [f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]
CLEAR = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
}


def raw(client: Client, method: str, body: bytes) -> tuple[grpc.StatusCode, str]:
    """Send bytes; the status that came back."""
    call = client.channel.unary_unary(method, request_serializer=None, response_deserializer=None)
    try:
        call(body, timeout=30)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def refused(call: Callable[[Any], Any], request: Any) -> tuple[grpc.StatusCode, str]:
    """Status and sentence of a call that must fail."""
    with pytest.raises(grpc.RpcError) as error:
        call(request)
    return error.value.code(), error.value.details()


@pytest.mark.parametrize("method", METHODS)
def test_malformed_bytes(client: Client, method: str) -> None:
    """Bytes that are no message are the caller's fault on every rpc, never UNKNOWN, which would start a login."""
    for body in (b"\xff\xff\xff\xff", b"\x0a\xff", b"\x0a\x05ab"):
        code, details = raw(client, method, body)
        assert code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}, (code, details)
        assert details


@pytest.mark.parametrize("method", METHODS)
def test_empty_request(client: Client, method: str) -> None:
    """A request without any field is answered or refused with a sentence."""
    code, details = raw(client, method, b"")
    assert code is grpc.StatusCode.OK or (code in CLEAR and details), (code, details)


def test_unknown_ids(client: Client) -> None:
    """What does not exist is NOT_FOUND with its identifier in the sentence."""
    nowhere = execution_id("no-such-execution")
    calls: list[tuple[Callable[[Any], Any], Any, str]] = [
        (client.admin.GetExecution, execution_pb2.WorkflowExecutionGetRequest(id=nowhere), "no-such-execution"),
        (client.admin.GetExecutionData, execution_pb2.WorkflowExecutionGetDataRequest(id=nowhere), "no-such-execution"),
        (client.admin.TerminateExecution, execution_pb2.ExecutionTerminateRequest(id=nowhere), "no-such-execution"),
        (client.admin.RelaunchExecution, execution_pb2.ExecutionRelaunchRequest(id=nowhere), "no-such-execution"),
        (
            client.admin.GetNodeExecution,
            node_execution_pb2.NodeExecutionGetRequest(
                id=identifier_pb2.NodeExecutionIdentifier(execution_id=nowhere, node_id="n0")
            ),
            "n0",
        ),
        (client.admin.GetTask, _get(identifier_pb2.TASK), "no.such.thing"),
        (client.admin.GetWorkflow, _get(identifier_pb2.WORKFLOW), "no.such.thing"),
        (client.admin.GetLaunchPlan, _get(identifier_pb2.LAUNCH_PLAN), "no.such.thing"),
        (client.admin.GetProject, project_pb2.ProjectGetRequest(id="no-such-project"), "no-such-project"),
    ]
    for call, request, word in calls:
        code, details = refused(call, request)
        assert code is grpc.StatusCode.NOT_FOUND, (request, details)
        assert word in details


def test_missing_fields(client: Client) -> None:
    """The sentence names the field that is missing."""
    task = specs.task_request("bad.task", "v", inputs={}, outputs={}, args=["true"])
    cases: list[tuple[Callable[[Any], Any], Any, Callable[[Any], None], str]] = [
        (client.admin.CreateTask, task, lambda request: request.id.ClearField("name"), "name"),
        (client.admin.CreateTask, task, lambda request: request.id.ClearField("version"), "version"),
        (client.admin.CreateTask, task, lambda request: request.spec.template.ClearField("interface"), "interface"),
        (client.admin.CreateTask, task, lambda request: request.spec.template.container.ClearField("image"), "image"),
        (client.admin.CreateTask, task, lambda request: request.spec.template.ClearField("type"), "type"),
        (client.admin.CreateWorkflow, workflow_pb2.WorkflowCreateRequest(), lambda _: None, "missing"),
    ]
    for call, original, spoil, word in cases:
        request = type(original)()
        request.CopyFrom(original)
        spoil(request)
        code, details = refused(call, request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT, details
        assert word in details
    page = client.admin.ListTasks(_list("bad.task"))
    assert not page.tasks, "nothing may be left of a refused registration"


def test_unknown_project_and_domain(client: Client) -> None:
    """Projects and domains are not made by using them."""
    for project, domain, word in (("nowhere", DOMAIN, "nowhere"), (PROJECT, "moon", "moon")):
        request = specs.task_request("bad.task", "v", inputs={}, outputs={}, args=["true"])
        for identifier in (request.id, request.spec.template.id):
            identifier.project, identifier.domain = project, domain
        code, details = refused(client.admin.CreateTask, request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert word in details


@pytest.mark.parametrize("name", ["9starts-with-a-digit", "under_score", "dot.ted", "-dash", "a" * 64, "spa ce", "é"])
def test_execution_names(client: Client, name: str) -> None:
    """Names of executions become names of processes and pods, so their form is checked."""
    code, details = refused(client.admin.CreateExecution, create_request(client.register("shapes", "double_wf"), name))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "name" in details


def test_wrong_inputs(client: Client) -> None:
    """Inputs that are unknown or of another type are refused, with their name and both types."""
    workflow = client.register("fanout", "fanout_wf")
    text = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value="x")))
    number = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=1)))
    for inputs, words in (
        ({"folder": number}, ("folder", "wrong type", "String", "Integer")),
        ({"folder": text, "other": text}, ("invalid input other",)),
        ({}, ("folder", "missing")),
        ({"folder": literals_pb2.Literal()}, ("folder",)),
    ):
        request = create_request(workflow)
        request.inputs.CopyFrom(literals_pb2.LiteralMap(literals=inputs))
        code, details = refused(client.admin.CreateExecution, request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT, details
        assert all(word in details for word in words), details


def test_graphs_that_cannot_run(client: Client) -> None:
    """A cycle, an unreachable node, an unknown node, a type that does not fit: each error names its node."""
    version = uuid.uuid4().hex
    task = specs.task_request(
        "bad.step", version, inputs={"a": specs.INTEGER}, outputs={"o": specs.INTEGER}, args=["true"]
    )
    client.admin.CreateTask(task)
    one, entry = specs.promise("n1", "o"), specs.promise("", "a")
    text = specs.promise("", "text")
    inputs = {"a": specs.INTEGER, "text": specs.STRING}
    good = specs.node("n0", task.id, a=entry)
    cases = {
        "cycle": ([specs.node("n0", task.id, a=one), specs.node("n1", task.id, a=specs.promise("n0", "o"))], "n0"),
        "self": ([specs.node("n0", task.id, a=specs.promise("n0", "o"))], "n0"),
        "unknown-node": ([specs.node("n0", task.id, a=specs.promise("n7", "o"))], "n7"),
        "unknown-output": ([good, specs.node("n1", task.id, a=specs.promise("n0", "z"))], "z"),
        "wrong-type": ([specs.node("n0", task.id, a=text)], "n0"),
        "unbound": ([specs.node("n0", task.id)], "n0"),
        "double-id": ([good, good], "n0"),
        "no-nodes": ([], "NoNodesFound"),
    }
    for name, (nodes, word) in cases.items():
        request = specs.workflow_request(f"bad.{name}", version, nodes, inputs=inputs)
        code, details = refused(client.admin.CreateWorkflow, request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT, (name, details)
        assert "failed to compile workflow" in details, (name, details)
        assert word in details, (name, details)
        code, _ = refused(client.admin.GetWorkflow, common_pb2.ObjectGetRequest(id=request.id))
        assert code is grpc.StatusCode.NOT_FOUND


def test_unregistered_task(client: Client) -> None:
    """A workflow over a task that nobody registered is refused with the task's name."""
    ghost = specs.identifier(identifier_pb2.TASK, "no.such.task", "v")
    request = specs.workflow_request("bad.ghost", uuid.uuid4().hex, [specs.node("n0", ghost)])
    code, details = refused(client.admin.CreateWorkflow, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "no.such.task" in details


def test_other_structure_under_the_same_version(client: Client) -> None:
    """A version means one structure: the same again is ALREADY_EXISTS, another is refused with the difference."""
    version = uuid.uuid4().hex
    request = specs.task_request("bad.changing", version, inputs={}, outputs={}, args=["true"])
    client.admin.CreateTask(request)
    code, _ = refused(client.admin.CreateTask, request)
    assert code is grpc.StatusCode.ALREADY_EXISTS
    request.spec.template.container.args[:] = ["false"]
    code, details = refused(client.admin.CreateTask, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "different structure" in details
    assert "true" in details
    assert "false" in details


@pytest.mark.parametrize(
    ("request_fields", "word"),
    [
        ({"filters": "nonsense"}, "filters"),
        ({"filters": "eq(no_such_column,1)"}, "no_such_column"),
        ({"filters": "likes(name,x)"}, "likes"),
        ({"filters": "eq(name,x'); DROP TABLE tasks; --)"}, ""),
        ({"limit": 0}, "limit"),
        ({"token": "minus one"}, "token"),
        ({"sort_by": common_pb2.Sort(key="secret")}, "secret"),
    ],
)
def test_bad_lists(client: Client, request_fields: dict[str, Any], word: str) -> None:
    """Filters, tokens, limits and sort keys outside of their language are refused; none reaches the database."""
    fields = {"id": common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN), "limit": 10} | request_fields
    request = common_pb2.ResourceListRequest(**fields)
    if word:
        code, details = refused(client.admin.ListTasks, request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert word in details
    else:
        assert not client.admin.ListTasks(request).tasks
    assert client.admin.ListTasks(_list("")).ByteSize() >= 0


def test_characters_that_postgres_refuses(client: Client) -> None:
    """A NUL character cannot be stored as text; that is the caller's fault, not an internal error."""
    request = specs.task_request("bad.nul\x00", "v", inputs={}, outputs={}, args=["true"])
    code, _ = refused(client.admin.CreateTask, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    code, _ = refused(client.admin.GetTask, _get(identifier_pb2.TASK, "x\x00y"))
    assert code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}


def test_oversized_field(client: Client) -> None:
    """A name of a megabyte is refused or stored whole, and reads back as what it was."""
    request = specs.task_request("bad." + "n" * (1 << 20), "v", inputs={}, outputs={}, args=["true"])
    code, details = refused(client.admin.CreateTask, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert len(details) < 10_000


def test_too_large_message(client: Client) -> None:
    """A message above the limit is refused by the transport with RESOURCE_EXHAUSTED, and the server lives on."""
    code, details = raw(client, METHODS[0], b"\x12" + b"\x00" * (80 << 20))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED, details
    assert client.admin.GetVersion(version_pb2.GetVersionRequest()).control_plane_version.Version


def _get(kind: int, name: str = "no.such.thing") -> common_pb2.ObjectGetRequest:
    return common_pb2.ObjectGetRequest(id=specs.identifier(kind, name, "v"))


def _list(name: str) -> common_pb2.ResourceListRequest:
    identifier = common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN, name=name)
    return common_pb2.ResourceListRequest(id=identifier, limit=10)
