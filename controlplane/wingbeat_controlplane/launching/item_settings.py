"""What an item says beside its name, key and inputs, with what its template says where it says nothing. Pure.

Many items of a call say the same, so the result is made once for all of them. It is the request of CreateExecution that
the item stands for, still without a version where the item leaves that open, and a digest that is equal for items that
mean the same however template and item share it.
"""

import hashlib
from dataclasses import dataclass

from flyteidl.admin import execution_pb2
from google.protobuf.message import DecodeError

from wingbeat_controlplane.launching.refusals import invalid_field
from wingbeat_controlplane.registry.own_annotations import PRIORITY
from wingbeat_controlplane.registry.priorities import PRIORITY_MAX
from wingbeatidl.launch.v1 import item_pb2

NOTHING = b""
"""The key of items that say nothing themselves."""

_TEXT_LENGTH_MAX = 2048


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for all items of a call."""

    project: str
    domain: str
    template: item_pb2.LaunchTemplate


@dataclass(frozen=True, slots=True)
class ItemSettings:
    """Target and settings of items. The messages are shared: read only."""

    project: str
    domain: str
    target: item_pb2.Target
    """With kind, project, domain, and a version or a selection."""
    spec: execution_pb2.ExecutionSpec
    """Without a launch plan."""
    digest: bytes


def settings_key(item: item_pb2.LaunchItem) -> bytes:
    """Equal for items that say the same about their settings; NOTHING for those that say nothing."""
    if not (
        item.HasField("target")
        or item.HasField("overrides")
        or item.HasField("priority")
        or item.labels
        or item.annotations
        or item.project
        or item.domain
    ):
        return NOTHING
    rest = item_pb2.LaunchItem()
    rest.CopyFrom(item)
    for field in ("inputs", "name", "idempotency_key"):
        rest.ClearField(field)
    return rest.SerializeToString(deterministic=True)


def settings_of(item: item_pb2.LaunchItem, defaults: Defaults) -> ItemSettings:
    """Item over template. Raises RefusedError."""
    template = defaults.template
    project, domain = item.project or defaults.project, item.domain or defaults.domain
    target = _target(item.target if item.HasField("target") else template.target, project, domain)
    overrides = item_pb2.Overrides()
    overrides.CopyFrom(template.overrides)
    overrides.MergeFrom(item.overrides)
    spec = _spec(overrides)
    for labels in (template.labels, item.labels):
        spec.labels.values.update(labels)
    for annotations in (template.annotations, item.annotations):
        spec.annotations.values.update(annotations)
    priority = _priority(template, item)
    if priority is not None:
        spec.annotations.values[PRIORITY] = str(priority)
    digest = hashlib.sha256()
    for part in (
        project.encode(),
        domain.encode(),
        target.SerializeToString(deterministic=True),
        spec.SerializeToString(deterministic=True),
    ):
        digest.update(len(part).to_bytes(8) + part)
    return ItemSettings(project, domain, target, spec, digest.digest())


def _target(said: item_pb2.Target, project: str, domain: str) -> item_pb2.Target:
    if not said.name:
        raise invalid_field("target.name", "neither the item nor the template names what to launch")
    if said.kind not in item_pb2.TargetKind.values():
        raise invalid_field("target.kind", f"there is no kind {said.kind}")
    if said.selection not in item_pb2.VersionSelection.values():
        raise invalid_field("target.selection", f"there is no selection {said.selection}")
    target = item_pb2.Target(
        kind=said.kind or item_pb2.TARGET_KIND_LAUNCH_PLAN,
        project=said.project or project,
        domain=said.domain or domain,
        name=said.name,
        version=said.version,
        selection=item_pb2.VERSION_SELECTION_UNSPECIFIED
        if said.version
        else said.selection or item_pb2.VERSION_SELECTION_NEWEST,
    )
    for field in ("project", "domain", "name", "version"):
        text: str = getattr(target, field)
        if len(text) > _TEXT_LENGTH_MAX or "\0" in text:
            raise invalid_field(f"target.{field}", f"at most {_TEXT_LENGTH_MAX} characters without NUL are expected")
    if target.kind == item_pb2.TARGET_KIND_TASK and target.selection == item_pb2.VERSION_SELECTION_ACTIVE:
        raise invalid_field("target.selection", "tasks have no active version: name one, or select the newest")
    return target


def _priority(template: item_pb2.LaunchTemplate, item: item_pb2.LaunchItem) -> int | None:
    for said in (item, template):
        if said.HasField("priority"):
            if abs(said.priority) > PRIORITY_MAX:
                raise invalid_field("priority", f"a number from -{PRIORITY_MAX} to {PRIORITY_MAX} is expected")
            return said.priority
    return None


def _spec(overrides: item_pb2.Overrides) -> execution_pb2.ExecutionSpec:
    try:
        spec = execution_pb2.ExecutionSpec.FromString(overrides.execution_spec)
    except DecodeError:
        raise invalid_field("overrides.execution_spec", "the bytes are no flyteidl.admin.ExecutionSpec") from None
    for field in ("launch_plan", "inputs", "labels", "annotations", "metadata"):
        spec.ClearField(field)
    if overrides.max_parallelism < 0:
        raise invalid_field("overrides.max_parallelism", "a number of at least 0 is expected")
    spec.max_parallelism = overrides.max_parallelism or spec.max_parallelism
    if overrides.envs:
        del spec.envs.values[:]
        for key in sorted(overrides.envs):
            spec.envs.values.add(key=key, value=overrides.envs[key])
    if overrides.raw_output_prefix:
        spec.raw_output_data_config.output_location_prefix = overrides.raw_output_prefix
    if overrides.HasField("interruptible"):
        spec.interruptible.value = overrides.interruptible
    if overrides.HasField("overwrite_cache"):
        spec.overwrite_cache = overrides.overwrite_cache
    if overrides.service_account:
        spec.security_context.run_as.k8s_service_account = overrides.service_account
    if overrides.iam_role:
        spec.security_context.run_as.iam_role = overrides.iam_role
    spec.tags.extend(overrides.tags)
    return spec
