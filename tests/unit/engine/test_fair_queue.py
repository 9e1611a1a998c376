"""The fair queue: turns by weight, limits, priorities, cancelling, places in line."""

import pytest

from wingbeat_propeller.engine.fair_queue import FairQueue, QueueFullError, Share


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
    shares = {"a": Share(weight=3), "b": Share(weight=1)}
    queue: FairQueue[str, str, str] = FairQueue(share=lambda tenant: shares[tenant])
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


def test_a_tenant_at_its_limit_is_passed_over() -> None:
    """Limits look at what the caller says is under way, hold back one tenant only, and save up no turns."""
    queue: FairQueue[str, str, str] = FairQueue(share=lambda tenant: Share(running_max=2 if tenant == "a" else None))
    _fill(queue, "a", 10)
    _fill(queue, "b", 20)
    assert [str(queue.pop({"a": 2}))[0] for _ in range(10)] == ["b"] * 10
    assert "".join(str(queue.pop({"a": 1}))[0] for _ in range(8)).count("a") in (4, 5)
    while len(queue) and queue.pop({"a": 2}) is not None:
        pass
    assert set(queue.waiting()) == {"a"}
    assert queue.pop({"a": 2}) is None


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


def test_a_weight_is_bounded() -> None:
    """A weight that would give no turns, or all of them, is refused."""
    with pytest.raises(ValueError, match="weight"):
        Share(weight=0)
