"""What a launch would find in the cache: the walk over a plan, with a cache that knows some calls."""

import dataclasses

from tests.memory_cache import MemoryCache, key_of
from tests.unit.core.arrays import array, array_plan, integer, integers, outputs
from tests.unit.core.plans import line, task

from wingbeat_controlplane.executions.foretelling.walk import DEPTH_MAX, ForetellingWalk
from wingbeat_propeller.core.cached_task import CachedTask
from wingbeat_propeller.core.caching import CacheMode
from wingbeat_propeller.core.conditions import Comparison, Fixed, Operator
from wingbeat_propeller.core.plan import BranchSpec, LaunchPlanSpec, NodeKind, Plan, TaskSpec
from wingbeat_propeller.core.values import build_literal_map
from wingbeat_propeller.ports.cache import CacheAsk, CachePut, CacheSource
from wingbeatidl.cache.v1 import foretell_pb2

HIT, RUN, OPEN = foretell_pb2.FORECAST_HIT, foretell_pb2.FORECAST_RUN, foretell_pb2.FORECAST_OPEN
SOURCE = CacheSource("p", "d", "e", "n0", 0, -1, "v")


def _cached(name: str) -> TaskSpec:
    return dataclasses.replace(task(name), cached=CachedTask("p", "d", name, "v", "1", b""))


def _call(spec: TaskSpec, x: int) -> CacheAsk:
    assert spec.cached is not None
    return CacheAsk(spec.cached, build_literal_map({"x": integer(x).SerializeToString()}))


async def _walked(
    plan: Plan, cache: MemoryCache, *, x: bytes | None = None, mode: CacheMode = CacheMode.USE
) -> ForetellingWalk:
    walk = ForetellingWalk(plan, {"x": integer(1).SerializeToString() if x is None else x}, mode)
    while asks := walk.calls():
        walk.answer(await cache.look_up(asks))
    return walk


async def _knows(cache: MemoryCache, spec: TaskSpec, x: int, made: int) -> None:
    await cache.put([CachePut(_call(spec, x), outputs(made), SOURCE)])


def _forecasts(walk: ForetellingWalk) -> list[tuple[str, int]]:
    return [(node.node_id, node.forecast) for node in walk.nodes]


async def test_outputs_of_hits_lead_on_until_something_runs() -> None:
    """The second is looked up with what the first has made; the fourth depends on the third, which runs."""
    a, b, c, d = (_cached(name) for name in "abcd")
    cache = MemoryCache()
    await _knows(cache, a, 1, 2)
    await _knows(cache, b, 2, 3)
    walk = await _walked(line(a, b, c, d), cache)
    assert _forecasts(walk) == [("n0", HIT), ("n1", HIT), ("n2", RUN), ("n3", OPEN)]
    assert (walk.hits, walk.runs, walk.open) == (2, 1, 1)
    assert [node.reason for node in walk.nodes[2:]] == [
        foretell_pb2.FORECAST_REASON_MISS,
        foretell_pb2.FORECAST_REASON_INPUTS,
    ]
    assert "n2" in walk.nodes[3].explanation
    assert walk.nodes[0].catalog_key


async def test_what_runs_anyway_is_not_looked_up() -> None:
    """Tasks that are not cacheable, a cache that is off, overwrite_cache."""
    cache = MemoryCache()
    walk = await _walked(line(task("a")), cache)
    assert walk.nodes[0].reason == foretell_pb2.FORECAST_REASON_NOT_CACHEABLE
    walk = await _walked(line(_cached("a")), cache, mode=CacheMode.OFF)
    assert walk.nodes[0].reason == foretell_pb2.FORECAST_REASON_CACHE_OFF
    walk = await _walked(line(_cached("a")), cache, mode=CacheMode.OVERWRITE)
    assert walk.nodes[0].reason == foretell_pb2.FORECAST_REASON_OVERWRITE
    assert not cache.calls


async def test_nodes_inside_of_sub_workflows_are_told_under_their_ids() -> None:
    """And what the sub-workflow gives leads on."""
    a, b = _cached("a"), _cached("b")
    cache = MemoryCache()
    await _knows(cache, a, 1, 2)
    await _knows(cache, b, 2, 3)
    walk = await _walked(line(line(a), b), cache)
    assert _forecasts(walk) == [("n0", foretell_pb2.FORECAST_INNER), ("n0-0-n0", HIT), ("n1", HIT)]


async def test_a_cached_sub_workflow_is_looked_up_as_a_whole() -> None:
    """A hit tells nothing of what is inside; after a miss, or with inputs that are not known, its inner nodes are."""
    inner, last = _cached("a"), _cached("b")
    known = CachedTask("p", "d", "line", "v", "1", b"", is_workflow=True)
    plan = dataclasses.replace(line(line(inner), last), cached_workflows={2: known})
    cache = MemoryCache()
    await _knows(cache, last, 5, 6)
    walk = await _walked(plan, cache)
    assert _forecasts(walk) == [("n0", foretell_pb2.FORECAST_INNER), ("n0-0-n0", RUN), ("n1", OPEN)]
    assert walk.nodes[0].reason == foretell_pb2.FORECAST_REASON_MISS
    await cache.put([CachePut(CacheAsk(known, _call(inner, 1).inputs), outputs(5), SOURCE)])
    walk = await _walked(plan, cache)
    assert _forecasts(walk) == [("n0", HIT), ("n1", HIT)]
    assert walk.nodes[0].catalog_key
    walk = await _walked(plan, cache, mode=CacheMode.OVERWRITE)
    assert walk.nodes[0].forecast == foretell_pb2.FORECAST_INNER
    unknown = dataclasses.replace(line(task("t"), line(inner)), cached_workflows={3: known})
    walk = await _walked(unknown, cache)
    assert _forecasts(walk)[1:] == [("n1", foretell_pb2.FORECAST_INNER), ("n1-0-n0", OPEN)]


