"""Checks of a task template at registration, as far as the template alone tells.

Problems come in the order in which a caller wants to hear of them. Each has the text that clients see.
"""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TypeAlias

from flyteidl.core import tasks_pb2
from google.protobuf import struct_pb2

from wingbeat_propeller.compiler.errors import CompileError, ErrorCode
from wingbeat_propeller.compiler.quantities import parse_quantity
from wingbeat_propeller.compiler.references import id_text
from wingbeat_propeller.compiler.resources import Quantities

_Amounts: TypeAlias = dict[tasks_pb2.Resources.ResourceName, tuple[str, Decimal]]
"""Quantity as written and its amount, by resource."""

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_POD_RESOURCES = {
    "cpu": tasks_pb2.Resources.CPU,
    "memory": tasks_pb2.Resources.MEMORY,
    "ephemeral-storage": tasks_pb2.Resources.EPHEMERAL_STORAGE,
    "nvidia.com/gpu": tasks_pb2.Resources.GPU,
}


def validate_task_template(
    template: tasks_pb2.TaskTemplate, limits: Quantities | None = None
) -> tuple[CompileError, ...]:
    """Every problem of a task template, none for a good one. `limits` are the platform's."""
    task = id_text(template.id)
    return tuple(CompileError(code, task, text) for code, text in _problems(template, limits or {}))


def _problems(template: tasks_pb2.TaskTemplate, limits: Quantities) -> Iterator[tuple[ErrorCode, str]]:
    if not template.type:
        yield ErrorCode.VALUE_REQUIRED, "missing type"
    if not template.HasField("metadata"):
        yield ErrorCode.VALUE_REQUIRED, "missing metadata"
    elif template.metadata.HasField("runtime") and not template.metadata.runtime.version:
        yield ErrorCode.VALUE_REQUIRED, "missing runtime version"
    if not template.HasField("interface"):
        yield ErrorCode.VALUE_REQUIRED, "missing typed interface"
    for variables, kind in (
        (template.interface.inputs.variables, "input"),
        (template.interface.outputs.variables, "output"),
    ):
        for name in sorted(variables):
            if not name or variables[name].type.WhichOneof("type") is None:
                yield (
                    ErrorCode.VALUE_REQUIRED,
                    f"missing type of the {kind} [{name}]" if name else f"missing {kind} name",
                )
    match template.WhichOneof("target"):
        case "container":
            yield from _container_problems(template, limits)
        case "k8s_pod":
            yield from _pod_problems(template.k8s_pod, id_text(template.id), limits)
        case _:
            pass


def _container_problems(template: tasks_pb2.TaskTemplate, limits: Quantities) -> Iterator[tuple[ErrorCode, str]]:
    container = template.container
    if not container.image:
        yield ErrorCode.VALUE_REQUIRED, "missing image"
    exchanges = template.interface.inputs.variables or template.interface.outputs.variables
    if exchanges and not container.command and not container.args:
        yield ErrorCode.VALUE_REQUIRED, "Value required [container.command or container.args] of a task with variables"
    name = tasks_pb2.Resources.ResourceName.Name
    yield from _resource_problems(
        id_text(template.id),
        [(entry.name, name(entry.name), entry.value) for entry in container.resources.requests],
        [(entry.name, name(entry.name), entry.value) for entry in container.resources.limits],
        limits,
    )


def _pod_problems(pod: tasks_pb2.K8sPod, task: str, limits: Quantities) -> Iterator[tuple[ErrorCode, str]]:
    if not pod.HasField("pod_spec") or not pod.pod_spec.fields:
        yield (
            ErrorCode.VALUE_REQUIRED,
            "invalid TaskSpecification, pod tasks should specify their target as a K8sPod with a defined pod spec",
        )
        return
    for kind in ("containers", "initContainers"):
        if kind not in pod.pod_spec.fields:
            continue
        for value in pod.pod_spec.fields[kind].list_value.values:
            fields = value.struct_value.fields
            name = fields["name"].string_value if "name" in fields else ""
            if _DNS_LABEL.fullmatch(name) is None:
                yield (
                    ErrorCode.INVALID_VALUE,
                    f"invalid name [{name}] of a container of the pod: it must be a DNS-1123 label (a-z, 0-9 and -)",
                )
            resources = fields["resources"].struct_value if "resources" in fields else struct_pb2.Struct()
            yield from _resource_problems(
                task, _pod_entries(resources, "requests"), _pod_entries(resources, "limits"), limits
            )


