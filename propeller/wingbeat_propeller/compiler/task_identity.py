"""What makes a task of one version the same as its namesake in another: what it is told to do, and which code does it.

Registering a program again gives every task a new version, and those of flytekit a new distribution of their code when
any file of the program has changed. So the two are told apart: the *definition* is the template without its version and
without what only bears on how it is carried out (retries, timeouts, resources, texts for people); the *code* is the
images of its containers and the distribution that it unpacks. A cache version counts as part of the definition: raising
it is how people say that a task means something else now.

A tag of an image that was moved, and code that lies in the image under the same tag, cannot be seen from here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from flyteidl.core import tasks_pb2
from google.protobuf import struct_pb2

from wingbeat_propeller.compiler.digest import structure_diff

DISTRIBUTION_ARGUMENT = "--additional-distribution"
"""What follows it in the arguments of a task is the distribution of its code."""

_OF_THE_REGISTRATION = frozenset({"_F_SS_C", "FLYTE_INTERNAL_IMAGE"})
"""Environment that flytekit sets when it registers: settings with version, images and distribution once more."""
_POD_KEYS_LEFT_OUT = ("image", "resources")


@dataclass(frozen=True, slots=True)
class TaskIdentity:
    """A task as far as it matters for what comes out of it."""

    definition: tasks_pb2.TaskTemplate
    code: tuple[str, ...]
    """Images and distributions, in the order of the containers."""


@lru_cache(maxsize=2_000)
def _identity(serialized: bytes) -> TaskIdentity:
    template = tasks_pb2.TaskTemplate.FromString(serialized)
    code: list[str] = []
    template.id.version = ""
    metadata = tasks_pb2.TaskMetadata()
    if template.metadata.discoverable:
        metadata.discoverable = True
        metadata.discovery_version = template.metadata.discovery_version
    template.metadata.CopyFrom(metadata)
    template.ClearField("extended_resources")
    for variables in (template.interface.inputs, template.interface.outputs):
        for name in variables.variables:
            variables.variables[name].ClearField("description")
    if template.HasField("container"):
        _reduce_container(template.container, code)
    for pod in _pods(template):
        _reduce_pod(pod, code)
    return TaskIdentity(template, tuple(code))


def task_identity(template: tasks_pb2.TaskTemplate) -> TaskIdentity:
    """Definition and code of a template to which the overrides of its node have been applied."""
    return _identity(template.SerializeToString(deterministic=True))


def definition_changes(before: TaskIdentity, after: TaskIdentity) -> str | None:
    """What differs between two definitions, by path; None when they are equal."""
    if before.definition == after.definition:
        return None
    return structure_diff(before.definition, after.definition)


def _reduce_container(container: tasks_pb2.Container, code: list[str]) -> None:
    code.append(container.image)
    container.ClearField("image")
    container.ClearField("resources")
    arguments = list(_without_distribution(container.args, code))
    del container.args[:]
    container.args.extend(arguments)
    environment = [pair for pair in container.env if pair.key not in _OF_THE_REGISTRATION]
    del container.env[:]
    container.env.extend(environment)


def _without_distribution(arguments: Iterable[str], code: list[str]) -> Iterator[str]:
    follows = False
    for argument in arguments:
        if follows:
            code.append(argument)
        else:
            yield argument
        follows = argument == DISTRIBUTION_ARGUMENT


def _pods(template: tasks_pb2.TaskTemplate) -> Iterator[struct_pb2.Struct]:
    """Specs of pods in each of the shapes that a template may have them in."""
    if template.HasField("k8s_pod"):
        yield template.k8s_pod.pod_spec
    elif template.type == "sidecar":
        custom = template.custom
        yield custom.fields["podSpec"].struct_value if "podSpec" in custom.fields else custom


def _reduce_pod(spec: struct_pb2.Struct, code: list[str]) -> None:
    for key in ("initContainers", "containers"):
        if key not in spec.fields:
            continue
        for value in spec.fields[key].list_value.values:
            container = value.struct_value
            if "image" in container.fields:
                code.append(container.fields["image"].string_value)
            for left_out in _POD_KEYS_LEFT_OUT:
                container.fields.pop(left_out, None)
            if "args" in container.fields:
                given = [argument.string_value for argument in container.fields["args"].list_value.values]
                arguments = struct_pb2.ListValue()
                arguments.extend(list(_without_distribution(given, code)))
                container.fields["args"].list_value.CopyFrom(arguments)
            if "env" in container.fields:
                pairs = container.fields["env"].list_value.values
                kept = [pair for pair in pairs if _name_of(pair) not in _OF_THE_REGISTRATION]
                container.fields["env"].list_value.CopyFrom(struct_pb2.ListValue(values=kept))


def _name_of(pair: struct_pb2.Value) -> str:
    fields = pair.struct_value.fields
    return fields["name"].string_value if "name" in fields else ""
