"""Random executions that fail somewhere, and others that recover them: what succeeded does not run again."""

import dataclasses
import random
from collections.abc import Iterator
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.workflows import INPUT, Behaviour, integer
from tests.property.world import World
from wingbeat_propeller.core.bindings import BindingProgram, Constant
from wingbeat_propeller.core.events import AbortRequested
from wingbeat_propeller.core.ids import unique_node_id
from wingbeat_propeller.core.phases import NODE_SUCCESS, NodePhase, TaskPhase
from wingbeat_propeller.core.plan import END, START, ArraySpec, NodeKind, Plan, TaskSpec
from wingbeat_propeller.core.step import step

SEEDS = st.integers(0, 2**48)
"""One number makes a workflow and everything that happens to it, so a failing example replays exactly."""


def _recovered(
    seed: int,
    source: World,
    *,
    mended: float,
    large: bool = False,
    max_parallelism: int = 0,
    plan: Plan | None = None,
    crashes: bool = False,
    crash_rate: float = 0.03,
) -> World:
    """Recover an execution; each task that is not in order is with chance `mended`."""
    world = World(seed, source=source, large=large, max_parallelism=max_parallelism, plan=plan or source.plan)
    dice = random.Random(f"{seed}/mend/{world.number}")
    kept = tuple(f"{array}.e" for each in _sources(world) for array in _arrays_taken_over(each, each.plan, None))
    for name in world.behaviours:
        behaviours = source.behaviours.get(name, world.behaviours[name])
        # An array that is taken over keeps its elements that failed, so the interpreter must see them fail as well.
        chance = 0.0 if name.startswith(kept) else mended
        world.behaviours[name] = [Behaviour() if dice.random() < chance else each for each in behaviours]
    world.run(crashes=crashes, crash_rate=crash_rate)
    return world


def _sources(world: World) -> Iterator[World]:
    while world.source is not None:
        world = world.source
        yield world


def _arrays_taken_over(source: World, plan: Plan, parent: str | None) -> Iterator[str]:
    """Names of arrays that succeeded, at least in one place."""
    rows = {row.spec_node_id: row for row in source.database.nodes.values() if row.parent_id == parent}
    for node, target in enumerate(plan.targets):
        row = rows.get(plan.ids[node])
        if isinstance(target, Plan) and row is not None:
            yield from _arrays_taken_over(source, target, row.node_id)
        elif isinstance(target, ArraySpec) and row is not None:
            if row.phase in NODE_SUCCESS:
                yield target.name
            elif isinstance(target.element, Plan):
                for element in range(int(row.memo or b"0")):
                    inside = unique_node_id(row.node_id, 0, f"n{element}", 64)
                    yield from _arrays_taken_over(source, target.element, inside)


def _check_reuse(world: World) -> None:
    """What succeeded in the source is taken over with its values; nothing of it was launched."""
    assert world.source is not None
    launched = {launch.node_id for launch in world.launched.values()}
    for node_id, row in world.database.nodes.items():
        before = world.source.database.nodes.get(node_id)
        if row.spec_node_id == "start-node":
            continue
        if before is not None and before.phase in NODE_SUCCESS:
            assert row.phase == NodePhase.RECOVERED
            assert node_id not in launched
            assert (row.inputs, row.input_uri) == (before.inputs, before.input_uri)
            assert (row.outputs, row.output_uri) == (before.outputs, before.output_uri)
            assert node_id not in world.database.task_attempts
        else:
            assert row.phase != NodePhase.RECOVERED
    _check_elements(world)


def _check_elements(world: World) -> None:
    """Elements of arrays that run in part: those that succeeded in the source end with its outputs, and are not
    launched; nothing is inside them."""
    assert world.source is not None
    launched = {(launch.array_id, launch.ref.element) for launch in world.launched.values()}
    parents = {row.parent_id for row in world.database.nodes.values()}
    for (array_id, element, _), before in world.source.database.elements.items():
        row = world.database.nodes.get(array_id)
        if before.phase != TaskPhase.SUCCEEDED or row is None or row.memo is None:
            continue
        after = world.database.elements.get((array_id, element, 0))
        assert after is not None or row.phase in (NodePhase.FAILED, NodePhase.ABORTED)
        if after is not None:
            assert after.phase == TaskPhase.SUCCEEDED
            assert (after.outputs, after.output_uri) == (before.outputs, before.output_uri)
        assert (array_id, element) not in launched
        assert unique_node_id(array_id, 0, f"n{element}", 64) not in parents


def _check_closed(world: World, plan: Plan, parent: str | None = None, *, same_inputs: bool = True) -> None:
    """Nothing was taken over below anything that ran in this execution, at any depth."""
    by_spec_id = {row.spec_node_id: row for row in world.database.nodes.values() if row.parent_id == parent}
    upstream = {
        node: [source for source in range(plan.size) if node in plan.successors[source]] for node in range(plan.size)
    }
    for node in range(1, plan.size):
        row = by_spec_id.get(plan.ids[node])
        if row is None:
            continue
        before = [by_spec_id[plan.ids[source]].phase for source in upstream[node] if source != START]
        unchanged = same_inputs and all(phase == NodePhase.RECOVERED for phase in before)
        assert unchanged or row.phase != NodePhase.RECOVERED
        if plan.kinds[node] is NodeKind.WORKFLOW:
            _check_closed(world, plan.sub_plan(node), row.node_id, same_inputs=unchanged)


@settings(max_examples=300, deadline=None)
@given(seed=SEEDS)
def test_a_mended_execution_goes_on_from_what_succeeded(seed: int) -> None:
    """Outputs, failures and attempts are those of a straight run of the mended workflow, whatever the order of events
    and wherever the engine dies."""
    source = World(seed)
    source.run()
    world = _recovered(seed, source, mended=0.7, crashes=True)
    world.check()
    _check_reuse(world)
    assert set(world.started.values()) <= {1}


