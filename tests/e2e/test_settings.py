"""What executions run with: asked for by the real flytekit, by attributes and by settings, seen by their tasks."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from flyteidl.admin import (
    common_pb2,
    execution_pb2,
    matchable_resource_pb2,
    project_domain_attributes_pb2,
    task_execution_pb2,
    workflow_attributes_pb2,
)
from flyteidl.event import event_pb2
from flytekit.core.options import Options
from flytekit.models.common import Annotations, Labels, RawOutputDataConfig
from tests.e2e.client import DOMAIN, PROJECT, Client, execution_id, phase, succeeded
from tests.e2e.installation import Installation, running_installation
from tests.e2e.test_pyflyte import pyflyte

VARIABLES = ("COLOUR", "WINGBEAT_LABELS", "WINGBEAT_ANNOTATIONS", "WINGBEAT_INTERRUPTIBLE")
NAMES = {"names": list(VARIABLES)}


@pytest.fixture
def config(client: Client) -> Iterator[Any]:
    """Stores attributes of workflows; they are taken back at the end."""
    stored: list[tuple[str, int]] = []

    def store(workflow: str, **target: Any) -> None:
        attributes = matchable_resource_pb2.MatchingAttributes(**target)
        kind = {"workflow_execution_config": 6, "task_resource_attributes": 0}[attributes.WhichOneof("target") or ""]
        stored.append((workflow, kind))
        client.admin.UpdateWorkflowAttributes(
            workflow_attributes_pb2.WorkflowAttributesUpdateRequest(
                attributes={
                    "project": PROJECT,
                    "domain": DOMAIN,
                    "workflow": workflow,
                    "matching_attributes": attributes,
                }
            )
        )

    yield store
    for workflow, kind in stored:
        _delete(client, workflow, kind)


def _delete(client: Client, workflow: str, kind: int) -> None:
    client.admin.DeleteWorkflowAttributes(
        workflow_attributes_pb2.WorkflowAttributesDeleteRequest(
            project=PROJECT, domain=DOMAIN, workflow=workflow, resource_type=kind
        )
    )


def _seen(text: str) -> Mapping[str, object]:
    """Variables as a task saw them; labels and annotations are JSON themselves."""
    return {
        name: json.loads(value) if value and value.startswith("{") else value
        for name, value in json.loads(text).items()
    }


def _file(execution: Any) -> Path:
    """Where the file that the workflow wrote lies."""
    return Path(execution.outputs.literals["o2"].scalar.blob.uri)


def _instance_classes(client: Client, name: str, nodes: int) -> list[int]:
    found = []
    for number in range(nodes):
        answer = client.admin.ListTaskExecutions(
            task_execution_pb2.TaskExecutionListRequest(
                node_execution_id={"node_id": f"n{number}", "execution_id": execution_id(name)}, limit=5
            )
        )
        found += [attempt.closure.metadata.instance_class for attempt in answer.task_executions]
    return found


def test_everything_flytekit_can_ask_for(client: Client, tmp_path: Path) -> None:
    """Options, environment and interruptibility reach each task and what it starts; executions are found by label."""
    raw = tmp_path / "raw"
    execution = succeeded(
        client.run(
            "surroundings",
            "look_wf",
            NAMES,
            options=Options(
                labels=Labels({"team": "every-setting"}),
                annotations=Annotations({"ticket": "a b/c"}),
                raw_output_data_config=RawOutputDataConfig(str(raw)),
                max_parallelism=3,
            ),
            envs={"COLOUR": "blue"},
            interruptible=True,
            overwrite_cache=True,
        )
    )
    expected = {
        "COLOUR": "blue",
        "WINGBEAT_LABELS": {"team": "every-setting"},
        "WINGBEAT_ANNOTATIONS": {"ticket": "a b/c"},
        "WINGBEAT_INTERRUPTIBLE": "true",
    }
    assert _seen(execution.outputs["o0"]) == expected
    assert _seen(execution.outputs["o1"]) == expected
    assert _file(execution).is_relative_to(raw)
    assert _file(execution).read_text() == "here"
    assert _instance_classes(client, execution.id.name, 3) == [event_pb2.TaskExecutionMetadata.INTERRUPTIBLE] * 3

    spec = client.admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id(execution.id.name))).spec
    assert (dict(spec.labels.values), dict(spec.annotations.values)) == ({"team": "every-setting"}, {"ticket": "a b/c"})
    assert (spec.max_parallelism, spec.interruptible.value, spec.overwrite_cache) == (3, True, True)
    assert spec.raw_output_data_config.output_location_prefix == str(raw)
    assert [(pair.key, pair.value) for pair in spec.envs.values] == [("COLOUR", "blue")]
    found = client.admin.ListExecutions(
        common_pb2.ResourceListRequest(
            id=common_pb2.NamedEntityIdentifier(project=PROJECT, domain=DOMAIN),
            limit=5,
            filters="eq(execution_tag.key,team)+eq(execution_tag.value,every-setting)",
        )
    )
    assert [entry.id.name for entry in found.executions] == [execution.id.name]


def test_nobody_says_anything(client: Client) -> None:
    """Without a word there are no labels, no annotations, and no interruption."""
    execution = succeeded(client.run("surroundings", "look_wf", NAMES))
    assert _seen(execution.outputs["o0"]) == dict.fromkeys(VARIABLES)
    assert _instance_classes(client, execution.id.name, 3) == [event_pb2.TaskExecutionMetadata.DEFAULT] * 3


@pytest.mark.parametrize("workflow", ["nested_wf", "child_wf"])
def test_settings_go_on_inside(client: Client, workflow: str) -> None:
    """A task inside a sub-workflow, and one of an execution that a launch plan node makes, see the same."""
    options = Options(labels=Labels({"team": "inside"}), annotations=Annotations({"ticket": "8"}))
    execution = succeeded(
        client.run("surroundings", workflow, NAMES, options=options, envs={"COLOUR": "red"}, interruptible=True)
    )
    assert _seen(execution.outputs["o0"]) == {
        "COLOUR": "red",
        "WINGBEAT_LABELS": {"team": "inside"},
        "WINGBEAT_ANNOTATIONS": {"ticket": "8"},
        "WINGBEAT_INTERRUPTIBLE": "true",
    }


def test_a_task_has_the_last_word_on_interruption(client: Client) -> None:
    """What the task's own decorator says beats the execution."""
    execution = succeeded(client.run("surroundings", "stubborn_wf", NAMES, interruptible=True))
    interruptible = [_seen(execution.outputs[name])["WINGBEAT_INTERRUPTIBLE"] for name in ("o0", "o1")]
    assert interruptible == ["true", None]
    assert _instance_classes(client, execution.id.name, 2) == [
        event_pb2.TaskExecutionMetadata.INTERRUPTIBLE,
        event_pb2.TaskExecutionMetadata.DEFAULT,
    ]


