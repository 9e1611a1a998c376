"""What Flyte's web console asks of the REST address: its own headers, protobuf there and back, from another origin."""

from collections.abc import Iterator
from typing import TypeVar

import httpx
import pytest
from flyteidl.admin import (
    common_pb2,
    description_entity_pb2,
    execution_pb2,
    launch_plan_pb2,
    node_execution_pb2,
    project_attributes_pb2,
    project_pb2,
    signal_pb2,
    task_execution_pb2,
    task_pb2,
    version_pb2,
    workflow_pb2,
)
from flyteidl.core import execution_pb2 as phases
from flyteidl.core import identifier_pb2, metrics_pb2
from flyteidl.service import dataproxy_pb2
from google.protobuf.message import Message
from tests.e2e.client import DOMAIN, PROJECT, Client, execution_id, integer, phase, succeeded
from tests.e2e.installation import Installation, until

ORIGIN = "http://console.example"
PLACE = f"{PROJECT}/{DOMAIN}"
NEWEST = {"limit": 25, "sort_by.key": "created_at", "sort_by.direction": "DESCENDING"}
BY_NAME = {"limit": 25, "sort_by.key": "name", "sort_by.direction": "ASCENDING", "filters": "eq(state,0)"}
ALL = {"limit": 10_000}

M = TypeVar("M", bound=Message)


class Console:
    """Asks as the console does, and looks that a browser would let it see the answer."""

    def __init__(self, base: str) -> None:
        self.http = httpx.Client(base_url=base, headers={"Origin": ORIGIN}, timeout=30)

    def get(self, path: str, kind: type[M], **parameters: str | int) -> M:
        """An entity."""
        answer = self.http.get(f"/api/v1/{path}", params=parameters, headers={"Accept": "application/octet-stream"})
        return kind.FromString(self._body(answer))

    def send(self, method: str, path: str, request: Message, kind: type[M]) -> M:
        """A change."""
        preflight = self.http.options(
            f"/api/v1/{path}",
            headers={"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"},
        )
        assert method in preflight.headers["access-control-allow-methods"]
        headers = {"Accept": "application/octet-stream", "Content-Type": "application/octet-stream"}
        answer = self.http.request(method, f"/api/v1/{path}", content=request.SerializeToString(), headers=headers)
        return kind.FromString(self._body(answer))

    @staticmethod
    def _body(answer: httpx.Response) -> bytes:
        assert answer.status_code == 200, (str(answer.url), answer.content)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-credentials"] == "true"
        return answer.content


@pytest.fixture(scope="module")
def console(installation: Installation) -> Iterator[Console]:
    """A browser with the console in it."""
    console = Console(installation.http_url)
    with console.http:
        yield console


def test_start(console: Console) -> None:
    """Who one is, which version answers, which projects there are and how they are set."""
    assert console.http.get("/me").headers["access-control-allow-credentials"] == "true"
    assert console.get("version", version_pb2.GetVersionResponse).control_plane_version.Version
    projects = {one.id: one for one in console.get("projects", project_pb2.Projects).projects}
    assert [domain.id for domain in projects[PROJECT].domains] == ["development", "staging", "production"]
    settings = console.get(
        f"project_attributes/{PROJECT}", project_attributes_pb2.ProjectAttributesGetResponse, resource_type=6
    )
    assert settings.attributes.matching_attributes.workflow_execution_config.max_parallelism


def test_pages_of_entities(console: Console, client: Client) -> None:
    """Lists of names, versions of one, and a version in full, whose path says no type of resource."""
    version = client.register("dynamics", "sum_wf").id.version
    name = "dynamics.sum_wf"
    for number, one in ((1, "dynamics.sum_of_doubles"), (2, name), (3, name)):
        names = console.get(
            f"named_entities/{number}/{PLACE}", common_pb2.NamedEntityList, **{**BY_NAME, "limit": 1000}
        )
        assert one in [entity.id.name for entity in names.entities]
        assert console.get(f"named_entities/{number}/{PLACE}/{one}", common_pb2.NamedEntity).id.name == one
    workflows = console.get(f"workflows/{PLACE}/{name}", workflow_pb2.WorkflowList, **NEWEST).workflows
    assert version in [one.id.version for one in workflows]
    full = console.get(f"workflows/{PLACE}/{name}/{version}", workflow_pb2.Workflow)
    assert full.id.resource_type == identifier_pb2.WORKFLOW
    assert {node.id for node in full.closure.compiled_workflow.primary.template.nodes} >= {"n0", "n1"}
    tasks = console.get(f"tasks/{PLACE}/dynamics.sum_of_doubles", task_pb2.TaskList, **NEWEST).tasks
    task = console.get(f"tasks/{PLACE}/dynamics.sum_of_doubles/{tasks[0].id.version}", task_pb2.Task)
    assert "count" in task.closure.compiled_task.template.interface.inputs.variables
    narrowed = f"eq(workflow.name,{name})+eq(workflow.version,{version})"
    plans = console.get(
        f"launch_plans/{PLACE}", launch_plan_pb2.LaunchPlanList, **{**BY_NAME, "filters": narrowed}
    ).launch_plans
    assert [one.id.name for one in plans] == [name]
    plan = console.get(f"launch_plans/{PLACE}/{name}/{version}", launch_plan_pb2.LaunchPlan)
    assert plan.id.resource_type == identifier_pb2.LAUNCH_PLAN
    assert plan.closure.expected_inputs.parameters["count"].required
    described = console.get(
        f"description_entities/2/{PLACE}/{name}", description_entity_pb2.DescriptionEntityList, **NEWEST
    )
    assert described.descriptionEntities[0].short_description == "A dynamic between tasks."