@settings(max_examples=150, deadline=None)
@given(seed=SEEDS)
def test_recoveries_of_recoveries(seed: int) -> None:
    """What an execution took over counts as succeeded for the next one, over any number of them."""
    world = World(seed)
    world.run()
    for mended in (0.3, 0.3, 1.0):
        world = _recovered(seed, world, mended=mended)
        world.check()
        _check_reuse(world)


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_large_values_are_taken_over_by_reference(seed: int) -> None:
    """The same when every value stays in the blob store."""
    source = World(seed, large=True)
    source.run()
    world = _recovered(seed, source, mended=1.0, large=True, crashes=True)
    world.check()
    _check_reuse(world)


@settings(max_examples=150, deadline=None)
@given(seed=SEEDS)
def test_what_was_aborted_is_recovered(seed: int) -> None:
    """An abort at any moment leaves a source like any other."""
    source = World(seed)
    source.begin()
    for _ in range(source.rng.randint(0, 40)):
        if source.queue:
            source.commit_one()
        elif source.running:
            source.finish_one()
        if source.events:
            source.take(step(source.state, source.events.pop()))
    source.take(step(source.state, AbortRequested(source.now, "enough")))
    while source.queue:
        source.commit_one()
    world = _recovered(seed, source, mended=1.0)
    world.check()
    _check_reuse(world)


@settings(max_examples=150, deadline=None)
@given(seed=SEEDS)
def test_a_source_that_still_runs(seed: int) -> None:
    """It may be read at any moment, each node at another one: below what runs again nothing is taken over, so the
    outcome is right."""
    source = World(seed)
    source.begin()
    for _ in range(source.rng.randint(0, 40)):
        if source.queue:
            source.commit_one()
        elif source.running:
            source.finish_one()
        if source.events:
            source.take(step(source.state, source.events.pop()))
    for node_id in list(source.database.nodes):
        if source.rng.random() < 0.2:
            del source.database.nodes[node_id]  # not there yet when it was looked up
    world = _recovered(seed, source, mended=0.7, max_parallelism=1, crashes=True, crash_rate=0.1)
    world.check()
    _check_closed(world, world.plan)


def _another_version(dice: random.Random, plan: Plan, changed: set[str]) -> Plan:
    """A version of a plan with some tasks replaced by others, given other constants, and arrays that need not succeed,
    at any depth. `changed` gets the names of the plan and the node for each that was changed itself, `plan/node`."""
    targets, bindings = list(plan.targets), list(plan.bindings)
    for node in range(2, plan.size):
        target = targets[node]
        if isinstance(target, Plan):
            targets[node] = _another_version(dice, target, changed)
        elif isinstance(target, TaskSpec) and dice.random() < 0.1:
            targets[node] = dataclasses.replace(target, name=f"{target.name}.new")
            changed.add(f"{plan.name}/{plan.ids[node]}")
        elif isinstance(target, TaskSpec) and isinstance(bindings[node].bindings[0][1], Constant):
            bindings[node] = BindingProgram(((INPUT, Constant(integer(77))),))
            changed.add(f"{plan.name}/{plan.ids[node]}")
        elif isinstance(target, ArraySpec) and dice.random() < 0.1:
            targets[node] = dataclasses.replace(
                target, parallelism=0, min_successes=None, min_success_ratio=Fraction(0)
            )
            if target.min_success_ratio or target.min_successes:
                changed.add(f"{plan.name}/{plan.ids[node]}")
    return dataclasses.replace(plan, targets=tuple(targets), bindings=tuple(bindings))


def _check_minimal(world: World, before: Plan, after: Plan, changed: set[str], parent: str | None = None) -> None:
    """Every node is taken over that succeeded, was not changed, at any depth, and follows none that ran: no node runs
    without need."""
    assert world.source is not None
    rows = {row.spec_node_id: row for row in world.database.nodes.values() if row.parent_id == parent}
    old = {row.spec_node_id: row for row in world.source.database.nodes.values() if row.parent_id == parent}
    fresh: set[int] = set()
    for node in [*range(2, after.size), END]:
        row = rows.get(after.ids[node])
        inner = after.targets[node]
        below = (f"{inner.name}/", f"{inner.name}.") if isinstance(inner, Plan) else ()
        is_changed = any(each == f"{after.name}/{after.ids[node]}" or each.startswith(below) for each in changed)
        had = old.get(after.ids[node])
        succeeded = had is not None and had.phase in NODE_SUCCESS
        if row is not None and row.phase != NodePhase.SKIPPED:
            expected = succeeded and not is_changed and node not in fresh
            assert (row.phase == NodePhase.RECOVERED) is expected, row
        if row is None or row.phase != NodePhase.RECOVERED:
            outer = before.targets[node]
            if isinstance(inner, Plan) and isinstance(outer, Plan) and row is not None and node not in fresh:
                _check_minimal(world, outer, inner, changed, row.node_id)
            fresh.update(after.successors[node])


@settings(max_examples=300, deadline=None)
@given(seed=SEEDS)
def test_another_version_runs_what_has_changed_and_what_follows(seed: int) -> None:
    """Outcome and attempts are those of a straight run of the new version; what is equal and follows nothing that
    changed is taken over, and nothing else is."""
    source = World(seed)
    source.run()
    changed: set[str] = set()
    plan = _another_version(random.Random(f"{seed}/version"), source.plan, changed)
    world = _recovered(seed, source, mended=0.8, plan=plan, max_parallelism=2, crashes=True)
    world.check()
    _check_closed(world, plan)
    _check_minimal(world, source.plan, plan, changed)
