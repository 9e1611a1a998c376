"""The fair queue: turns by weight, limits, priorities, cancelling, places in line."""

import pytest

from wingbeat_propeller.engine.dispatch.fair_queue import FairQueue, QueueFullError


def _drain(queue: FairQueue[str, str, str]) -> list[str]:
    items: list[str] = []
    while (item := queue.pop()) is not None:
        items.append(item)
    return items


def _fill(queue: FairQueue[str, str, str], tenant: str, count: int) -> None:
    for number in range(count):
        queue.push(tenant, f"{tenant}{number}", f"{tenant}{number}")


def test_a_crowded_tenant_does_not_starve_another() -> None:
    """One item that comes behind ten thousand of another tenant is given out at once."""
    queue: FairQueue[str, str, str] = FairQueue()
    _fill(queue, "a", 10_000)
    assert [queue.pop() for _ in range(3)] == ["a0", "a1", "a2"]
    queue.push("b", "b0", "b0")
    assert "b0" in [queue.pop() for _ in range(2)]


def test_turns_follow_weights() -> None:
    """A tenant of weight three gets three turns where a tenant of weight one gets one."""
    queue: FairQueue[str, str, str] = FairQueue(weight=lambda tenant: {"a": 3, "b": 1}[tenant])
    _fill(queue, "a", 100)
    _fill(queue, "b", 100)
    first = [str(queue.pop()) for _ in range(40)]
    assert sum(item.startswith("a") for item in first) == 30


def test_idleness_saves_up_nothing() -> None:
    """A tenant that comes back after others got many turns gets its share from now on, not what it missed."""
    queue: FairQueue[str, str, str] = FairQueue()
    queue.push("b", "early", "early")
    _fill(queue, "a", 1_000)
    for _ in range(500):
        queue.pop()
    _fill(queue, "b", 100)
    next_items = [str(queue.pop()) for _ in range(20)]
    assert sum(item.startswith("b") for item in next_items) in (10, 11)


def test_weights_change_for_lines_that_exist() -> None:
    """After `reweigh` the turns of waiting tenants follow the new weights."""
    weights = {"a": 1, "b": 1}
    queue: FairQueue[str, str, str] = FairQueue(weight=lambda tenant: weights[tenant])
    _fill(queue, "a", 200)
    _fill(queue, "b", 200)
    assert sum(str(queue.pop()).startswith("a") for _ in range(40)) == 20
    weights["a"] = 3
    queue.reweigh()
    assert sum(str(queue.pop()).startswith("a") for _ in range(40)) in (29, 30, 31)


def test_a_tenant_at_its_limit_is_passed_over() -> None:
    """A tenant at its limit holds nobody up, waits until it is resumed, and saves up no turns."""
    queue: FairQueue[str, str, str] = FairQueue()
    _fill(queue, "a", 10)
    _fill(queue, "b", 40)
    at_limit = {"a"}
    assert [str(queue.pop(at_limit.__contains__))[0] for _ in range(10)] == ["b"] * 10
    assert set(queue.aside) == {"a"}
    assert queue.waiting_aside == 10
    at_limit.clear()
    assert [str(queue.pop(at_limit.__contains__))[0] for _ in range(3)] == ["b"] * 3
    queue.resume(["a"])
    assert "".join(str(queue.pop(at_limit.__contains__))[0] for _ in range(8)).count("a") in (4, 5)
    at_limit.add("a")
    while queue.pop(at_limit.__contains__) is not None:
        pass
    assert set(queue.waiting()) == {"a"}
    queue.resume()
    assert queue.pop(at_limit.__contains__) is None
    assert queue.pop() is None


def test_what_is_given_back_keeps_its_place_and_its_turn() -> None:
    """An item that could not go stands where it stood, and its tenant has lost no turn by it."""
    queue: FairQueue[str, str, str] = FairQueue()
    _fill(queue, "a", 3)
    _fill(queue, "b", 3)
    first = queue.take()
    assert first is not None
    assert first.key == "a0"
    queue.give_back(first)
    assert queue.pop() == "b0"
    queue.push("a", "a3", "a3")
    queue.resume()
    assert _drain(queue) == ["a0", "a1", "b1", "a2", "b2", "a3"]


def test_the_last_item_given_back_can_be_cancelled() -> None:
    """Also a line that was empty meanwhile takes its item back, and cancelling it leaves nothing set aside."""
    queue: FairQueue[str, str, str] = FairQueue()
    queue.push("a", "a0", "a0")
    turn = queue.take()
    assert turn is not None
    queue.give_back(turn)
    assert queue.pop() is None
    assert queue.cancel("a0")
    assert set(queue.aside) == set()
    queue.push("a", "a1", "a1")
    assert queue.pop() == "a1"


def test_priority_orders_within_a_tenant() -> None:
    """Higher priorities go first, equal ones in order of arrival, and only inside their tenant."""
    queue: FairQueue[str, str, str] = FairQueue()
    for key, priority in (("low", 0), ("high", 5), ("high2", 5), ("middle", 1)):
        queue.push("a", key, key, priority)
    assert _drain(queue) == ["high", "high2", "middle", "low"]


def test_cancelled_items_never_come_out() -> None:
    """A cancelled item is gone, its key may come again, and counts are right at each moment."""
    queue: FairQueue[str, str, str] = FairQueue()
    _fill(queue, "a", 200)
    for number in range(0, 200, 2):
        assert queue.cancel(f"a{number}")
    assert not queue.cancel("a0")
    assert len(queue) == 100
    queue.push("a", "a0", "again")
    assert queue.waiting() == {"a": 101}
    assert _drain(queue) == [*(f"a{number}" for number in range(1, 200, 2)), "again"]


def test_a_full_queue_says_so() -> None:
    """The limit is visible before it is hit, and passing it is an error, never a lost item."""
    queue: FairQueue[str, str, str] = FairQueue(items_max=2)
    _fill(queue, "a", 2)
    assert queue.full
    with pytest.raises(QueueFullError):
        queue.push("b", "b0", "b0")
    assert _drain(queue) == ["a0", "a1"]
