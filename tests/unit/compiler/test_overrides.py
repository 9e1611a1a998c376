"""What a node changes in the template of its task."""

import pytest
from flyteidl.core import tasks_pb2, workflow_pb2
from google.protobuf import json_format

from wingbeat_propeller.compiler.overrides import overridden
from wingbeat_propeller.tasks.pod_spec import primary_container

CPU, MEMORY = tasks_pb2.Resources.CPU, tasks_pb2.Resources.MEMORY
POD = {
    "containers": [
        {"name": "other", "image": "o", "resources": {"requests": {"cpu": "1"}}},
        {"name": "main", "image": "m", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}},
    ]
}
OVERRIDES = workflow_pb2.TaskNodeOverrides(
    resources={
        "requests": [{"name": "MEMORY", "value": "2Gi"}],
        "limits": [{"name": "MEMORY", "value": "3Gi"}, {"name": "STORAGE", "value": "9Gi"}],
    },
    container_image="new",
)


def _container() -> tasks_pb2.TaskTemplate:
    return tasks_pb2.TaskTemplate(
        type="python-task",
        container={
            "image": "m",
            "resources": {"requests": [{"name": "CPU", "value": "1"}, {"name": "MEMORY", "value": "1Gi"}]},
        },
    )


def _pod() -> tasks_pb2.TaskTemplate:
    template = tasks_pb2.TaskTemplate(type="sidecar", task_type_version=2, config={"primary_container_name": "main"})
    json_format.ParseDict(POD, template.k8s_pod.pod_spec)
    return template


def _first_sidecar() -> tasks_pb2.TaskTemplate:
    template = tasks_pb2.TaskTemplate(type="sidecar")
    json_format.ParseDict({"podSpec": POD, "primaryContainerName": "main"}, template.custom)
    return template


def _second_sidecar() -> tasks_pb2.TaskTemplate:
    template = tasks_pb2.TaskTemplate(type="sidecar", task_type_version=1, config={"primary_container_name": "main"})
    json_format.ParseDict(POD, template.custom)
    return template


def _read(template: tasks_pb2.TaskTemplate) -> tuple[str, dict[int, str], dict[int, str]]:
    container = template.container if template.HasField("container") else primary_container(template)
    return (
        container.image,
        {entry.name: entry.value for entry in container.resources.requests},
        {entry.name: entry.value for entry in container.resources.limits if entry.name in (CPU, MEMORY)},
    )


@pytest.mark.parametrize("template", [_container(), _pod(), _first_sidecar(), _second_sidecar()])
def test_resources_and_image(template: tasks_pb2.TaskTemplate) -> None:
    """What the node says replaces the task's own, resource by resource; the rest and the template itself stay."""
    before = template.SerializeToString(deterministic=True)
    assert _read(overridden(template, OVERRIDES)) == ("new", {CPU: "1", MEMORY: "2Gi"}, {MEMORY: "3Gi"})
    assert template.SerializeToString(deterministic=True) == before


def test_other_containers_of_a_pod_stay() -> None:
    """Only the primary container is meant."""
    changed = json_format.MessageToDict(overridden(_pod(), OVERRIDES).k8s_pod.pod_spec)
    assert changed["containers"][0] == POD["containers"][0]


def test_nothing_to_override() -> None:
    """No copy is made, and a template without a place for resources is left as it is."""
    template = _container()
    assert overridden(template, workflow_pb2.TaskNodeOverrides()) is template
    spark = tasks_pb2.TaskTemplate(type="spark")
    assert overridden(spark, OVERRIDES) == spark
    nameless = _pod()
    nameless.config.clear()
    assert overridden(nameless, OVERRIDES) == nameless
