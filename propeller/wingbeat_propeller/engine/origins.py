"""Where an execution that recovers another one comes from: its source, and what of it may be taken over.

Read when the execution is taken up, new or after a crash; all that goes into it is fixed, so it is the same each time.
"""

from dataclasses import dataclass

import structlog
from flyteidl.admin import matchable_resource_pb2

from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.reuse import ALL, Reuse
from wingbeat_propeller.core.rows import ExecutionRecord
from wingbeat_propeller.engine.live import Source
from wingbeat_propeller.engine.plans import PlanCache
from wingbeat_propeller.ports import Sources
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
    return Origin(Source(found.execution, found.name, prefix), ALL)
