"""What a launch decides from its settings alone, and everything it looks up for that. Pure.

Executions launched together mostly differ in name and inputs only, so what does not depend on these is decided once for
all of them: settings, attributes, deadlines, the spec as it is shown. The columns made of it are serialized once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from flyteidl.admin import common_pb2, execution_pb2, matchable_resource_pb2, project_pb2

from wingbeat_controlplane.executions.effective_settings import resolve_notifications, resolve_settings
from wingbeat_controlplane.executions.launch_attributes import LaunchAttributes, matching_configs, resolve_attributes
from wingbeat_controlplane.executions.launch_targets import LaunchTarget
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.executions.searched import searched_labels
from wingbeat_controlplane.executions.shown_spec import shown_spec
from wingbeat_controlplane.registry.attributes import Match
from wingbeat_controlplane.registry.deadlines import Deadlines, stated_deadlines
from wingbeat_controlplane.registry.priorities import stated_priority

_EAGER_LABEL = "eager-exec"
"""What an eager task launches, flytekit labels so."""


@dataclass(frozen=True)
class Surroundings:
    """What is looked up for a launch: the same for all that run one target in one project and domain at one time. The
    messages are shared: read only."""

    project: project_pb2.Project
    target: LaunchTarget
    matches: Sequence[Match]
    """Attributes for the workflow where the execution runs."""
    workflow_matches: Sequence[Match]
    """And where the workflow is registered."""

    @cached_property
    def content(self) -> tuple[object, ...]:
        """Equal for equal project and attributes."""
        return (self.project.SerializeToString(), _content(self.matches), _content(self.workflow_matches))


@dataclass(frozen=True, slots=True)
class Parent:
    """The launch plan node that makes an execution, and what its child inherits."""

    execution_id: int
    node_id: str
    principal: str
    spec: execution_pb2.ExecutionSpec


@dataclass(frozen=True)
class Decision:
    """Everything about an execution but its name and inputs. The messages are shared: read only."""

    target: LaunchTarget
    spec: execution_pb2.ExecutionSpec
    config: matchable_resource_pb2.WorkflowExecutionConfig
    attributes: LaunchAttributes
    notifications: Sequence[common_pb2.Notification]
    deadlines: Deadlines
    priority: int
    parent: Parent | None

    @cached_property
    def tags(self) -> Sequence[tuple[str, str]]:
        """Keys and values. Tags have no value. Labels are those the execution runs with, so that all its objects are
        found by them."""
        return [*((tag, "") for tag in self.spec.tags), *self.config.labels.values.items()]

    @cached_property
    def is_awaited(self) -> bool:
        """Whether another execution waits for it."""
        return self.parent is not None or any(key == _EAGER_LABEL for key, _ in self.tags)

    @cached_property
    def digest(self) -> bytes:
        """Equal for decisions that make executions run the same, as far as the request does not say it already."""
        attributes = self.attributes
        digest = hashlib.sha256(f"{attributes.cluster_label}\n{attributes.cluster_pool}\n".encode())
        digest.update(f"{attributes.queue_tags}\n{self.deadlines}\n{self.priority}\n".encode())
        for message in (self.config, attributes.task_resources, attributes.plugin_overrides):
            data = message.SerializeToString(deterministic=True)
            digest.update(len(data).to_bytes(8) + data)
        return digest.digest()

    @cached_property
    def columns(self) -> tuple[object, ...]:
        """Parameters of the statement `insert_executions`, from `launch_entity` to `searched_labels`. Queue tags are
        written as Postgres writes an array."""
        target, attributes, parent = self.target, self.attributes, self.parent
        quality = attributes.quality_of_service
        overlap = target.overlap
        return (
            "launch_plan" if target.task_id is None else "task",
            target.launch_plan_id if target.task_id is None else None,
            target.workflow_id,
            target.task_id,
            self.spec.SerializeToString(),
            self.config.SerializeToString(),
            execution_pb2.NotificationList(notifications=self.notifications).SerializeToString(),
            self.spec.metadata.mode,
            self.spec.metadata.principal,
            None if parent is None else parent.execution_id,
            None if parent is None else parent.node_id,
            attributes.task_resources.SerializeToString() or None,
            attributes.plugin_overrides.SerializeToString() or None,
            None if quality is None else quality.SerializeToString(),
            attributes.cluster_label or None,
            attributes.cluster_pool or None,
            _array_text(attributes.queue_tags) if attributes.queue_tags else None,
            None if overlap is None else overlap.alive_max,
            self.deadlines.queue_s,
            self.deadlines.run_s,
            self.is_awaited,
            self.priority,
            searched_labels(self.config.labels.values),
        )


def decide(
    request: execution_pb2.ExecutionCreateRequest,
    surroundings: Surroundings,
    options: ExecutionOptions,
    *,
    principal: str,
    parent: Parent | None = None,
) -> Decision:
    """What `request`, whose form has been checked, comes to; its name and inputs are not looked at. `principal` is the
    authenticated subject. Raises ApiError INVALID_ARGUMENT."""
    target = surroundings.target
    configs = matching_configs(surroundings.matches)
    config = resolve_settings(
        request.spec,
        target.settings,
        configs,
        options.defaults,
        project_labels=surroundings.project.labels.values,
        caller=principal,
    )
    parent_spec = None if parent is None else parent.spec
    layers = (*configs, options.defaults)
    return Decision(
        target=target,
        spec=shown_spec(
            request, config, principal=principal if parent is None else parent.principal, parent=parent_spec
        ),
        config=config,
        attributes=resolve_attributes(
            request,
            target.settings,
            parent_spec,
            matches=surroundings.matches,
            workflow_matches=surroundings.workflow_matches,
            platform_resources=options.task_resources,
        ),
        notifications=resolve_notifications(request.spec, target.spec),
        deadlines=_deadlines(request.spec, target, layers),
        priority=_priority(request.spec, target, layers),
        parent=parent,
    )


def _deadlines(
    request: execution_pb2.ExecutionSpec,
    target: LaunchTarget,
    configs: Sequence[matchable_resource_pb2.WorkflowExecutionConfig],
) -> Deadlines:
    """Each from the first that says it: request, launch plan, then `configs`."""
    deadlines = stated_deadlines(request.annotations.values, request.quality_of_service).over(target.deadlines)
    for config in configs:
        deadlines = deadlines.over(stated_deadlines(config.annotations.values))
    return deadlines


def _priority(
    request: execution_pb2.ExecutionSpec,
    target: LaunchTarget,
    configs: Sequence[matchable_resource_pb2.WorkflowExecutionConfig],
) -> int:
    """Likewise."""
    for layer in (request, target.settings, *configs):
        priority = stated_priority(layer.annotations.values)
        if priority is not None:
            return priority
    return 0


def _content(matches: Sequence[Match]) -> tuple[object, ...]:
    return tuple((match.level, match.resource_type, match.attributes.SerializeToString()) for match in matches)


def _array_text(texts: Sequence[str]) -> str:
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in escaped) + "}"
