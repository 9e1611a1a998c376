"""What the contracts of Journal, Leases, ExecutionStore and Sources need of the database below them.

The ports over it, and a way to look at rows and to do what others (the API, another engine, a bad line) do.

Implemented over the real Postgres and over the simulated one, so that the simulator is held to the truth.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.rows import NodeRow, TaskRow, Transition
from wingbeat_propeller.ports.executions import ExecutionStore
from wingbeat_propeller.ports.journal import Journal, Leases
from wingbeat_propeller.ports.sources import Sources

NOW = 1_700_000_000.25
"""Times in rows; exact as a float."""

Rejected = Callable[[Effects, Exception], None]
StoredRow = Mapping[str, object]


class EngineDatabase(Protocol):
    """See the module. Times in rows are seconds since the epoch."""

    def leases(self) -> Leases:
        """A member's view of the leases."""
        ...

    def journal(self, term: int, rejected: Rejected, *, lanes: int = 2, batch_rows_max: int = 4_000) -> Journal:
        """A journal of that term."""
        ...

    def store(self) -> ExecutionStore:
        """Where executions come from."""
        ...

    def sources(self) -> Sources:
        """What executions have done that others recover."""
        ...

    async def insert_workflow(self, closure: bytes) -> int:
        """Register a compiled workflow; returns its row id."""
        ...

    async def insert_executions(self, names: Sequence[str], *, shard: int = 0) -> list[ExecutionKey]:
        """Launch executions of project p and domain d, with config b"cfg" and inputs b"in"; returns their row ids."""
        ...

    async def request_abort(self, execution: ExecutionKey, cause: str) -> None:
        """Somebody terminates an execution."""
        ...

    async def expire(self, term: int) -> None:
        """The lease of that term is over."""
        ...

    async def end_term(self, term: int) -> None:
        """Somebody takes the shards of a term whose lease is over."""
        ...

    async def own(self, term: int, shards: Sequence[int]) -> None:
        """Free shards are taken for a term by a round whose answer is lost."""
        ...

    async def owned(self) -> Mapping[int, int]:
        """Shards that have an owner, with its term."""
        ...

    def cut(self) -> None:
        """The answer to the journal's next statement is lost, with its connection."""
        ...

    async def execution(self, execution: ExecutionKey) -> StoredRow:
        """The row of an execution: phase, started_at, ended_at, outputs, error_kind, error_code."""
        ...

    async def nodes(self, execution: ExecutionKey) -> Sequence[StoredRow]:
        """Rows of its nodes by node id: node_id, seq, phase, attempt, created_at, ended_at, inputs, outputs, error."""
        ...

    async def attempts(self, execution: ExecutionKey) -> Sequence[StoredRow]:
        """Rows of attempts by node id and number: node_id, attempt, name, phase."""
        ...

    async def transitions(self, execution: ExecutionKey) -> Sequence[tuple[str | None, int, int]]:
        """Its log: node id, attempt and phase, in order."""
        ...


def node_row(
    execution: ExecutionKey,
    node_id: str,
    phase: NodePhase,
    *,
    seq: int = 0,
    attempt: int = 0,
    node_name: str = "name",
    inputs: bytes | None = None,
    outputs: bytes | None = None,
    ended_at: float | None = None,
    failure: Failure | None = None,
) -> NodeRow:
    """A node of a workflow's own."""
    return NodeRow(
        execution, node_id, seq, node_id, None, None, node_name, 1, 0, phase, attempt, 0, NOW, NOW + phase,
        inputs=inputs, outputs=outputs, ended_at=ended_at, failure=failure,
    )  # fmt: skip


def task_row(execution: ExecutionKey, node_id: str, phase: int) -> TaskRow:
    """Attempt 0 of a task node."""
    return TaskRow(
        execution, node_id, 0, "p", "d", "task", "v", "python-task", f"e-{node_id}-0", phase, 0, NOW, NOW
    )  # fmt: skip


def effects_of(*nodes: NodeRow, tasks: Sequence[TaskRow] = ()) -> Effects:
    """Effects with these rows, and a transition for each node."""
    effects = Effects(nodes[0].execution)
    effects.nodes += nodes
    effects.tasks += tasks
    effects.transitions += [Transition(node.execution, node.node_id, node.attempt, node.phase, NOW) for node in nodes]
    return effects