def test_page_of_an_execution(console: Console, client: Client) -> None:
    """Nodes, what a dynamic node has made, attempts, elements of a map, and values."""
    name = succeeded(client.run("dynamics", "sum_wf", {"count": 2})).id.name
    page = f"{PLACE}/{name}"
    filters = "eq(workflow.name,dynamics.sum_wf)+eq(state,0)+value_in(phase,SUCCEEDED;FAILED)+gte(duration,0)"
    listed = console.get(f"executions/{PLACE}", execution_pb2.ExecutionList, **{**NEWEST, "filters": filters})
    assert name in [one.id.name for one in listed.executions]
    assert (
        console.get(f"executions/{page}", execution_pb2.Execution).closure.phase == phases.WorkflowExecution.SUCCEEDED
    )
    values = console.get(f"data/executions/{page}", execution_pb2.WorkflowExecutionGetDataResponse)
    assert values.full_outputs.literals["o0"] == integer(4)
    nodes = console.get(f"node_executions/{page}", node_execution_pb2.NodeExecutionList, **ALL).node_executions
    parent = next(one for one in nodes if one.metadata.is_dynamic)
    inner = console.get(
        f"node_executions/{page}", node_execution_pb2.NodeExecutionList, unique_parent_id=parent.id.node_id, **ALL
    ).node_executions
    assert len([one for one in inner if one.metadata.spec_node_id.startswith("dn")]) == 4
    made = console.get(
        f"data/node_executions/{page}/{parent.id.node_id}", node_execution_pb2.NodeExecutionGetDataResponse
    )
    assert made.dynamic_workflow.compiled_workflow.primary.template.nodes
    _attempts(console, f"{page}/{inner[1].id.node_id}")

    mapped = succeeded(client.run("maps", "map_wf", {"numbers": [1, 2, 3]})).id.name
    attempt = _attempts(console, f"{PLACE}/{mapped}/n0")
    assert [one.index for one in attempt.closure.metadata.external_resources] == [0, 1, 2]
    assert all(one.logs for one in attempt.closure.metadata.external_resources)


def _attempts(console: Console, node: str) -> task_execution_pb2.TaskExecution:
    """The only attempt of a node, after all that its panel asks."""
    (found,) = console.get(f"task_executions/{node}", task_execution_pb2.TaskExecutionList, **ALL).task_executions
    task = found.id.task_id
    path = f"task_executions/{node}/{task.project}/{task.domain}/{task.name}/{task.version}/{found.id.retry_attempt}"
    assert console.get(path, task_execution_pb2.TaskExecution) == found
    data = console.get(f"data/{path}", task_execution_pb2.TaskExecutionGetDataResponse)
    assert data.full_outputs.literals
    children = console.get(f"children/{path}", node_execution_pb2.NodeExecutionList, **ALL)
    assert not children.node_executions
    return found


def test_timeline(console: Console, client: Client) -> None:
    """A bar shows the operations of its node and of the attempts of that: the console asks for ten levels,
    and adds up what it finds by the ids of nodes."""
    execution = client.run("dynamics", "sum_wf", {"count": 2})
    page = f"metrics/executions/{PLACE}/{succeeded(execution).id.name}"
    root = console.get(page, execution_pb2.WorkflowExecutionGetMetricsResponse, depth=10).span
    shown: dict[str, list[str]] = {}

    def walk(span: metrics_pb2.Span) -> None:
        name = span.node_id.node_id or span.task_id.node_execution_id.node_id or span.workflow_id.name
        for inner in span.spans:
            if inner.HasField("node_id") or inner.HasField("task_id"):
                walk(inner)
            else:
                assert inner.start_time.ToNanoseconds() <= inner.end_time.ToNanoseconds()
                shown.setdefault(name, []).append(inner.operation_id)

    walk(root)
    assert shown[execution.id.name] == ["WORKFLOW_SETUP", "WORKFLOW_TEARDOWN"]
    attempt = ["TASK_SETUP", "TASK_RUNTIME", "TASK_TEARDOWN"]
    assert shown["n0"] == ["NODE_TRANSITION", "NODE_SETUP", *attempt, "NODE_RESET", "NODE_TEARDOWN"]
    assert shown["n1"] == ["NODE_TRANSITION", "NODE_SETUP", *attempt, "NODE_TEARDOWN"]
    inner = console.get(
        f"node_executions/{PLACE}/{execution.id.name}",
        node_execution_pb2.NodeExecutionList,
        unique_parent_id="n0",
        **ALL,
    ).node_executions
    tasks = [one.id.node_id for one in inner if one.metadata.spec_node_id.startswith("dn")]
    assert [shown[node_id] for node_id in tasks] == [shown["n1"]] * 4
    bare = console.http.get(f"/api/v1/{page}").json()["span"]
    assert bare["workflowId"]["name"] == execution.id.name
    assert not bare["spans"]


