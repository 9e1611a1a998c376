"""An execution about to be inserted: which values go into the row and which become blobs beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flyteidl.admin import common_pb2, execution_pb2, matchable_resource_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.executions.launch_attributes import LaunchAttributes
from wingbeat_controlplane.executions.launch_targets import LaunchTarget
from wingbeat_controlplane.executions.searched import searched_inputs, searched_labels
from wingbeat_controlplane.registry.deadlines import Deadlines
from wingbeat_propeller.core.ids import shard_of
from wingbeat_propeller.core.values import INLINE_BYTES_MAX
from wingbeatidl.recovery.v1 import recovery_pb2


@dataclass(frozen=True, slots=True)
class Parent:
    """The launch plan node that makes an execution, and what its child inherits."""

    execution_id: int
    node_id: str
    principal: str
    spec: execution_pb2.ExecutionSpec


@dataclass(frozen=True, slots=True)
class NewExecution:
    """Everything that was decided; `inputs` and `user_inputs` are serialized LiteralMaps."""

    identifier: identifier_pb2.WorkflowExecutionIdentifier
    target: LaunchTarget
    spec: execution_pb2.ExecutionSpec
    config: matchable_resource_pb2.WorkflowExecutionConfig
    attributes: LaunchAttributes
    notifications: Sequence[common_pb2.Notification]
    inputs: bytes
    user_inputs: bytes
    source_execution_id: int | None
    recovery: recovery_pb2.Recovery | None
    parent: Parent | None
    deadlines: Deadlines
    known_inputs: Sequence[tuple[str, str]] = ()
    """What values among the inputs are known by in other executions, as (variable, token)."""

    def blobs(self, base: str) -> Mapping[str, bytes]:
        """Values too large for a row, by URI in the store with URI prefix `base`."""
        named = {"inputs": self.inputs, "user_inputs": self.user_inputs}
        return {self._uri(base, name): data for name, data in named.items() if len(data) > INLINE_BYTES_MAX}

    def row(self, base: str, *, waits: bool) -> tuple[object, ...]:
        """Parameters of the statement `insert_execution`; `waits`: for its turn in the line of its launch plan."""
        tags = self._tags()
        source = self.source_execution_id
        if source is None and self.parent is not None:
            source = self.parent.execution_id
        return (
            self.identifier.project,
            self.identifier.domain,
            self.identifier.name,
            shard_of(self.identifier.project, self.identifier.domain, self.identifier.name),
            "launch_plan" if self.target.task_id is None else "task",
            self.target.launch_plan_id if self.target.task_id is None else None,
            self.target.workflow_id,
            self.target.task_id,
            self.spec.SerializeToString(),
            self.config.SerializeToString(),
            execution_pb2.NotificationList(notifications=self.notifications).SerializeToString(),
            *self._columns(base, "inputs", self.inputs),
            *self._columns(base, "user_inputs", self.user_inputs),
            self.spec.metadata.mode,
            self.spec.metadata.principal,
            source,
            None if self.parent is None else self.parent.execution_id,
            None if self.parent is None else self.parent.node_id,
            [key for key, _ in tags],
            [value for _, value in tags],
            *self._attribute_columns(),
            waits,
            self.target.overlap.alive_max if waits and self.target.overlap is not None else None,
            self.deadlines.queue_s,
            self.deadlines.run_s,
            None if self.recovery is None else self.recovery.SerializeToString(),
            searched_labels(self.config.labels.values),
            searched_inputs(self.inputs),
        )

    def _attribute_columns(self) -> tuple[object, ...]:
        attributes = self.attributes
        quality = attributes.quality_of_service
        return (
            attributes.task_resources.SerializeToString() or None,
            attributes.plugin_overrides.SerializeToString() or None,
            None if quality is None else quality.SerializeToString(),
            attributes.cluster_label or None,
            attributes.cluster_pool or None,
            list(attributes.queue_tags) or None,
        )

    def _columns(self, base: str, name: str, data: bytes) -> tuple[bytes | None, str | None]:
        return (data, None) if len(data) <= INLINE_BYTES_MAX else (None, self._uri(base, name))

    def _uri(self, base: str, name: str) -> str:
        identifier = self.identifier
        return f"{base}/metadata/admin/{identifier.project}/{identifier.domain}/{identifier.name}/{name}"

    def _tags(self) -> list[tuple[str, str]]:
        """Tags have no value. Labels are those the execution runs with, so that all its objects are found by them."""
        return [*((tag, "") for tag in self.spec.tags), *self.config.labels.values.items()]