def _launching(plan: Plan, node: int = 2) -> Plan:
    """With an execution of launch plan `lp` in the place of a node."""
    targets = [*plan.targets]
    targets[node] = LaunchPlanSpec("p", "d", "lp", "v", ("o0",))
    kinds = [*plan.kinds]
    kinds[node] = NodeKind.LAUNCH_PLAN
    return dataclasses.replace(plan, targets=tuple(targets), kinds=tuple(kinds))


async def test_executions_that_would_be_launched_are_walked_into() -> None:
    """With their inputs and settings; what they come to leads on. Their nodes say who would launch them."""
    a, b = _cached("a"), _cached("b")
    cache = MemoryCache()
    await _knows(cache, a, 7, 2)
    await _knows(cache, b, 2, 3)
    walk = ForetellingWalk(_launching(line(task("x"), b)), {"x": integer(1).SerializeToString()}, CacheMode.USE, b"c")
    (child,) = walk.children()
    assert (child.launch_plan.name, child.inputs, child.config) == ("lp", {"x": integer(1).SerializeToString()}, b"c")
    walk.open_child(
        child, _launching(line(a, task("x")), 3), {"x": integer(7).SerializeToString()}, CacheMode.USE, b"d"
    )
    walk.answer(await cache.look_up(walk.calls()))
    (grandchild,) = walk.children()
    assert (grandchild.inputs, grandchild.config) == ({"x": integer(2).SerializeToString()}, b"d")
    walk.open_child(grandchild, line(a), grandchild.inputs, CacheMode.OFF, b"")
    assert not walk.calls()
    assert [(node.node_id, [*node.launched_by], node.forecast) for node in walk.nodes] == [
        ("n0", [], foretell_pb2.FORECAST_INNER),
        ("n0", ["n0"], HIT),
        ("n1", ["n0"], foretell_pb2.FORECAST_INNER),
        ("n0", ["n1", "n0"], RUN),
        ("n1", [], OPEN),
    ]
    assert walk.nodes[3].reason == foretell_pb2.FORECAST_REASON_CACHE_OFF


def test_not_every_execution_is_walked_into() -> None:
    """Not one whose inputs are not known, not one that would be refused, and a launch plan that launches itself not for
    ever."""
    walk = ForetellingWalk(_launching(line(task("x"), task("y")), 3), {"x": b""}, CacheMode.USE)
    assert not walk.children()
    assert "not known yet" in walk.nodes[1].explanation
    itself = _launching(line(task("x"), task("y")))
    walk = ForetellingWalk(itself, {"x": b""}, CacheMode.USE)
    depth = 0
    while children := walk.children():
        depth += 1
        for child in children:
            walk.open_child(child, itself, {"x": b""}, CacheMode.USE, b"")
    assert (depth, walk.runs) == (DEPTH_MAX, DEPTH_MAX + 2)  # a task in each, and the one that is not walked into
    walk = ForetellingWalk(itself, {"x": b""}, CacheMode.USE)
    walk.refuse_child(walk.children()[0], "no such launch plan")
    assert [node.forecast for node in walk.nodes] == [RUN, RUN]
    assert "no such launch plan" in walk.nodes[0].explanation


async def test_elements_of_maps_are_counted() -> None:
    """Those that are there and those that would run; all of them there make known outputs."""
    spec = _cached("t")
    cache = MemoryCache()
    for x in (1, 2):
        await _knows(cache, spec, x, x)
    walk = await _walked(array_plan(array(spec)), cache, x=integers([1, 2, 3]).SerializeToString())
    (node,) = walk.nodes
    assert (node.forecast, node.elements, node.elements_hit, walk.hits, walk.runs) == (RUN, 3, 2, 2, 1)
    walk = await _walked(array_plan(array(spec)), cache, x=integers([2, 1]).SerializeToString())
    assert [one.forecast for one in walk.nodes] == [HIT]


async def test_a_branch_leads_to_the_arm_that_it_would_take() -> None:
    """If its operands are known; the other arm is not told."""
    a, b = _cached("a"), _cached("b")
    plan = line(a)
    condition = Comparison(Operator.EQ, Fixed(integer(1).SerializeToString()), Fixed(integer(2).SerializeToString()))
    branch = BranchSpec(cases=((condition, 3),), otherwise=4, error=None, output_names=("o0",))
    plan = dataclasses.replace(
        plan,
        ids=(*plan.ids, "n0-a", "n0-b"),
        names=(*plan.names, "a", "b"),
        kinds=(NodeKind.START, NodeKind.END, NodeKind.BRANCH, NodeKind.TASK, NodeKind.TASK),
        indegree=(*plan.indegree, 2, 2),
        successors=((2, 3, 4), (), (1,), (), ()),
        bindings=(*plan.bindings, plan.bindings[2], plan.bindings[2]),
        uses=(3, 0, 1, 0, 0),
        targets=(None, None, branch, a, b),
        owners=(-1, -1, -1, 2, 2),
        attempts_max=(1,) * 5,
        timeout_s=(0.0,) * 5,
        interruptible=(None,) * 5,
    )
    cache = MemoryCache()
    await _knows(cache, b, 1, 5)
    walk = await _walked(plan, cache)
    assert [node.forecast for node in walk.nodes] == [foretell_pb2.FORECAST_INNER, HIT]
    assert walk.nodes[1].entity == "b"


def test_keys_of_the_test_cache_tell_calls_apart() -> None:
    """Else nothing above would mean anything."""
    assert key_of(_call(_cached("a"), 1)) != key_of(_call(_cached("a"), 2))