def test_one_task_at_a_time(client: Client, tmp_path: Path) -> None:
    """With a parallelism of one no task begins before the one before it has ended."""
    succeeded(client.run("surroundings", "crowd_wf", {"folder": str(tmp_path)}, options=Options(max_parallelism=1)))
    assert (tmp_path / "marks").read_text().split() == ["start", "end"] * 4


def test_command_line(installation: Installation, client: Client, tmp_path: Path) -> None:
    """`pyflyte run --remote` takes the same as options."""
    program = Path(__file__).parent / "programs" / "surroundings.py"
    done = pyflyte(
        installation,
        "run",
        "--remote",
        *("--env", "COLOUR=green", "--label", "team=audio", "--annotation", "ticket=7"),
        *("--raw-data-prefix", str(tmp_path / "raw"), "--max-parallelism", "4", "--overwrite-cache"),
        *("--interruptible", "true"),
        str(program),
        "look_wf",
        "--names",
        json.dumps(VARIABLES),
    )
    name = re.search(r"/executions/([a-z0-9-]+)", done.stdout + done.stderr)
    assert name, done.stdout + done.stderr
    execution = succeeded(client.wait(client.remote.fetch_execution(name=name[1])))
    assert _seen(execution.outputs["o0"]) == {
        "COLOUR": "green",
        "WINGBEAT_LABELS": {"team": "audio"},
        "WINGBEAT_ANNOTATIONS": {"ticket": "7"},
        "WINGBEAT_INTERRUPTIBLE": "true",
    }
    assert _file(execution).is_relative_to(tmp_path / "raw")
    spec = client.admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=execution_id(name[1]))).spec
    assert (spec.max_parallelism, spec.overwrite_cache) == (4, True)


def test_attributes_reach_tasks(client: Client, tmp_path: Path, config: Any) -> None:
    """What is stored for a workflow is what its tasks get; once it is deleted the next execution has nothing of it."""
    raw = tmp_path / "raw"
    client.register("surroundings", "look_wf")
    config(
        "surroundings.look_wf",
        workflow_execution_config={
            "envs": {"values": [{"key": "COLOUR", "value": "stored"}]},
            "labels": {"values": {"team": "stored"}},
            "annotations": {"values": {"ticket": "stored"}},
            "interruptible": {"value": True},
            "raw_output_data_config": {"output_location_prefix": str(raw)},
        },
    )
    execution = succeeded(client.run("surroundings", "look_wf", NAMES, envs={"COLOUR": "asked"}))
    assert _seen(execution.outputs["o0"]) == {
        "COLOUR": "asked",
        "WINGBEAT_LABELS": {"team": "stored"},
        "WINGBEAT_ANNOTATIONS": {"ticket": "stored"},
        "WINGBEAT_INTERRUPTIBLE": "true",
    }
    assert _file(execution).is_relative_to(raw)
    _delete(client, "surroundings.look_wf", 6)
    execution = succeeded(client.run("surroundings", "look_wf", NAMES))
    assert _seen(execution.outputs["o0"]) == dict.fromkeys(VARIABLES)