def test_page_of_a_deck(console: Console, client: Client) -> None:
    """The link to a deck is one that the console may fetch from where it is."""
    failed = client.run("decks", "failing_wf")
    assert phase(failed) == "FAILED"
    request = dataproxy_pb2.CreateDownloadLinkRequest(
        artifact_type=dataproxy_pb2.ARTIFACT_TYPE_DECK,
        node_execution_id=identifier_pb2.NodeExecutionIdentifier(
            node_id="n0", execution_id=execution_id(failed.id.name)
        ),
    )
    links = console.send("POST", "dataproxy/artifact_link", request, dataproxy_pb2.CreateDownloadLinkResponse)
    deck = console.http.get(links.pre_signed_urls.signed_url[0])
    assert "last words" in deck.text
    assert deck.headers["access-control-allow-origin"] == ORIGIN


def test_form_and_buttons(console: Console, client: Client) -> None:
    """Launch, answer a gate, terminate, relaunch, recover, archive; activate a launch plan, archive a workflow."""
    version = client.register("gates", "approval_wf").id.version
    name = "gates.approval_wf"
    plan = console.get(f"launch_plans/{PLACE}/{name}/{version}", launch_plan_pb2.LaunchPlan)
    request = execution_pb2.ExecutionCreateRequest(
        project=PROJECT,
        domain=DOMAIN,
        spec=execution_pb2.ExecutionSpec(
            launch_plan=plan.id, metadata=execution_pb2.ExecutionMetadata(principal="flyteconsole")
        ),
    )
    request.spec.inputs.literals["number"].CopyFrom(integer(3))
    created = execution_pb2.ExecutionCreateResponse
    first = console.send("POST", "executions", request, created).id
    until(
        lambda: client.signals.ListSignals(signal_pb2.SignalListRequest(workflow_execution_id=first, limit=1)).signals
    )
    answer = signal_pb2.SignalSetRequest(id=identifier_pb2.SignalIdentifier(signal_id="fine", execution_id=first))
    answer.value.scalar.primitive.boolean = True
    console.send("POST", "signals", answer, signal_pb2.SignalSetResponse)
    ended = client.wait(client.remote.fetch_execution(name=first.name))
    assert succeeded(ended).outputs["o0"] == 12

    again = console.send("POST", "executions/relaunch", execution_pb2.ExecutionRelaunchRequest(id=first), created).id
    page = f"executions/{PLACE}/{again.name}"
    terminate = execution_pb2.ExecutionTerminateRequest(cause="enough")
    console.send("DELETE", page, terminate, execution_pb2.ExecutionTerminateResponse)

    def closure() -> execution_pb2.ExecutionClosure:
        return console.get(page, execution_pb2.Execution).closure

    until(lambda: closure().phase == phases.WorkflowExecution.ABORTED, what="the end")
    assert closure().abort_metadata.cause == "enough"
    console.send("POST", "executions/recover", execution_pb2.ExecutionRecoverRequest(id=again), created)
    archive = execution_pb2.ExecutionUpdateRequest(id=again, state=execution_pb2.EXECUTION_ARCHIVED)
    console.send("PUT", page, archive, execution_pb2.ExecutionUpdateResponse)
    assert closure().state_change_details.state == execution_pb2.EXECUTION_ARCHIVED

    for state in (launch_plan_pb2.ACTIVE, launch_plan_pb2.INACTIVE):
        change = launch_plan_pb2.LaunchPlanUpdateRequest(id=plan.id, state=state)
        console.send("PUT", f"launch_plans/{PLACE}/{name}/{version}", change, launch_plan_pb2.LaunchPlanUpdateResponse)
    for state in (common_pb2.NAMED_ENTITY_ARCHIVED, common_pb2.NAMED_ENTITY_ACTIVE):
        rename = common_pb2.NamedEntityUpdateRequest(
            resource_type=identifier_pb2.WORKFLOW,
            id=common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN, name=name),
            metadata=common_pb2.NamedEntityMetadata(state=state),
        )
        console.send("PUT", f"named_entities/2/{PLACE}/{name}", rename, common_pb2.NamedEntityUpdateResponse)
        assert console.get(f"named_entities/2/{PLACE}/{name}", common_pb2.NamedEntity).metadata.state == state


def test_what_is_not_there(console: Console) -> None:
    """The console tells by the status, and may read the answer."""
    answer = console.http.get(f"/api/v1/executions/{PLACE}/nowhere", headers={"Accept": "application/octet-stream"})
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert b"missing entity of type execution" in answer.content
