"""What makes two versions of a task the same: definition, and code."""

from collections.abc import Callable

import pytest
from flyteidl.core import tasks_pb2
from google.protobuf import json_format

from wingbeat_propeller.compiler.task_identity import definition_changes, task_identity

Change = Callable[[tasks_pb2.TaskTemplate], object]


def _task(version: str = "v1", distribution: str = "s3://b/one.tar.gz", image: str = "img:1") -> tasks_pb2.TaskTemplate:
    """As flytekit registers it with its code."""
    template = tasks_pb2.TaskTemplate(type="python-task")
    template.id.project, template.id.domain, template.id.name, template.id.version = "p", "d", "m.t", version
    template.interface.inputs.variables["x"].description = "a number"
    template.interface.inputs.variables["x"].type.simple = 1
    container = template.container
    container.image = image
    container.args.extend(["pyflyte-fast-execute", "--additional-distribution", distribution, "--", "task-name", "t"])
    container.env.add(key="_F_SS_C", value=f"settings of {version}")
    container.env.add(key="COLOUR", value="red")
    template.metadata.retries.retries = 1
    return template


def _pod(version: str, distribution: str, image: str) -> tasks_pb2.TaskTemplate:
    """The same in a pod."""
    template = _task(version)
    container = template.container
    spec = {
        "containers": [
            {
                "name": "main",
                "image": image,
                "args": [*container.args[:2], distribution, *container.args[3:]],
                "env": [{"name": "_F_SS_C", "value": version}, {"name": "COLOUR", "value": "red"}],
                "resources": {"limits": {"cpu": version}},
            }
        ]
    }
    template.ClearField("container")
    json_format.ParseDict(spec, template.k8s_pod.pod_spec)
    return template


def _resources(template: tasks_pb2.TaskTemplate) -> None:
    template.container.resources.limits.add(name=tasks_pb2.Resources.MEMORY, value="1Gi")


@pytest.mark.parametrize(
    "change",
    [
        lambda t: setattr(t.id, "version", "v2"),
        lambda t: setattr(t.metadata.retries, "retries", 5),
        lambda t: setattr(t.metadata.timeout, "seconds", 5),
        lambda t: setattr(t.metadata, "interruptible", True),
        lambda t: setattr(t.metadata.runtime, "version", "9"),
        lambda t: setattr(t.metadata.generates_deck, "value", True),
        lambda t: setattr(t.interface.inputs.variables["x"], "description", "another text"),
        lambda t: setattr(t.container.env[0], "value", "settings of v2"),
        _resources,
    ],
)
def test_what_makes_no_difference(change: Change) -> None:
    """How a task is carried out, and what its registration says of itself, changes neither definition nor code."""
    changed = _task()
    change(changed)
    before, after = task_identity(_task()), task_identity(changed)
    assert definition_changes(before, after) is None
    assert before.code == after.code


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda t: setattr(t.id, "name", "m.other"), "/id/name"),
        (lambda t: setattr(t, "type", "other"), "/type"),
        (lambda t: setattr(t.interface.inputs.variables["x"].type, "simple", 2), "/interface"),
        (lambda t: t.container.args.append("--more"), "/container/args"),
        (lambda t: setattr(t.container.env[1], "value", "blue"), "/container/env"),
        (lambda t: t.custom.update({"workers": 4}), "/custom"),
        (lambda t: t.config.update({"key": "value"}), "/config"),
        (lambda t: setattr(t.sql, "statement", "SELECT 1"), "/sql"),
        (lambda t: t.security_context.secrets.add(group="g", key="k"), "/security_context"),
    ],
)
def test_what_makes_another_definition(change: Change, path: str) -> None:
    """What a task is told to do; the difference names the place."""
    changed = _task()
    change(changed)
    changes = definition_changes(task_identity(_task()), task_identity(changed))
    assert changes is not None
    assert path in changes


def test_a_cache_version_is_part_of_the_definition() -> None:
    """Raising it says that the task means something else; without caching it means nothing."""

    def cached(version: str, *, discoverable: bool) -> tasks_pb2.TaskTemplate:
        template = _task()
        template.metadata.discoverable = discoverable
        template.metadata.discovery_version = version
        return template

    one, two = (task_identity(cached(version, discoverable=True)) for version in ("1", "2"))
    assert definition_changes(one, two) is not None
    one, two = (task_identity(cached(version, discoverable=False)) for version in ("1", "2"))
    assert definition_changes(one, two) is None


@pytest.mark.parametrize("make", [_task, _pod])
def test_image_and_distribution_are_the_code(make: Callable[[str, str, str], tasks_pb2.TaskTemplate]) -> None:
    """They are no part of the definition, in containers and in pods."""
    one = task_identity(make("v1", "s3://b/one.tar.gz", "img:1"))
    assert sorted(one.code) == ["img:1", "s3://b/one.tar.gz"]
    for other in (make("v2", "s3://b/two.tar.gz", "img:1"), make("v2", "s3://b/one.tar.gz", "img:2")):
        changed = task_identity(other)
        assert definition_changes(one, changed) is None
        assert one.code != changed.code
    assert task_identity(make("v2", "s3://b/one.tar.gz", "img:1")).code == one.code
