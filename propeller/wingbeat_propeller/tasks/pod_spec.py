"""The primary container of a pod spec, read out of the free-form struct that pod tasks carry.

Three shapes exist: the `k8s_pod` target, and type `sidecar` in version 0 (`custom` wraps the spec) and 1 (`custom` is
the spec). A runtime without pods runs the primary container alone; init and further containers need a cluster.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from flyteidl.core import tasks_pb2
from google.protobuf import json_format

from wingbeat_propeller.compiler.overrides import PRIMARY_CONTAINER_KEY


class BadPodSpecError(ValueError):
    """The template holds no usable primary container; the message says what is missing."""


def has_pod_spec(template: tasks_pb2.TaskTemplate) -> bool:
    """Whether the template describes a pod rather than a single container."""
    return template.WhichOneof("target") == "k8s_pod" or (
        template.type == "sidecar" and template.WhichOneof("target") is None
    )


def primary_container(template: tasks_pb2.TaskTemplate) -> tasks_pb2.Container:
    """The primary container as FlyteIDL describes containers. Raises BadPodSpecError."""
    if template.WhichOneof("target") == "k8s_pod":
        spec = json_format.MessageToDict(template.k8s_pod.pod_spec)
        name = template.config.get(PRIMARY_CONTAINER_KEY, "")
    else:
        custom = json_format.MessageToDict(template.custom)
        wrapped = custom.get("podSpec")
        if template.task_type_version == 0 and isinstance(wrapped, dict):
            spec = cast("dict[str, object]", wrapped)
            name = str(custom.get("primaryContainerName", ""))
        else:
            spec = custom
            name = template.config.get(PRIMARY_CONTAINER_KEY, "")
    containers = cast("Sequence[Mapping[str, object]]", _items(spec, "containers"))
    if not name:
        raise BadPodSpecError(f"the pod does not say which container is the primary one ({PRIMARY_CONTAINER_KEY})")
    for container in containers:
        if container.get("name") == name:
            return _container(container)
    names = ", ".join(str(item.get("name")) for item in containers) or "none"
    raise BadPodSpecError(f"the pod has no container {name!r}, which is named as its primary one; it has {names}")


def _container(spec: Mapping[str, object]) -> tasks_pb2.Container:
    container = tasks_pb2.Container(
        image=str(spec.get("image", "")),
        command=[str(item) for item in _items(spec, "command")],
        args=[str(item) for item in _items(spec, "args")],
    )
    for item in cast("Sequence[Mapping[str, object]]", _items(spec, "env")):
        if "valueFrom" in item:
            raise BadPodSpecError(f"environment variable {item.get('name')!r} is read from the cluster (valueFrom)")
        container.env.add(key=str(item.get("name", "")), value=str(item.get("value", "")))
    resources = cast("Mapping[str, object]", spec.get("resources") or {})
    for section, entries in (("limits", container.resources.limits), ("requests", container.resources.requests)):
        for key, value in cast("Mapping[str, object]", resources.get(section) or {}).items():
            if key in _RESOURCES:
                entries.add(name=_RESOURCES[key], value=_quantity(value))
    return container


_RESOURCES = {"cpu": tasks_pb2.Resources.CPU, "memory": tasks_pb2.Resources.MEMORY}


def _quantity(value: object) -> str:
    """Quantities may be numbers in JSON; a struct turns every number into a float."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _items(spec: Mapping[str, object], key: str) -> Sequence[object]:
    value = spec.get(key)
    return cast("list[object]", value) if isinstance(value, list) else ()
