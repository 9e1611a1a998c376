"""A task template with what a node overrides in it. Pure; called once a node and workflow version by `compiler.plan`.

Resources are replaced one by one, requests and limits apart; of a pod those of its primary container. What comes of
them under the platform's defaults and limits is decided when a container is built, from what its execution has.
"""

from collections.abc import Iterable, Mapping

from flyteidl.core import tasks_pb2, workflow_pb2
from google.protobuf import struct_pb2
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

PRIMARY_CONTAINER_KEY = "primary_container_name"
"""Key of the template's `config` that names the primary container of a pod."""

_POD_NAMES: Mapping[int, str] = {
    tasks_pb2.Resources.CPU: "cpu",
    tasks_pb2.Resources.MEMORY: "memory",
    tasks_pb2.Resources.EPHEMERAL_STORAGE: "ephemeral-storage",
    tasks_pb2.Resources.GPU: "nvidia.com/gpu",
}


def overridden(template: tasks_pb2.TaskTemplate, overrides: workflow_pb2.TaskNodeOverrides) -> tasks_pb2.TaskTemplate:
    """The template itself when nothing is overridden, else a changed copy."""
    if not overrides.ByteSize():
        return template
    changed = tasks_pb2.TaskTemplate()
    changed.CopyFrom(template)
    given = overrides.resources
    if changed.HasField("container"):
        if overrides.container_image:
            changed.container.image = overrides.container_image
        _replace(changed.container.resources.requests, given.requests)
        _replace(changed.container.resources.limits, given.limits)
    else:
        for container in _primary_containers(changed):
            if overrides.container_image:
                container.fields["image"].string_value = overrides.container_image
            _replace_in_pod(container, "requests", given.requests)
            _replace_in_pod(container, "limits", given.limits)
    if overrides.HasField("extended_resources"):
        changed.extended_resources.MergeFrom(overrides.extended_resources)
    return changed


def _replace(
    entries: "RepeatedCompositeFieldContainer[tasks_pb2.Resources.ResourceEntry]",
    given: "RepeatedCompositeFieldContainer[tasks_pb2.Resources.ResourceEntry]",
) -> None:
    replaced = {entry.name for entry in given}
    kept = [entry for entry in entries if entry.name not in replaced]
    del entries[:]
    entries.extend([*kept, *given])


def _replace_in_pod(
    container: struct_pb2.Struct, kind: str, given: Iterable[tasks_pb2.Resources.ResourceEntry]
) -> None:
    for entry in given:
        name = _POD_NAMES.get(entry.name)
        if name is not None:
            quantities = container.fields["resources"].struct_value.fields[kind].struct_value
            quantities.fields[name].string_value = entry.value


def _primary_containers(template: tasks_pb2.TaskTemplate) -> list[struct_pb2.Struct]:
    """The primary container in each of the shapes that a pod may have; none where the template names none."""
    name = template.config.get(PRIMARY_CONTAINER_KEY, "")
    if template.HasField("k8s_pod"):
        spec = template.k8s_pod.pod_spec
    elif template.type != "sidecar":
        return []
    elif template.task_type_version == 0 and "podSpec" in template.custom.fields:
        spec = template.custom.fields["podSpec"].struct_value
        name = template.custom.fields["primaryContainerName"].string_value
    else:
        spec = template.custom
    if "containers" not in spec.fields:
        return []
    containers = (value.struct_value for value in spec.fields["containers"].list_value.values)
    return [
        container
        for container in containers
        if name and "name" in container.fields and container.fields["name"].string_value == name
    ]