def test_memory_of_tasks_follows_attributes(client: Client, config: Any) -> None:
    """A default limits the task that says nothing, a limit cuts the one that asks for more, and deleting frees both."""
    assert succeeded(client.run("surroundings", "fill_wf", {"megabytes": 600})).outputs["o0"] == 600
    client.register("surroundings", "fill_with_leave_wf")  # asks for more than the limit that comes below
    for workflow, resources in (
        ("fill_wf", {"defaults": {"memory": "400Mi"}}),
        ("fill_with_leave_wf", {"limits": {"memory": "400Mi"}}),
    ):
        config(f"surroundings.{workflow}", task_resource_attributes=resources)
        execution = client.run("surroundings", workflow, {"megabytes": 600})
        assert phase(execution) == "FAILED"
        assert "memory" in execution.error.message.lower(), execution.error.message
        _delete(client, f"surroundings.{workflow}", 0)
        assert succeeded(client.run("surroundings", workflow, {"megabytes": 600})).outputs["o0"] == 600


def test_attributes_over_http(client: Client, installation: Installation) -> None:
    """Stored, read by number and by name of the type, shown in the launch form's way, deleted."""
    base = f"{installation.http_url}/api/v1"
    url = f"{base}/workflow_attributes/{PROJECT}/{DOMAIN}/over.http"
    body = {"attributes": {"matchingAttributes": {"workflowExecutionConfig": {"maxParallelism": 7}}}}
    assert httpx.put(url, json=body).status_code == 200
    for kind in ("6", "WORKFLOW_EXECUTION_CONFIG"):
        found = httpx.get(url, params={"resource_type": kind}, headers={"Accept": "application/json"}).json()
        assert found["attributes"]["workflow"] == "over.http"
        config = found["attributes"]["matching_attributes"]["workflow_execution_config"]
        assert config["max_parallelism"] == 7
    listed = httpx.get(f"{base}/matchable_attributes", params={"resource_type": 6}).json()["configurations"]
    assert "over.http" in [entry["workflow"] for entry in listed]
    assert httpx.request("DELETE", url, json={"resourceType": "WORKFLOW_EXECUTION_CONFIG"}).status_code == 200
    assert httpx.get(url, params={"resource_type": 6}).status_code == 404
    form = httpx.get(f"{base}/project_attributes/{PROJECT}", params={"resource_type": 6}).json()
    assert form["attributes"]["matchingAttributes"]["workflowExecutionConfig"]["maxParallelism"] == 25


@pytest.fixture
def configured() -> Iterator[Installation]:
    """An installation with settings of its own for executions and their tasks."""
    settings = """
        [launch]
        labels = { team = "installation" }
        envs = { COLOUR = "installation" }

        [task_resources]
        defaults = { memory = "400Mi" }
        limits = { memory = "1Gi" }
        """
    with running_installation(settings=settings) as running:
        yield running


def test_settings_of_the_installation(configured: Installation) -> None:
    """They are shown, hold for executions that say nothing, and refuse tasks that ask for too much; a domain may raise
    them."""
    shown = configured.wingbeat("config", "show", "--data-dir", str(configured.data_dir)).stdout
    assert "memory=400Mi" in shown
    assert "memory=1Gi" in shown
    assert "team=installation" in shown
    client = Client(configured.endpoint)
    try:
        execution = succeeded(client.run("surroundings", "look_wf", NAMES))
        seen = _seen(execution.outputs["o0"])
        assert (seen["COLOUR"], seen["WINGBEAT_LABELS"]) == ("installation", {"team": "installation"})
        assert phase(client.run("surroundings", "fill_wf", {"megabytes": 600})) == "FAILED"
        with pytest.raises(Exception, match=r"Requested MEMORY (default|limit) \[4Gi\] is greater than current limit"):
            client.register("surroundings", "fill_with_leave_wf")
        client.admin.UpdateProjectDomainAttributes(
            project_domain_attributes_pb2.ProjectDomainAttributesUpdateRequest(
                attributes={
                    "project": PROJECT,
                    "domain": DOMAIN,
                    "matching_attributes": {"task_resource_attributes": {"limits": {"memory": "8Gi"}}},
                }
            )
        )
        assert succeeded(client.run("surroundings", "fill_with_leave_wf", {"megabytes": 600})).outputs["o0"] == 600
    finally:
        client.close()
