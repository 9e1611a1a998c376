"""The same answers over HTTP as over gRPC."""

import httpx
from flyteidl.admin import execution_pb2, node_execution_pb2, project_pb2
from flyteidl.core import literals_pb2
from google.protobuf import json_format
from tests.e2e.client import DOMAIN, PROJECT, Client, execution_id, succeeded
from tests.e2e.installation import Installation

PROTOBUF = {"Accept": "application/octet-stream"}


def test_execution_in_three_forms(client: Client, installation: Installation) -> None:
    """JSON in both casings and protobuf carry what gRPC says of one execution."""
    name = succeeded(client.run("hello_world", "hello_world_wf")).id.name
    expected = client.admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id(name)))
    url = f"{installation.http_url}/api/v1/executions/{PROJECT}/{DOMAIN}/{name}"
    binary = httpx.get(url, headers=PROTOBUF)
    assert binary.headers["content-type"] == "application/octet-stream"
    assert execution_pb2.Execution.FromString(binary.content) == expected
    snake = httpx.get(url, headers={"Accept": "application/json"}).json()
    camel = httpx.get(url).json()
    assert snake["closure"]["workflow_id"]["name"] == expected.closure.workflow_id.name
    assert camel["closure"]["workflowId"]["name"] == expected.closure.workflow_id.name
    assert camel["closure"]["phase"] == "SUCCEEDED"
    assert json_format.ParseDict(_without_nulls(camel), execution_pb2.Execution()) == expected


def test_data_and_nodes(client: Client, installation: Installation) -> None:
    """Outputs and nodes, as the console reads them."""
    name = succeeded(client.run("hello_world", "hello_world_wf", {"name": "REST"})).id.name
    base = f"{installation.http_url}/api/v1"
    data = httpx.get(f"{base}/data/executions/{PROJECT}/{DOMAIN}/{name}", headers=PROTOBUF)
    outputs = execution_pb2.WorkflowExecutionGetDataResponse.FromString(data.content).full_outputs
    assert outputs.literals["o0"].scalar.primitive.string_value == "Hello, REST!"
    nodes = httpx.get(
        f"{base}/node_executions/{PROJECT}/{DOMAIN}/{name}",
        params={"limit": 10, "sort_by.key": "created_at", "sort_by.direction": "ASCENDING"},
        headers=PROTOBUF,
    )
    listed = node_execution_pb2.NodeExecutionList.FromString(nodes.content).node_executions
    assert {"n0", "start-node", "end-node"} == {node.id.node_id for node in listed}


def test_log_of_a_task(client: Client) -> None:
    """The log link of a task execution answers with what the task printed."""
    execution = client.run("retries", "share_wf", {"people": 0})
    logs = execution.node_executions["n0"].task_executions[0].closure.logs
    texts = [httpx.get(log.uri).raise_for_status().text for log in logs]
    assert any("cannot share 3 cakes among 0 people" in text for text in texts), texts


def test_launch_by_post(client: Client, installation: Installation) -> None:
    """An execution is created by JSON and by protobuf; the answer is its identifier."""
    plan = client.register("shapes", "double_wf").id
    body = {
        "project": PROJECT,
        "domain": DOMAIN,
        "spec": {
            "launchPlan": {
                "resourceType": "LAUNCH_PLAN",
                "project": PROJECT,
                "domain": DOMAIN,
                "name": plan.name,
                "version": plan.version,
            }
        },
        "inputs": {"literals": {"number": {"scalar": {"primitive": {"integer": "30"}}}}},
    }
    answer = httpx.post(f"{installation.http_url}/api/v1/executions", json=body)
    assert answer.status_code == 200, answer.text
    execution = client.wait(client.remote.fetch_execution(name=answer.json()["id"]["name"]))
    assert succeeded(execution).outputs["o0"] == 60
    request = json_format.ParseDict(body, execution_pb2.ExecutionCreateRequest())
    request.inputs.CopyFrom(literals_pb2.LiteralMap())
    answer = httpx.post(
        f"{installation.http_url}/api/v1/executions",
        content=request.SerializeToString(),
        headers={"Content-Type": "application/octet-stream", **PROTOBUF},
    )
    created = execution_pb2.ExecutionCreateResponse.FromString(answer.content)
    assert succeeded(client.wait(client.remote.fetch_execution(name=created.id.name))).outputs["o0"] == 42


def test_errors(installation: Installation) -> None:
    """Errors are HTTP statuses with the gRPC code and sentence in the body; no path leads to a stack trace."""
    base = installation.http_url
    for method, path, status, code in (
        ("GET", f"/api/v1/executions/{PROJECT}/{DOMAIN}/nope", 404, 5),
        ("GET", "/api/v1/no/such/path", 404, 5),
        ("PATCH", "/api/v1/projects", 501, 12),
        ("GET", f"/api/v1/executions/{PROJECT}/{DOMAIN}?limit=0", 400, 3),
        ("GET", f"/api/v1/executions/{PROJECT}/{DOMAIN}?limit=many", 400, 3),
    ):
        answer = httpx.request(method, base + path)
        assert (answer.status_code, answer.json()["code"]) == (status, code), (path, answer.text)
        assert answer.json()["message"]
    for content in (b"{not json", b"[]", b"\xff\xfe"):
        answer = httpx.post(f"{base}/api/v1/executions", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, answer.text


def test_projects_by_rest(client: Client, installation: Installation) -> None:
    """The seeded project is there with its domains."""
    answer = httpx.get(f"{installation.http_url}/api/v1/projects", headers=PROTOBUF)
    projects = project_pb2.Projects.FromString(answer.content).projects
    seeded = next(project for project in projects if project.id == PROJECT)
    assert [domain.id for domain in seeded.domains] == ["development", "staging", "production"]
    assert {project.id for project in client.remote.list_projects()} == {project.id for project in projects}


def test_health_and_metrics(installation: Installation) -> None:
    """Probes answer, and metrics are in the format of Prometheus."""
    for path in ("/healthz", "/readyz", "/healthcheck"):
        assert httpx.get(installation.http_url + path).status_code == 200
    metrics = httpx.get(f"{installation.http_url}/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "# TYPE" in metrics.text


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
