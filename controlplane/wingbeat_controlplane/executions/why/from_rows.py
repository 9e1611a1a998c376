"""The answer that the rows give while no engine does: the state is rebuilt from them, as an engine that takes the
execution over would, and asked. What is rebuilt is looked at once and thrown away.

An execution may have many nodes, so building and asking happen in a thread.
"""

import asyncio
import time
from collections.abc import Mapping

from flyteidl.admin import matchable_resource_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.compiler.plan import MalformedClosureError
from wingbeat_propeller.core.kinds import KINDS
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.recovery import MalformedRowsError, rebuild
from wingbeat_propeller.core.rows import ExecutionRecord
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.values import MalformedLiteralMapError, stored_values
from wingbeat_propeller.core.waiting.explanation import explain
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError
from wingbeat_propeller.engine.dynamics import Dynamics
from wingbeat_propeller.engine.plans import PlanCache
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeatidl.query.v1 import why_pb2

PLANS_MAX = 32
"""Workflow versions whose plans are kept."""


class RowsUnreadableError(Exception):
    """The rows and the workflow do not make a state; an engine would fail the execution."""


class FromRows:
    """Explains executions without their engines."""

    def __init__(self, store: PostgresExecutionStore, blobs: Blobs) -> None:
        self._store = store
        self._dynamics = Dynamics(blobs, store)
        self._plans = PlanCache(store.workflow_closure, PLANS_MAX)

    async def plan(self, workflow_id: int) -> Plan:
        """The plan of a stored workflow. Raises RowsUnreadableError."""
        try:
            return await self._plans.get(workflow_id)
        except (MalformedClosureError, LookupError) as error:
            raise RowsUnreadableError(str(error)) from error

    async def explain(
        self, key: int, shard: int, question: str, nodes_max: int, condition: why_pb2.Engine
    ) -> why_pb2.WhyResponse | None:
        """What the rows tell of an execution that has begun and not ended; None when it has no node that `question`
        means, or has just ended.

        Where more than the rows would have to be known, `condition` says why it is not. Raises RowsUnreadableError.
        """
        records = await self._store.live_executions([shard], after=key - 1, limit=1)
        if not records or records[0].execution != key:
            return None
        record = records[0]
        plan = await self.plan(record.workflow_id)
        try:
            dynamic_plans = await self._dynamics.load_all(record.nodes, record.elements)
        except (
            BlobStoreFailedError,
            BlobNotFoundError,
            BlobTooLargeError,
            MalformedClosureError,
            DecodeError,
        ) as error:
            raise RowsUnreadableError(f"the workflow that a dynamic task has made cannot be read: {error}") from error
        return await asyncio.to_thread(_explain, record, plan, dynamic_plans, question, nodes_max, condition)


def _explain(
    record: ExecutionRecord,
    plan: Plan,
    dynamic_plans: Mapping[tuple[str, int], Plan],
    question: str,
    nodes_max: int,
    condition: why_pb2.Engine,
) -> why_pb2.WhyResponse | None:
    config = matchable_resource_pb2.WorkflowExecutionConfig.FromString(record.config)
    settings = Settings(base_uri="", max_parallelism=config.max_parallelism)
    state = ExecutionState(record.execution, record.project, record.domain, record.name, plan, settings)
    try:
        inputs = stored_values(record.inputs, record.inputs_uri, plan.input_names)
        rebuild(
            state,
            record.nodes,
            inputs,
            elements=record.elements,
            started_at=record.started_at,
            now=time.time(),
            dynamic_plans=dynamic_plans,
        )
    except (MalformedRowsError, MalformedLiteralMapError) as error:
        raise RowsUnreadableError(str(error)) from error
    found = explain(state, KINDS, question, nodes_max=nodes_max)
    if found is None:
        return None
    rows = {row.node_id for row in record.nodes}
    for _, node in found.nodes:
        _temper(node, condition, has_row=node.node_id in rows)
    return why_pb2.WhyResponse(
        nodes=[node for _, node in found.nodes],
        asked=found.asked,
        root_causes=found.roots,
        root_cause_count=found.root_count,
        node_count=found.node_count,
    )


_IN_MOTION = frozenset(
    {
        why_pb2.STANDING_PREPARING,
        why_pb2.STANDING_QUEUED,
        why_pb2.STANDING_STARTING,
        why_pb2.STANDING_RUNNING,
        why_pb2.STANDING_WAITING,
    }
)


def _temper(node: why_pb2.NodeAnswer, condition: why_pb2.Engine, *, has_row: bool) -> None:
    """Say no more than the rows do: what has no row is ready and no more, and where it is queued nobody knows."""
    if node.standing not in _IN_MOTION:
        return
    if not has_row:
        node.standing = why_pb2.STANDING_READY
        node.ClearField("since")
        node.ClearField("deadline")
        node.ClearField("phase")
        node.ClearField("reasons")
        node.reasons.add(engine=condition)
    elif node.standing in (why_pb2.STANDING_QUEUED, why_pb2.STANDING_STARTING):
        node.reasons.add(engine=condition)
