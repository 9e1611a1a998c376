"""The core over random workflows: any order of events, crashes between any two commits, doubled and late events.

What is durable lives in the world's database; everything else is lost at a crash. The outcome must be that of a
straight sequential interpreter, and every task makes exactly the attempts that its budgets allow.
"""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.workflows import keeping
from tests.property.world import World
from wingbeat_propeller.core.caching import CacheStatus
from wingbeat_propeller.core.events import AbortRequested, TaskStarted
from wingbeat_propeller.core.phases import EXECUTION_FINAL, NODE_FINAL, NodePhase
from wingbeat_propeller.core.step import step

SEEDS = st.integers(0, 2**48)
"""One number makes a workflow and everything that happens to it, so a failing example replays exactly."""


@settings(max_examples=300, deadline=None)
@given(seed=SEEDS)
def test_outcome_is_that_of_a_sequential_run(seed: int) -> None:
    """Whatever the order of events, outputs, failure and attempts are those of a straight run."""
    world = World(seed)
    world.run()
    world.check()


@settings(max_examples=300, deadline=None)
@given(seed=SEEDS)
def test_crashes_lose_and_double_nothing(seed: int) -> None:
    """A process that dies between any two commits, and late and doubled events, change nothing of the outcome; no
    attempt is started a second time."""
    world = World(seed)
    world.run(crashes=True)
    world.check()
    assert set(world.started.values()) <= {1}


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_large_values_travel_by_reference(seed: int) -> None:
    """The same holds when every value stays in the blob store."""
    world = World(seed, large=True)
    world.run(crashes=True)
    world.check()


@settings(max_examples=150, deadline=None)
@given(seed=SEEDS, large=st.booleans())
def test_cached_sub_workflows_come_to_the_same(seed: int, large: bool) -> None:
    """Whether they run, with crashes in between, or have run before; then nothing of those that succeeded runs."""
    plan = keeping(World(seed).plan, random.Random(seed))
    first, second = (World(seed, large=large, plan=plan) for _ in range(2))
    second.cache = first.cache
    first.run(crashes=True)
    first.check()
    kept = dict(first.cache)
    second.run(crashes=True)
    second.check()
    assert {key: second.cache[key] for key in kept} == kept
    hits = [row for row in second.database.nodes.values() if row.cache_status == CacheStatus.HIT]
    parents = {row.parent_id for row in second.database.nodes.values()}
    assert not parents & {row.node_id for row in hits}
    top = {plan.ids[node] for node in plan.cached_workflows}
    succeeded = {
        row.spec_node_id
        for row in first.database.nodes.values()
        if row.parent_id is None and row.phase == NodePhase.SUCCEEDED
    }
    met = {row.spec_node_id for row in second.database.nodes.values() if row.parent_id is None}
    if second.expected() is not None:
        assert top & succeeded & met == {row.spec_node_id for row in hits if row.parent_id is None}


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_parallelism_is_bounded(seed: int) -> None:
    """Never more than max_parallelism tasks at once, an array counted as one, and none is forgotten."""
    world = World(seed, max_parallelism=2)
    world.run()
    world.check()
    assert world.peak <= 2


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_abort_ends_everything(seed: int) -> None:
    """After an abort every node is final, nothing runs, and later events change nothing."""
    world = World(seed)
    world.begin()
    for _ in range(world.rng.randint(0, 30)):
        if world.queue:
            world.commit_one()
        elif world.running:
            world.finish_one()
        if world.events:
            world.take(step(world.state, world.events.pop()))
    world.take(step(world.state, AbortRequested(world.now, "enough")))
    late = [TaskStarted(world.now, launch.ref, world.now) for launch in world.launched.values()]
    for event in late:
        world.take(step(world.state, event))
    while world.queue:
        world.commit_one()
    row = world.database.execution
    assert row is not None
    assert row.phase in EXECUTION_FINAL
    assert all(node.phase in NODE_FINAL for node in world.database.nodes.values())
    assert not world.running
