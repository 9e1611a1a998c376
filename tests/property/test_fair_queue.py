"""The fair queue against a plain model, over random pushes, pops and cancels."""

from hypothesis import given
from hypothesis import strategies as st

from wingbeat_propeller.engine.dispatch.fair_queue import FairQueue, Turn

_TENANTS = "abcd"
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sampled_from(_TENANTS), st.integers(0, 2)),
        st.tuples(st.just("pop"), st.just(""), st.just(0)),
        st.tuples(st.just("cancel"), st.just(""), st.integers(0, 50)),
    ),
    max_size=120,
)
_WEIGHTS = st.fixed_dictionaries({tenant: st.integers(1, 7) for tenant in _TENANTS})


@given(steps=_STEPS, weights=_WEIGHTS)
def test_nothing_is_lost_and_places_are_exact(steps: list[tuple[str, str, int]], weights: dict[str, int]) -> None:
    """Each item comes out once, unless cancelled, in the place the queue foretold; a tenant's own order is kept."""
    queue: FairQueue[str, int, int] = FairQueue(weight=lambda tenant: weights[tenant])
    waiting: dict[int, tuple[str, int]] = {}
    for serial, (action, tenant, number) in enumerate(steps):
        if action == "push":
            queue.push(tenant, serial, serial, priority=number)
            waiting[serial] = (tenant, number)
        elif action == "cancel":
            assert queue.cancel(number) == (waiting.pop(number, None) is not None)
        else:
            item = queue.pop()
            assert (item is None) == (not waiting)
            if item is not None:
                del waiting[item]
        assert len(queue) == len(waiting)
    foretold = {key: queue.place(key) for key in waiting}
    came = [queue.pop() for _ in range(len(waiting))]
    assert queue.pop() is None
    assert {key: came.index(key) for key in waiting} == foretold
    for name in _TENANTS:
        own = [key for key in came if key is not None and waiting[key][0] == name]
        assert own == sorted(own, key=lambda key: (-waiting[key][1], key))


@given(counts=st.lists(st.integers(0, 60), min_size=4, max_size=4), weights=_WEIGHTS)
def test_backlogged_tenants_share_by_weight(counts: list[int], weights: dict[str, int]) -> None:
    """While all of them wait, no tenant is ever more than a turn or so away from its weighted share."""
    queue: FairQueue[str, tuple[str, int], str] = FairQueue(weight=lambda tenant: weights[tenant])
    left = dict(zip(_TENANTS, counts, strict=True))
    for tenant, count in left.items():
        for number in range(count):
            queue.push(tenant, (tenant, number), tenant)
    given_out = dict.fromkeys(_TENANTS, 0)
    while all(left.values()):
        tenant = queue.pop()
        assert tenant is not None
        left[tenant] -= 1
        given_out[tenant] += 1
        shares = [given_out[name] / weights[name] for name in _TENANTS]
        assert max(shares) - min(shares) <= 1 + 1e-9


_LIMIT_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sampled_from(_TENANTS), st.integers(0, 2)),
        st.tuples(st.sampled_from(["take", "give back", "resume"]), st.just(""), st.just(0)),
        st.tuples(st.just("limit"), st.sampled_from(_TENANTS), st.just(0)),
        st.tuples(st.just("cancel"), st.just(""), st.integers(0, 80)),
    ),
    max_size=150,
)


@given(steps=_LIMIT_STEPS, weights=_WEIGHTS)
def test_limits_and_what_is_given_back_lose_nothing(steps: list[tuple[str, str, int]], weights: dict[str, int]) -> None:
    """Tenants at a limit get nothing; in the end each item came out once, a tenant's in their order."""
    queue: FairQueue[str, int, int] = FairQueue(weight=lambda tenant: weights[tenant])
    waiting: dict[int, tuple[str, int]] = {}
    taken: list[Turn[str, int, int]] = []
    limited: set[str] = set()
    for serial, (action, tenant, number) in enumerate(steps):
        if action == "push":
            queue.push(tenant, serial, serial, priority=number)
            waiting[serial] = (tenant, number)
        elif action == "take":
            turn = queue.take(limited.__contains__)
            if turn is not None:
                assert turn.tenant not in limited
                del waiting[turn.key]
                taken.append(turn)
        elif action == "give back" and taken:
            turn = taken.pop()
            queue.give_back(turn)
            waiting[turn.key] = (turn.tenant, -turn.rank[0])
        elif action == "limit":
            limited ^= {tenant}
        elif action == "resume":
            queue.resume()
        elif action == "cancel":
            assert queue.cancel(number) == (waiting.pop(number, None) is not None)
        assert len(queue) == len(waiting)
        assert sum(queue.waiting().values()) == len(waiting)
    queue.resume()
    came = [queue.pop() for _ in range(len(waiting))]
    assert queue.pop() is None
    assert sorted(key for key in came if key is not None) == sorted(waiting)
    for name in _TENANTS:
        own = [key for key in came if key is not None and waiting[key][0] == name]
        assert own == sorted(own, key=lambda key: (-waiting[key][1], key))
