"""What a recovery will take over, worked out from the two versions of the workflow and the rows of the source.

What is found out here and cannot be found out by the engine (it knows no launch plans and no other versions of tasks)
is written down with the new execution, as a `Recovery`; the rest the engine finds out again by itself.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import asyncpg
from flyteidl.core import identifier_pb2
from flyteidl.event import event_pb2
from google.protobuf.message import DecodeError

from wingbeat_controlplane.errors import ApiError, failed_precondition, invalid_argument
from wingbeat_controlplane.executions.launch_plan_versions import LaunchPlanVersions
from wingbeat_controlplane.executions.recovery_fates import Past, decide_fates, static_ids
from wingbeat_controlplane.registry.registry import Registry
from wingbeat_propeller.compiler.comparison import (
    LaunchPlanKey,
    Rules,
    compare_plans,
    matches,
)
from wingbeat_propeller.compiler.plan import MalformedClosureError
from wingbeat_propeller.compiler.task_identity import definition_changes, task_identity
from wingbeat_propeller.core.plan import ArraySpec, Plan, TaskSpec
from wingbeat_propeller.core.values import split_literal_map
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError
from wingbeat_propeller.engine.dynamics import Dynamics
from wingbeat_propeller.engine.plans import PlanCache
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.recovery.v1 import recovery_pb2

PLANS_MAX = 64
"""Workflow versions whose plans are kept."""
DYNAMICS_MAX = 200
"""Workflows made by dynamic tasks that are looked into; beyond them tasks inside cannot be told by name."""
PATTERNS_MAX = 1_000
PATTERN_LENGTH_MAX = 1_000

_SQL = load_queries("wingbeat_controlplane.executions", "recover.sql")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller says of the tasks that have changed, by names of tasks or ids of nodes."""

    rerun: tuple[str, ...] = ()
    assume_unchanged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What will happen. `stored` goes with the new execution."""

    stored: recovery_pb2.Recovery
    decisions: list[recovery_pb2.NodeDecision]


class RecoveryPlanner:
    """Plans recoveries."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs, registry: Registry) -> None:
        self._pool = pool
        self._blobs = blobs
        self._registry = registry
        store = PostgresExecutionStore(pool, "")
        self._plans = PlanCache(store.workflow_closure, PLANS_MAX)
        self._dynamics = Dynamics(blobs, store)
        self._versions = LaunchPlanVersions(registry.launch_plans, self._plans)

    async def plan(self, source: int, before_id: int, after_id: int, inputs: bytes, wish: Wish) -> RecoveryPlan:
        """The recovery of the execution `source`, of workflow `before_id`, by one of workflow `after_id` (row ids).

        `inputs` are those of the new execution. Raises ApiError: INVALID_ARGUMENT for names that fit nothing,
        FAILED_PRECONDITION when what is stored of the source cannot be read.
        """
        _check_wish(wish)
        try:
            before, after = await self._plans.get(before_id), await self._plans.get(after_id)
            made = await self._made_workflows(source, after)
        except (MalformedClosureError, LookupError, BlobStoreFailedError) as error:
            raise failed_precondition(f"the execution cannot be compared: {error}") from error
        known = {node_id: (plan, node) for node_id, plan, node in static_ids(after)}
        said = _rules(wish, known)
        rules, children = await self._complete(said, source, before, after, made, known, inputs)
        _check_names(wish, known, [after, *children, *(plan for plans in made.values() for plan in plans)])
        rows = await self._pool.fetch(_SQL["past_nodes"], source, list(known))
        past = {row["node_id"]: Past(row["phase"], row["flags"]) for row in rows}
        decisions = await asyncio.to_thread(_decide, before, after, rules, past, same_version=before_id == after_id)
        return RecoveryPlan(_stored(source, rules), decisions)

    async def plan_child(
        self, source: int, before_id: int, after_id: int, inputs: bytes, parent: recovery_pb2.Recovery
    ) -> recovery_pb2.Recovery:
        """The same for the execution of a launch plan node, under what was said of the execution around it.

        Raises ApiError FAILED_PRECONDITION as `plan` does.
        """
        said = Rules(
            rerun=tuple(parent.rerun),
            assume_unchanged=tuple(parent.assume_unchanged),
            trusts_code=parent.trusts_code,
        )
        if before_id == after_id and not said.rerun:
            return recovery_pb2.Recovery(source=source)
        try:
            before, after = await self._plans.get(before_id), await self._plans.get(after_id)
            made = await self._made_workflows(source, after)
        except (MalformedClosureError, LookupError, BlobStoreFailedError) as error:
            raise failed_precondition(f"the execution cannot be compared: {error}") from error
        known = {node_id: (plan, node) for node_id, plan, node in static_ids(after)}
        rules, _ = await self._complete(said, source, before, after, made, known, inputs)
        return _stored(source, rules)

    async def _complete(
        self,
        said: Rules,
        source: int,
        before: Plan,
        after: Plan,
        made: Mapping[str, list[Plan]],
        known: Mapping[str, tuple[Plan, int]],
        inputs: bytes,
    ) -> tuple[Rules, list[Plan]]:
        """Rules with what the caller need not say; and the plans of launch plans that were looked at."""
        equal, children = await self._versions.compare(before, after, said)
        rules = replace(
            said,
            equal_launch_plans=equal,
            changed_inputs=await self._changed_inputs(source, inputs),
            changed_inside=frozenset(await self._changed_inside(made, known, said)),
        )
        return rules, children

    async def _changed_inputs(self, source: int, inputs: bytes) -> frozenset[str]:
        """Inputs with other values than those of the source, which may come from the defaults of a launch plan."""
        row = await self._pool.fetchrow(_SQL["source_inputs"], source)
        data = None if row is None else row["inputs"]
        if data is None and row is not None and row["inputs_uri"] is not None:
            try:
                data = await self._blobs.get(row["inputs_uri"])
            except BlobNotFoundError as error:
                raise failed_precondition("the inputs of the execution are gone from the blob store") from error
        was, now = split_literal_map(data or b""), split_literal_map(inputs)
        return frozenset(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))

    async def _made_workflows(self, source: int, after: Plan) -> Mapping[str, list[Plan]]:
        """Plans that dynamic tasks had made, at any depth, by the unique id of the node of the workflow they belong to.

        What cannot be read any more is left out. Raises BlobStoreFailedError.
        """
        known = {node_id for node_id, _, _ in static_ids(after)}
        found: dict[str, list[Plan]] = {}
        for row in await self._pool.fetch(_SQL["dynamic_nodes"], source, DYNAMICS_MAX):
            root = next((node_id for node_id in row["ancestors"] if node_id in known), None)
            details = event_pb2.NodeExecutionEvent.FromString(row["details"] or b"")
            uri = details.task_node_metadata.dynamic_workflow.dynamic_job_spec_uri
            if root is None or not uri:
                continue
            try:
                found.setdefault(root, []).append(await self._dynamics.load(uri))
            except (BlobNotFoundError, BlobTooLargeError, MalformedClosureError, DecodeError):
                continue
        return found

    async def _changed_inside(
        self, made: Mapping[str, list[Plan]], known: Mapping[str, tuple[Plan, int]], rules: Rules
    ) -> list[str]:
        """Dynamic nodes that ran a task which was named to run, or which is another one in the new version."""
        found: list[str] = []
        for root, plans in made.items():
            plan, node = known[root]
            target = plan.targets[node]
            if not isinstance(target, TaskSpec):
                continue
            for task in {task.name: task for each in plans for task in _tasks(each)}.values():
                if matches(rules.rerun, task.name) or await self._has_changed(task, target.version, rules):
                    found.append(root)
                    break
        return found

    async def _has_changed(self, task: TaskSpec, version: str, rules: Rules) -> bool:
        """Whether a task that a dynamic task had made a node of is another one in the version that now runs."""
        if task.version == version:
            return False
        identifier = identifier_pb2.Identifier(
            resource_type=identifier_pb2.TASK,
            project=task.project,
            domain=task.domain,
            name=task.name,
            version=version,
        )
        try:
            record = await self._registry.tasks.get(identifier)
        except ApiError:
            return False  # nobody can tell before the dynamic task makes its workflow again
        was, now = task_identity(task.template), task_identity(record.task.closure.compiled_task.template)
        if definition_changes(was, now) is not None:
            return True
        return was.code != now.code and not rules.has_same_code("", task)


