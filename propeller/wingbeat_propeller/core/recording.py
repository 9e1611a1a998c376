"""Rows of what a step changed, taken from the state as it stands at that moment."""

from wingbeat_propeller.core.caching import CacheSource
from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.phases import TaskPhase
from wingbeat_propeller.core.plan import NodeKind, Plan
from wingbeat_propeller.core.rows import (
    FLAG_ARRAY,
    FLAG_PARENT,
    ExecutionRow,
    LineageKind,
    LineageRow,
    NodeRow,
    TaskRow,
    Transition,
)
from wingbeat_propeller.core.state import ExecutionState, Frame, NodeRun

_FLAGS = {NodeKind.WORKFLOW: FLAG_PARENT, NodeKind.BRANCH: FLAG_PARENT, NodeKind.ARRAY: FLAG_ARRAY}
"""Clients read these before they look into a node: without its flag flytekit cannot show an array that failed, with it
it does not look at the attempts of a task that is one."""


class Recording:
    """Gathers the effects of one step at time `now` (seconds since the epoch)."""

    __slots__ = ("effects", "now", "state")

    def __init__(self, state: ExecutionState, now: float) -> None:
        self.state = state
        self.now = now
        self.effects = Effects(state.key)

    def execution_row(self) -> ExecutionRow:
        """The execution as it stands now."""
        state = self.state
        row = ExecutionRow(state.key, state.phase, self.now, state.started_at)
        self.effects.execution_row = row
        self.effects.transitions.append(Transition(state.key, None, 0, state.phase, self.now))
        return row

    def node_row(
        self,
        frame: Frame,
        run: NodeRun,
        node: int,
        *,
        inputs: bytes | None = None,
        input_uri: str | None = None,
        ended: bool = False,
        failure: Failure | None = None,
    ) -> NodeRow:
        """A node as it stands now; what is not given stays as it is stored."""
        plan = frame.plan
        kind = plan.kinds[node]
        row = NodeRow(  # in the order of its fields: two of these are made for every node, and names double the cost
            self.state.key,
            run.node_id,
            run.seq,
            plan.ids[node],
            run.parent_id,
            None if run.parent_id is None else run.parent_attempt,
            plan.names[node],
            kind,
            _flags(plan, node) | run.flags if kind in _FLAGS else run.flags,
            run.phase,
            run.attempt,
            run.system_failures,
            run.created_at,
            self.now,
            run.started_at,
            run.attempt_started_at,
            self.now if ended else None,
            inputs,
            input_uri,
            details=None if run.cache is None else run.cache.details(),
            memo=run.memo,
            retry_at=run.retry_at,
            cache_status=0 if run.cache is None else run.cache.status,
            inherited=run.inherited,
            failure=failure,
        )
        self.effects.nodes.append(row)
        self.effects.transitions.append(Transition(self.state.key, run.node_id, run.attempt, run.phase, self.now))
        return row

    def taken_from_cache(self, node_id: str, source: CacheSource, *, first: int = -1, count: int = 1) -> None:
        """A node, or a run of elements of one, has ended with what `source` and the elements after it made."""
        self.effects.lineage.append(
            LineageRow(
                LineageKind.CACHED,
                self.effects.execution,
                node_id,
                token=f"{source.project}:{source.domain}:{source.execution}",
                source_node_id=source.node_id,
                first=first,
                run_length=count,
                source_first=source.element,
            )
        )

    def recovered_from(self, node_id: str, source: ExecutionKey, source_node_id: str) -> None:
        """A node, or elements of an array, took over what `source_node_id` had come to."""
        row = LineageRow(
            LineageKind.RECOVERED,
            self.state.key,
            node_id,
            source_execution=source,
            source_node_id=source_node_id,
        )
        if row not in self.effects.lineage[-1:]:  # elements of one array come in a row
            self.effects.lineage.append(row)

    def task_over(
        self,
        frame: Frame,
        run: NodeRun,
        node: int,
        phase: TaskPhase,
        at: float,
        *,
        failure: Failure | None = None,
        details: bytes | None = None,
    ) -> None:
        """The end of the current attempt: its row, and its name for the runtime to forget."""
        if run.task_started_at is None:
            run.task_started_at = at
        if run.started_at is None:
            run.started_at = at
        if run.attempt_started_at is None:
            run.attempt_started_at = at
        self.task_row(frame, run, node, phase, ended_at=at, failure=failure, details=details)
        self.effects.ended.append(run.name)

    def task_row(
        self,
        frame: Frame,
        run: NodeRun,
        node: int,
        phase: TaskPhase,
        *,
        ended_at: float | None = None,
        failure: Failure | None = None,
        details: bytes | None = None,
    ) -> None:
        """The current attempt as it stands now."""
        task = frame.plan.attempted(node)
        if run.task_created_at is None:
            run.task_created_at = self.now
        self.effects.tasks.append(
            TaskRow(  # in the order of its fields, as above
                self.state.key,
                run.node_id,
                run.attempt,
                task.project,
                task.domain,
                task.name,
                task.version,
                task.type,
                run.generated_name,
                phase,
                run.task_version,
                run.task_created_at,
                self.now,
                run.task_started_at,
                ended_at,
                f"{run.data_dir}/inputs.pb",
                f"{run.output_dir}/outputs.pb" if phase is TaskPhase.SUCCEEDED else None,
                failure,
                details,
            )
        )


def _flags(plan: Plan, node: int) -> int:
    kind = plan.kinds[node]
    if kind is NodeKind.ARRAY and plan.array(node).appends_index:
        return 0
    return _FLAGS.get(kind, 0)
