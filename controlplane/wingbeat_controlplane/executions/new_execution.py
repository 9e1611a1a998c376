"""An execution about to be inserted: which values go into the row and which become blobs beside it.

Tuples, since they are made by the ten thousand a second and nothing makes an immutable object faster.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wingbeat_controlplane.executions.decision import Decision
from wingbeat_controlplane.executions.names import ExecutionName
from wingbeat_controlplane.executions.searched import searched_inputs
from wingbeat_propeller.core.ids import shard_of
from wingbeat_propeller.core.values import INLINE_BYTES_MAX
from wingbeatidl.recovery.v1 import recovery_pb2


class BatchPlace(NamedTuple):
    """The row of a batch that an execution is, by the batch's row id, and which attempt of it."""

    batch_id: int
    row: int
    attempt: int


class NewExecution(NamedTuple):
    """Everything that was decided; `inputs` and `user_inputs` are serialized LiteralMaps."""

    id: ExecutionName
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
        return shard_of(*self.id)

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

    def row(self, base: str, shard: int, decision_number: int) -> tuple[object, ...]:
        """Parameters of the statement `insert_executions`, in which the execution has `decision_number`."""
        source = self.source_execution_id
        parent = self.decision.parent
        if source is None and parent is not None:
            source = parent.execution_id
        batch = self.batch
        return (
            *self.id,
            self.is_named,
            shard,
            decision_number,
            *self._columns(base, "inputs", self.inputs),
            *self._columns(base, "user_inputs", self.user_inputs),
            source,
            None if self.recovery is None else self.recovery.SerializeToString(),
            *((None, None, None) if batch is None else batch),
            searched_inputs(self.inputs),
        )

    def _columns(self, base: str, name: str, data: bytes) -> tuple[bytes | None, str | None]:
        return (data, None) if len(data) <= INLINE_BYTES_MAX else (None, self._uri(base, name))

    def _uri(self, base: str, name: str) -> str:
        project, domain, execution = self.id
        return f"{base}/metadata/admin/{project}/{domain}/{execution}/{name}"