def _rules(wish: Wish, known: Mapping[str, object]) -> Rules:
    return Rules(
        rerun=wish.rerun,
        rerun_nodes=frozenset(name for name in wish.rerun if name in known),
        assume_unchanged=wish.assume_unchanged,
        assume_unchanged_nodes=frozenset(name for name in wish.assume_unchanged if name in known),
        trusts_code=bool(wish.rerun),
    )


def _decide(
    before: Plan, after: Plan, rules: Rules, past: Mapping[str, Past], *, same_version: bool
) -> list[recovery_pb2.NodeDecision]:
    return list(decide_fates(compare_plans(before, after, rules), past, same_version=same_version))


def _stored(source: int, rules: Rules) -> recovery_pb2.Recovery:
    def key(plan: LaunchPlanKey) -> recovery_pb2.LaunchPlanIdentifier:
        project, domain, name, version = plan
        return recovery_pb2.LaunchPlanIdentifier(project=project, domain=domain, name=name, version=version)

    return recovery_pb2.Recovery(
        source=source,
        rerun=rules.rerun,
        rerun_nodes=sorted(rules.rerun_nodes),
        assume_unchanged=rules.assume_unchanged,
        assume_unchanged_nodes=sorted(rules.assume_unchanged_nodes),
        trusts_code=rules.trusts_code,
        changed_inputs=sorted(rules.changed_inputs),
        equal_launch_plans=[
            recovery_pb2.EqualLaunchPlans(before=key(was), after=key(now))
            for was, now in sorted(rules.equal_launch_plans)
        ],
        changed_inside=sorted(rules.changed_inside),
    )


