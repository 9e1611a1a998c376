"""Where an execution that recovers another one comes from: its source, and what of it may be taken over.

Read when the execution is taken up, new or after a crash; all that goes into it is fixed, so it is the same each time.
Comparing large plans is work for the processor, done in a thread.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from flyteidl.admin import matchable_resource_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.compiler.comparison import NO_RULES, Rules, compare_plans
from wingbeat_propeller.compiler.plan import MalformedClosureError
from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.reuse import ALL, Reuse, futures_uri_of, inherited_workflow
from wingbeat_propeller.core.rows import ExecutionRecord
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError
from wingbeat_propeller.engine.dynamics import DynamicPlan, Dynamics
from wingbeat_propeller.engine.live import LiveExecution, Source
from wingbeat_propeller.engine.plans import PlanCache
from wingbeat_propeller.ports.blobs import BlobNotFoundError, BlobTooLargeError
from wingbeat_propeller.ports.sources import Sources
from wingbeatidl.recovery.v1 import recovery_pb2

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Origin:
    """What is recovered, and how far it means the same."""

    source: Source
    reuse: Reuse


async def find_origin(sources: Sources, plans: PlanCache, record: ExecutionRecord, plan: Plan) -> Origin | None:
    """None for an execution that recovers nothing, or whose source is not there any more.

    `plan` is the execution's own. Raises OSError for an outage, DecodeError, and as `PlanCache.get` for the source's
    workflow.
    """
    if record.recovery is None:
        return None
    recovery = recovery_pb2.Recovery.FromString(record.recovery)
    found = await sources.execution(recovery.source)
    if found is None:
        _log.warning("nothing is left of the execution that is recovered", execution=record.name)
        return None
    config = matchable_resource_pb2.WorkflowExecutionConfig.FromString(found.config)
    prefix = config.raw_output_data_config.output_location_prefix.rstrip("/")
    rules = rules_of(recovery)
    same_version = found.workflow_id == record.workflow_id
    reuse = ALL
    if not same_version or rules != NO_RULES:
        before = await plans.get(found.workflow_id)
        reuse = (await asyncio.to_thread(compare_plans, before, plan, rules)).reuse()
    return Origin(Source(found.execution, found.name, prefix, same_version, rules), reuse)


def rules_of(recovery: recovery_pb2.Recovery) -> Rules:
    """What is kept of a recovery, as the comparison wants it."""

    def key(plan: recovery_pb2.LaunchPlanIdentifier) -> tuple[str, str, str, str]:
        return (plan.project, plan.domain, plan.name, plan.version)

    return Rules(
        rerun=tuple(recovery.rerun),
        rerun_nodes=frozenset(recovery.rerun_nodes),
        assume_unchanged=tuple(recovery.assume_unchanged),
        assume_unchanged_nodes=frozenset(recovery.assume_unchanged_nodes),
        trusts_code=recovery.trusts_code,
        changed_inputs=frozenset(recovery.changed_inputs),
        equal_launch_plans=frozenset((key(pair.before), key(pair.after)) for pair in recovery.equal_launch_plans),
        changed_inside=frozenset(recovery.changed_inside),
    )


async def compile_made(dynamics: Dynamics, live: LiveExecution, launch: Launch) -> DynamicPlan | Failure:
    """The workflow that a task has made, and what of it may be taken over if the execution recovers another one."""
    made = await dynamics.compile(live.state, launch)
    if isinstance(made, Failure):
        return made
    try:
        reuse = await made_reuse(dynamics, live.source, launch.node_id, launch.inherited, made.plan, made.futures_uri)
    except BlobStoreFailedError as error:
        _log.warning("nothing inside of a dynamic node is reused", node=launch.node_id, error=str(error))
        return made
    return made._replace(reuse=reuse)


async def made_reuse(
    dynamics: Dynamics, source: Source | None, node_id: str, inherited: str | None, plan: Plan, futures_uri: str
) -> Reuse | None:
    """What may be taken over in the workflow `plan` of a dynamic node, which was made as `futures_uri` says.

    `inherited` is what the node took over: the workflow that the task had made in the source, if it had. Another one is
    compared with it as two versions of a workflow are, since its ids need not mean the same. Raises
    BlobStoreFailedError.
    """
    workflow = inherited_workflow(inherited)
    if source is None or workflow is None:
        return None
    is_the_same = futures_uri == workflow.futures_uri
    if is_the_same and not (source.rules.rerun or source.rules.rerun_nodes):
        return ALL
    try:
        before = plan if is_the_same else await dynamics.load(workflow.futures_uri)
    except (BlobNotFoundError, BlobTooLargeError, MalformedClosureError, DecodeError) as error:
        _log.warning("nothing inside of a dynamic node is reused", node=node_id, error=str(error))
        return None
    return (await asyncio.to_thread(compare_plans, before, plan, source.rules, node_id)).reuse()


async def made_reuses(
    dynamics: Dynamics, source: Source | None, record: ExecutionRecord, plans: Mapping[tuple[str, int], Plan]
) -> dict[tuple[str, int], Reuse]:
    """The same for the nodes of an execution that is rebuilt, by unique id and attempt."""
    found: dict[tuple[str, int], Reuse] = {}
    for row in record.nodes:
        plan = plans.get((row.node_id, row.attempt))
        if plan is not None and source is not None:
            uri = futures_uri_of(row)
            reuse = await made_reuse(dynamics, source, row.node_id, row.inherited, plan, uri)
            if reuse is not None:
                found[row.node_id, row.attempt] = reuse
    return found
