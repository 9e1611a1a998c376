"""An execution about to be inserted: which values go into the row and which become blobs beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flyteidl.core import identifier_pb2

from wingbeat_controlplane.executions.decision import Decision
from wingbeat_controlplane.executions.searched import searched_inputs
from wingbeat_propeller.core.ids import shard_of
from wingbeat_propeller.core.values import INLINE_BYTES_MAX
from wingbeatidl.recovery.v1 import recovery_pb2


@dataclass(frozen=True, slots=True)
class BatchPlace:
    """The row of a batch that an execution is, by the batch's row id, and which attempt of it."""

    batch_id: int
    row: int
    attempt: int


@dataclass(frozen=True, slots=True)
class NewExecution:
    """Everything that was decided; `inputs` and `user_inputs` are serialized LiteralMaps."""

    identifier: identifier_pb2.WorkflowExecutionIdentifier
    decision: Decision
    inputs: bytes
    user_inputs: bytes
    is_named: bool = True
    """Whether the caller chose the name, so that others may choose it as well."""
    source_execution_id: int | None = None
    recovery: recovery_pb2.Recovery | None = None
    batch: BatchPlace | None = None
    known_inputs: Sequence[tuple[str, str]] = ()
    """What values among the inputs are known by in other executions, as (variable, token)."""
    used_artifacts: Sequence[tuple[int, str]] = ()
    """Artifacts that were found for inputs, as (row id, variable)."""
    inherits_artifacts: bool = False
    """The inputs are those of the source execution, artifacts and all."""

    @property
    def shard(self) -> int:
        """Whose engine drives it."""
        return shard_of(self.identifier.project, self.identifier.domain, self.identifier.name)

    @property
    def has_lineage(self) -> bool:
        """Whether anything ties the inputs to other executions."""
        return bool(self.known_inputs or self.used_artifacts or self.inherits_artifacts)

    @property
    def needs_transaction(self) -> bool:
        """Whether more is to be done than to insert a row: values that do not fit into it, lineage, a launch plan that
        limits its executions."""
        return (
            len(self.inputs) > INLINE_BYTES_MAX
            or len(self.user_inputs) > INLINE_BYTES_MAX
            or self.has_lineage
            or self.decision.target.overlap is not None
        )

    def blobs(self, base: str) -> Mapping[str, bytes]:
        """Values too large for a row, by URI in the store with URI prefix `base`."""
        named = {"inputs": self.inputs, "user_inputs": self.user_inputs}
        return {self._uri(base, name): data for name, data in named.items() if len(data) > INLINE_BYTES_MAX}

    def row(self, base: str, *, waits: bool) -> tuple[object, ...]:
        """Parameters of the statement `insert_executions`; `waits`: for its turn in the line of its launch plan."""
        identifier = self.identifier
        decision = self.decision
        parent = decision.parent
        source = self.source_execution_id
        if source is None and parent is not None:
            source = parent.execution_id
        overlap = decision.target.overlap
        batch = self.batch
        return (
            identifier.project,
            identifier.domain,
            identifier.name,
            self.is_named,
            self.shard,
            *decision.entity_columns,
            *self._columns(base, "inputs", self.inputs),
            *self._columns(base, "user_inputs", self.user_inputs),
            decision.spec.metadata.mode,
            decision.spec.metadata.principal,
            source,
            None if parent is None else parent.execution_id,
            None if parent is None else parent.node_id,
            *decision.attribute_columns,
            waits,
            overlap.alive_max if waits and overlap is not None else None,
            decision.deadlines.queue_s,
            decision.deadlines.run_s,
            None if self.recovery is None else self.recovery.SerializeToString(),
            decision.is_awaited,
            decision.priority,
            None if batch is None else batch.batch_id,
            None if batch is None else batch.row,
            None if batch is None else batch.attempt,
            decision.searched_labels,
            searched_inputs(self.inputs),
        )

    def _columns(self, base: str, name: str, data: bytes) -> tuple[bytes | None, str | None]:
        return (data, None) if len(data) <= INLINE_BYTES_MAX else (None, self._uri(base, name))

    def _uri(self, base: str, name: str) -> str:
        identifier = self.identifier
        return f"{base}/metadata/admin/{identifier.project}/{identifier.domain}/{identifier.name}/{name}"