def _check_wish(wish: Wish) -> None:
    if wish.rerun and wish.assume_unchanged:
        raise invalid_argument(
            "say either which tasks run again (rerun), and all others count as unchanged, or which tasks are unchanged"
            " (assume_unchanged)"
        )
    for field, names in (("rerun", wish.rerun), ("assume_unchanged", wish.assume_unchanged)):
        if len(names) > PATTERNS_MAX:
            raise invalid_argument(f"invalid value for {field}: {len(names)} names, at most {PATTERNS_MAX} are allowed")
        for name in names:
            if not name or len(name) > PATTERN_LENGTH_MAX or "\0" in name:
                raise invalid_argument(f"invalid value for {field}: names have 1 to {PATTERN_LENGTH_MAX} characters")


def _check_names(wish: Wish, known: Mapping[str, object], plans: Iterable[Plan]) -> None:
    """A name with a slip in it would let the task that was meant be taken over."""
    tasks = sorted({task.name for plan in plans for task in _tasks(plan)})
    for name in (*wish.rerun, *wish.assume_unchanged):
        if name not in known and not any(matches((name,), task) for task in tasks):
            some = ", ".join(tasks[:20]) + (", ..." if len(tasks) > 20 else "")
            raise invalid_argument(f"'{name}' is no task and no node of the workflow; its tasks are: {some}")


def _tasks(plan: Plan) -> Iterator[TaskSpec]:
    """Tasks of a plan, at any depth but for launch plans."""
    pending: list[object] = [plan]
    seen: set[int] = set()
    while pending:
        match pending.pop():
            case TaskSpec() as task:
                yield task
            case ArraySpec(element=element):
                pending.append(element)
            case Plan() as inner:
                if id(inner) not in seen:
                    seen.add(id(inner))
                    pending += inner.targets
            case _:
                pass
