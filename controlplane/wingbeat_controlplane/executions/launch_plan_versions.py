"""Which launch plans that nodes run mean the same in two versions of a workflow.

Registering a program gives its launch plans new versions whether or not anything has changed, so they are compared by
what they launch: inputs that they fix or default, environment, identity, and their workflows, node by node, down to the
launch plans that those run. Launch plans may run each other, so all pairs that are met count as equal until one turns
out not to be, and with it those that rest on it.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.registry.launch_plans import LaunchPlanRecord, LaunchPlanStore
from wingbeat_propeller.compiler.comparison import LaunchPlanKey, Rules, compare_plans, launch_plan_key
from wingbeat_propeller.core.plan import ArraySpec, LaunchPlanSpec, Plan, Target
from wingbeat_propeller.engine.plans import PlanCache

PAIRS_MAX = 500
"""Pairs that are looked at; launch plans beyond them count as changed."""

Pair: TypeAlias = tuple[LaunchPlanKey, LaunchPlanKey]


@dataclass(frozen=True, slots=True)
class _Launched:
    """Two launch plans, as far as they matter, and the plans of their workflows."""

    same_settings: bool
    before: Plan
    after: Plan


class LaunchPlanVersions:
    """Compares launch plans of a registry."""

    def __init__(self, launch_plans: LaunchPlanStore, plans: PlanCache) -> None:
        self._launch_plans = launch_plans
        self._plans = plans

    async def compare(self, before: Plan, after: Plan, rules: Rules) -> tuple[frozenset[Pair], list[Plan]]:
        """Pairs of launch plans below two plans that mean the same, and the plans of all workflows that were looked at
        in the newer version. Raises OSError and asyncpg's errors."""
        rules = inherited_rules(rules)
        found = await self._find(before, after, rules)
        equal = frozenset(pair for pair, launched in found.items() if launched is not None and launched.same_settings)
        while True:
            kept = await asyncio.to_thread(_still_equal, found, replace(rules, equal_launch_plans=equal))
            if kept == equal:
                return equal, [launched.after for launched in found.values() if launched is not None]
            equal = kept

    async def _find(self, before: Plan, after: Plan, rules: Rules) -> Mapping[Pair, _Launched | None]:
        found: dict[Pair, _Launched | None] = {}
        pending = [(before, after)]
        while pending:
            for pair in _pairs(*pending.pop()):
                if pair in found or len(found) == PAIRS_MAX or (pair[0] == pair[1] and not rules.rerun):
                    continue
                launched = found[pair] = await self._launched(*pair)
                if launched is not None:
                    pending.append((launched.before, launched.after))
        return found

    async def _launched(self, before: LaunchPlanKey, after: LaunchPlanKey) -> _Launched | None:
        try:
            was, now = await self._get(before), await self._get(after)
        except ApiError:
            return None
        return _Launched(
            same_settings=_settings(was) == _settings(now),
            before=await self._plans.get(was.workflow_id),
            after=await self._plans.get(now.workflow_id),
        )

    async def _get(self, key: LaunchPlanKey) -> LaunchPlanRecord:
        project, domain, name, version = key
        return await self._launch_plans.get(
            identifier_pb2.Identifier(
                resource_type=identifier_pb2.LAUNCH_PLAN, project=project, domain=domain, name=name, version=version
            )
        )


def inherited_rules(rules: Rules) -> Rules:
    """What rules say about the executions of launch plan nodes: nothing about nodes, whose ids are others there."""
    return replace(
        rules,
        rerun_nodes=frozenset(),
        assume_unchanged_nodes=frozenset(),
        changed_inputs=frozenset(),
        equal_launch_plans=frozenset(),
        changed_inside=frozenset(),
    )


def _still_equal(found: Mapping[Pair, _Launched | None], rules: Rules) -> frozenset[Pair]:
    def holds(pair: Pair) -> bool:
        launched = found[pair]
        return launched is not None and compare_plans(launched.before, launched.after, rules).is_equal

    return frozenset(pair for pair in rules.equal_launch_plans if holds(pair))


def _pairs(before: Plan, after: Plan) -> Iterator[Pair]:
    """Launch plans that nodes of the same ids run in two plans, at any depth of sub-workflows and arrays."""
    index = {node_id: node for node, node_id in enumerate(before.ids)}
    for node, node_id in enumerate(after.ids):
        if node_id in index:
            yield from _target_pairs(before.targets[index[node_id]], after.targets[node])


def _target_pairs(was: Target | None, now: Target | None) -> Iterator[Pair]:
    match was, now:
        case (LaunchPlanSpec(), LaunchPlanSpec()):
            yield launch_plan_key(was), launch_plan_key(now)
        case (Plan(), Plan()):
            yield from _pairs(was, now)
        case (ArraySpec(element=Plan() as old), ArraySpec(element=Plan() as new)):
            yield from _pairs(old, new)
        case _:
            return


def _settings(record: LaunchPlanRecord) -> tuple[bytes, ...]:
    """What a launch plan adds to its workflow that may change what comes out."""
    spec = record.launch_plan.spec
    messages = (spec.fixed_inputs, spec.default_inputs, spec.envs, spec.security_context)
    return tuple(message.SerializeToString(deterministic=True) for message in messages)