_Entry: TypeAlias = tuple[tasks_pb2.Resources.ResourceName, str, str]
"""Resource, its name in messages, quantity."""


def _pod_entries(resources: struct_pb2.Struct, kind: str) -> list[_Entry]:
    if kind not in resources.fields:
        return []
    quantities = resources.fields[kind].struct_value.fields
    return [
        (_POD_RESOURCES[name], name, _pod_quantity(value))
        for name, value in quantities.items()
        if name in _POD_RESOURCES
    ]


def _pod_quantity(value: struct_pb2.Value) -> str:
    return f"{value.number_value:g}" if value.WhichOneof("kind") == "number_value" else value.string_value


def _resource_problems(
    task: str, requested: Iterable[_Entry], limited: Iterable[_Entry], platform: Quantities
) -> Iterator[tuple[ErrorCode, str]]:
    requests: _Amounts = {}
    limits: _Amounts = {}
    for entries, amounts in ((requested, requests), (limited, limits)):
        for problem in _amount_problems(task, entries, amounts):
            yield ErrorCode.INVALID_VALUE, problem
    allowed = {name: (text, parse_quantity(text)) for name, text in platform.items()}
    for name in sorted(requests.keys() | limits.keys()):
        for problem in _limit_problems(task, name, requests.get(name), limits.get(name), allowed.get(name)):
            yield ErrorCode.INVALID_VALUE, problem


def _amount_problems(task: str, entries: Iterable[_Entry], amounts: _Amounts) -> Iterator[str]:
    """Fill `amounts` from entries; what cannot be read or stands there twice is a problem."""
    for resource, name, text in entries:
        if resource == tasks_pb2.Resources.UNKNOWN:
            continue
        if resource in amounts:
            yield f"can't specify {name} limit for task [{task}] multiple times"
            continue
        try:
            amount = parse_quantity(text)
        except ValueError as error:
            yield (
                f"Parsing of {name} request failed for value {text} - reason {error}. Please follow K8s conventions "
                "for resources https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"
            )
            continue
        if amount < 0:
            yield f"{name} for [{task}] must not be negative, got: {text} instead"
        elif resource == tasks_pb2.Resources.GPU and amount != amount.to_integral_value():
            yield f"gpu for [{task}] must be a whole number, got: {text} instead"
        else:
            amounts[resource] = (text, amount)


def _limit_problems(
    task: str,
    resource: tasks_pb2.Resources.ResourceName,
    request: tuple[str, Decimal] | None,
    limit: tuple[str, Decimal] | None,
    allowed: tuple[str, Decimal] | None,
) -> Iterator[str]:
    name = tasks_pb2.Resources.ResourceName.Name(resource)
    if request is not None and limit is not None:
        if resource == tasks_pb2.Resources.GPU and request[1] != limit[1]:
            yield f"For extended resource 'gpu' the default value must equal the limit value for task [{task}]"
        elif request[1] > limit[1]:
            yield (
                f"Requested {name} default [{request[0]}] is greater than the limit [{limit[0]}]."
                " Please fix your configuration"
            )
    for kind, amount in (("limit", limit), ("default", request)):
        if amount is not None and allowed is not None and amount[1] > allowed[1]:
            yield (
                f"Requested {name} {kind} [{amount[0]}] is greater than current limit set in the platform "
                f"configuration [{allowed[0]}]. Please contact Flyte Admins to change these limits or consult the "
                "configuration"
            )
