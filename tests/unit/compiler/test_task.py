"""Checks of task templates at registration."""

from collections.abc import Callable

import pytest
from flyteidl.core import tasks_pb2
from tests.unit.compiler.builders import INT, identifier, interface, json_struct

from wingbeat_propeller.compiler.task import validate_task_template

Resources = tasks_pb2.Resources
Entry = tasks_pb2.Resources.ResourceEntry
LIMITS = {Resources.MEMORY: "1Gi", Resources.CPU: "2", Resources.GPU: "1"}


def container_task(
    requests: dict[int, str] | None = None, limits: dict[int, str] | None = None
) -> tasks_pb2.TaskTemplate:
    """A good container task with resources."""
    template = tasks_pb2.TaskTemplate(
        id=identifier("t"),
        type="python-task",
        metadata={"runtime": {"version": "1.16"}},
        interface=interface({"a": INT}),
        container={"image": "example.org/image:1", "args": ["run"]},
    )
    template.container.resources.requests.extend(Entry(name=k, value=v) for k, v in (requests or {}).items())
    template.container.resources.limits.extend(Entry(name=k, value=v) for k, v in (limits or {}).items())
    return template


def pod_task(*containers: object) -> tasks_pb2.TaskTemplate:
    """A pod task with containers."""
    template = container_task()
    template.k8s_pod.pod_spec.CopyFrom(json_struct({"containers": list(containers)}))
    return template


def texts(template: tasks_pb2.TaskTemplate) -> list[str]:
    """Texts of the problems of a template under LIMITS."""
    problems = validate_task_template(template, LIMITS)
    assert all(problem.node_id == "p:d:t:v" for problem in problems)
    return [problem.description for problem in problems]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.ClearField("type"), "missing type"),
        (lambda t: t.ClearField("metadata"), "missing metadata"),
        (lambda t: t.metadata.runtime.ClearField("version"), "missing runtime version"),
        (lambda t: t.ClearField("interface"), "missing typed interface"),
        (lambda t: t.container.ClearField("image"), "missing image"),
        (lambda t: t.container.ClearField("args"), "container.command"),
        (lambda t: t.interface.inputs.variables["a"].ClearField("type"), "missing type of the input [a]"),
        (lambda t: t.interface.outputs.variables[""].type.CopyFrom(INT), "missing output name"),
        (lambda t: t.container.resources.limits.add(name=Resources.CPU, value="1x"), "Parsing of CPU"),
        (lambda t: t.container.resources.limits.add(name=Resources.CPU, value="-1"), "negative"),
        (lambda t: t.container.resources.requests.add(name=Resources.GPU, value="500m"), "must be a whole number"),
    ],
)
def test_what_is_missing_or_wrong(change: Callable[[tasks_pb2.TaskTemplate], object], text: str) -> None:
    """One mistake gives one problem that says what it is."""
    template = container_task()
    assert texts(template) == []
    change(template)
    (found,) = texts(template)
    assert text in found


@pytest.mark.parametrize(
    ("requests", "limits", "text"),
    [
        ({Resources.CPU: "500m", Resources.MEMORY: "512Mi"}, {Resources.CPU: "2", Resources.MEMORY: "1Gi"}, None),
        ({Resources.GPU: "1"}, {Resources.GPU: "1"}, None),
        ({Resources.STORAGE: "900Gi"}, {}, None),
        (
            {Resources.MEMORY: "1100Mi"},
            {},
            "Requested MEMORY default [1100Mi] is greater than current limit set in the platform configuration [1Gi]. ",
        ),
        ({}, {Resources.CPU: "2500m"}, "Requested CPU limit [2500m] is greater than current limit"),
        ({Resources.CPU: "1500m"}, {Resources.CPU: "1"}, "Requested CPU default [1500m] is greater than the limit [1]"),
        ({Resources.GPU: "0"}, {Resources.GPU: "1"}, "For extended resource 'gpu'"),
    ],
)
def test_resources(requests: dict[int, str], limits: dict[int, str], text: str | None) -> None:
    """Requests stay below limits, both below the platform's, amounts compared and not their spelling."""
    found = texts(container_task(requests, limits))
    assert len(found) == (text is not None)
    assert text is None or text in found[0]


def test_doubled_resources() -> None:
    """A resource stands once among the requests and once among the limits."""
    template = container_task({Resources.CPU: "1"}, {Resources.CPU: "1"})
    template.container.resources.requests.add(name=Resources.CPU, value="1")
    assert texts(template) == ["can't specify CPU limit for task [p:d:t:v] multiple times"]


@pytest.mark.parametrize(
    ("container", "text"),
    [
        ({"name": "primary", "resources": {"requests": {"cpu": 1, "memory": "1Gi", "x.org/y": "?"}}}, None),
        ({"name": "Primary"}, "DNS-1123"),
        ({}, "DNS-1123"),
        ({"name": "p", "resources": {"requests": {"memory": "2Gi"}}}, "Requested MEMORY default [2Gi]"),
        ({"name": "p", "resources": {"limits": {"cpu": "a"}}}, "Parsing of cpu"),
        ({"name": "p", "resources": {"limits": {"nvidia.com/gpu": 0.5}}}, "whole number"),
    ],
)
def test_pods(container: dict[str, object], text: str | None) -> None:
    """Containers of pods are checked like the container of a task; unknown resources are Kubernetes' business."""
    found = texts(pod_task(container))
    assert len(found) == (text is not None), found
    assert text is None or text in found[0]


def test_pod_without_spec() -> None:
    """A pod task says what its pod is."""
    template = container_task()
    template.k8s_pod.SetInParent()
    (found,) = texts(template)
    assert "defined pod spec" in found


def test_other_targets_are_left_alone() -> None:
    """A task without a container has nothing to check."""
    template = container_task()
    template.ClearField("container")
    assert texts(template) == []
