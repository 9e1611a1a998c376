"""Taking up one execution: from its row, and those of its nodes if it had begun, to its state in memory.

An execution that was aborted before it began, or whose time to begin is over, ends without having begun; one that
cannot be read fails with the reason. Which executions are taken up, and when, is for `intake` to say.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple, Protocol

import structlog
from flyteidl.admin import matchable_resource_pb2
from google.protobuf.message import DecodeError

from wingbeat_propeller.compiler.plan import MalformedClosureError
from wingbeat_propeller.compiler.resources import InvalidResourcesError, PlatformResources
from wingbeat_propeller.core.cache_switch import CACHE_ANNOTATION, cache_mode
from wingbeat_propeller.core.caching import CacheMode
from wingbeat_propeller.core.effects import Effects, Launch
from wingbeat_propeller.core.events import Begin, Event
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.recovery import rebuild
from wingbeat_propeller.core.rows import ExecutionRecord, ExecutionRow, Transition
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.values import Ref, Value, split_literal_map
from wingbeat_propeller.engine.dynamics import Dynamics
from wingbeat_propeller.engine.live import LiveExecution, LiveExecutions
from wingbeat_propeller.engine.origins import Origin, find_origin, made_reuses
from wingbeat_propeller.engine.plans import PlanCache
from wingbeat_propeller.ports.blobs import BlobNotFoundError, BlobTooLargeError
from wingbeat_propeller.ports.journal import Journal
from wingbeat_propeller.ports.sources import Sources

_log = structlog.get_logger(__name__)

RESOURCES_KEPT = 256
"""Different defaults and limits of containers that are kept parsed."""
REBUILT_INLINE_MAX = 2_000
"""Node rows from which an execution is rebuilt in a thread, lest the loop misses the renewal of the lease."""


class Sink(Protocol):
    """Who drives what was taken up."""

    @property
    def journal(self) -> Journal:
        """Where rows go."""
        ...

    def apply(self, live: LiveExecution, event: Event) -> None:
        """One step of an execution."""
        ...

    def perform(self, live: LiveExecution, effects: Effects) -> None:
        """Carry out effects that did not come from `apply`."""
        ...

    def abort(self, live: LiveExecution, cause: str) -> None:
        """Terminate an execution."""
        ...

    def ended(self, launch_plan_id: int | None) -> None:
        """An execution of this launch plan that never began has ended, durably."""
        ...


class Program(NamedTuple):
    """What an execution runs, and where it comes from if it recovers another one."""

    plan: Plan
    origin: Origin | None


class Uptake:
    """See the module."""

    def __init__(
        self,
        *,
        sources: Sources,
        live: LiveExecutions,
        plans: PlanCache,
        dynamics: Dynamics,
        settings: Settings,
        sink: Sink,
        clock: Callable[[], float],
    ) -> None:
        self._sources = sources
        self._live = live
        self._plans = plans
        self._dynamics = dynamics
        self._settings = settings
        self._sink = sink
        self._clock = clock

    async def begin(self, record: ExecutionRecord) -> None:
        """Take up an execution that has not begun. Raises OSError when it cannot be read now."""
        if record.abort_cause is not None:
            self._end(record, ExecutionPhase.ABORTED, None)
            return
        if record.waiting or (record.begin_by is not None and record.begin_by <= self._clock()):
            self._end(record, ExecutionPhase.TIMED_OUT, _began_too_late(record))
            return
        program = await self.program(record)
        if program is None:
            return
        plan = program.plan
        live = self._make_live(record, program)
        if live is None:
            return
        try:
            inputs = _inputs(record, plan)
        except ValueError as error:
            self._refuse(live, f"the inputs cannot be read: {error}")
            return
        self._sink.apply(live, Begin(self._clock(), inputs))

    async def program(self, record: ExecutionRecord) -> Program | None:
        """What the execution runs; None when that cannot be read, and then it has failed. Raises OSError."""
        try:
            plan = await self._plans.get(record.workflow_id)
            return Program(plan, await find_origin(self._sources, self._plans, record, plan))
        except (MalformedClosureError, LookupError, DecodeError) as error:
            _log.error("workflow cannot be run", execution=record.name, error=str(error))
            self._fail(record, f"the workflow cannot be run: {error}")
            return None

    async def rebuild(self, record: ExecutionRecord, program: Program) -> list[tuple[LiveExecution, Launch]]:
        """Take up an execution that was under way; returns its attempts, to be adopted. Raises BlobStoreFailedError,
        and then nothing was taken up."""
        dynamic_plans = await self._dynamic_plans(record)
        if dynamic_plans is None:
            return []
        source = None if program.origin is None else program.origin.source
        dynamic_reuses = await made_reuses(self._dynamics, source, record, dynamic_plans)
        plan = program.plan
        live = self._make_live(record, program)
        if live is None:
            return []
        live.is_taken_over = True
        restore = partial(
            rebuild,
            live.state,
            record.nodes,
            elements=record.elements,
            started_at=record.started_at,
            now=self._clock(),
            dynamic_plans=dynamic_plans,
            dynamic_reuses=dynamic_reuses,
        )
        try:
            inputs = _inputs(record, plan)
            # Nobody else touches the state before its effects are carried out.
            is_large = len(record.nodes) + len(record.elements) > REBUILT_INLINE_MAX
            effects = await asyncio.to_thread(restore, inputs) if is_large else restore(inputs)
        except Exception as error:  # noqa: BLE001 - one execution's broken rows must not keep the shard from being served
            _log.exception("execution cannot be rebuilt", execution=record.name)
            self._refuse(live, f"the execution cannot be taken up from its rows: {error}")
            return []
        self._sink.perform(live, effects)
        if record.abort_cause is not None:
            self._sink.abort(live, record.abort_cause)
            return []
        return [(live, launch) for launch in effects.adopt]

    async def _dynamic_plans(self, record: ExecutionRecord) -> Mapping[tuple[str, int], Plan] | None:
        """Workflows that dynamic nodes under way have made; None when they cannot be had, and then the execution has
        failed. Raises BlobStoreFailedError."""
        try:
            return await self._dynamics.load_all(record.nodes, record.elements)
        except (BlobNotFoundError, BlobTooLargeError, MalformedClosureError, DecodeError) as error:
            _log.error("dynamic workflow cannot be read", execution=record.name, error=str(error))
            self._fail(record, f"the workflow that a dynamic task has made cannot be read: {error}")
            return None

    def _make_live(self, record: ExecutionRecord, program: Program) -> LiveExecution | None:
        try:
            config = matchable_resource_pb2.WorkflowExecutionConfig.FromString(record.config)
            resources = _resources(record.task_resources)
        except (DecodeError, InvalidResourcesError) as error:
            _log.error("settings cannot be read", execution=record.name, error=str(error))
            self._fail(record, f"the settings of the execution cannot be read: {error}")
            return None
        settings = replace(
            self._settings,
            max_parallelism=config.max_parallelism,
            interruptible=config.interruptible.value if config.HasField("interruptible") else None,
            deadline_s=record.deadline_s,
            cache=CacheMode.OFF if self._settings.cache is CacheMode.OFF else cache_mode(config),
        )
        plan, origin = program
        state = ExecutionState(record.execution, record.project, record.domain, record.name, plan, settings)
        state.reuse = None if origin is None else origin.reuse
        live = LiveExecution(
            state,
            record.shard,
            plan.name,
            (record.project, record.domain),
            envs={pair.key: pair.value for pair in config.envs.values},
            labels=dict(config.labels.values),
            annotations={key: value for key, value in config.annotations.values.items() if key != CACHE_ANNOTATION},
            raw_output_prefix=config.raw_output_data_config.output_location_prefix.rstrip("/"),
            resources=resources,
            launch_plan_id=record.launch_plan_id,
            priority=record.priority,
            source=None if origin is None else origin.source,
        )
        self._live.add(live)
        return live

    def _refuse(self, live: LiveExecution, reason: str) -> None:
        live.state.ended = True
        failure = Failure(ErrorKind.SYSTEM, "EngineFault", reason)
        self._sink.perform(live, _ended(live.state.key, self._clock(), ExecutionPhase.FAILED, failure))

    def _fail(self, record: ExecutionRecord, reason: str) -> None:
        self._end(record, ExecutionPhase.FAILED, Failure(ErrorKind.SYSTEM, "EngineFault", reason))

    def _end(self, record: ExecutionRecord, phase: ExecutionPhase, failure: Failure | None) -> None:
        """End an execution that is not in memory."""

        def committed(_: Effects) -> None:
            self._live.undurable.discard(record.execution)
            self._sink.ended(record.launch_plan_id)

        self._sink.journal.submit(_ended(record.execution, self._clock(), phase, failure), committed)


@lru_cache(maxsize=RESOURCES_KEPT)
def _resources(attributes: bytes | None) -> PlatformResources:
    """Thousands of executions have the same. Raises DecodeError, InvalidResourcesError."""
    return PlatformResources.parse(matchable_resource_pb2.TaskResourceAttributes.FromString(attributes or b""))


def _inputs(record: ExecutionRecord, plan: Plan) -> dict[str, Value]:
    if record.inputs is not None:
        return dict(split_literal_map(record.inputs))
    if record.inputs_uri is not None:
        return {name: Ref(record.inputs_uri, name) for name in plan.input_names}
    return {}


def _ended(key: ExecutionKey, now: float, phase: ExecutionPhase, failure: Failure | None) -> Effects:
    effects = Effects(key)
    effects.execution_row = ExecutionRow(key, phase, now, ended_at=now, failure=failure)
    effects.transitions.append(Transition(key, None, 0, phase, now))
    return effects


def _began_too_late(record: ExecutionRecord) -> Failure:
    assert record.begin_by is not None, "only what has a time to begin can be late"
    allowed_s = round(record.begin_by - record.created_at, 3)
    text = f"the execution did not begin within its queue deadline ({allowed_s:.15g} s)"
    return Failure(ErrorKind.USER, "QueueDeadlineExceeded", text)
