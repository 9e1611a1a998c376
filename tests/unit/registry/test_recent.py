"""The memory of what never changes stays within its weight."""

from hypothesis import given
from hypothesis import strategies as st

from wingbeat_controlplane.registry.recent import Recent


def test_least_recently_used_go_first() -> None:
    """Reading keeps an entry; what was not used for longest makes room."""
    recent: Recent[str, int] = Recent(40)
    for key in "abcd":
        recent.put(key, ord(key), 10)
    assert recent.get("a") == ord("a")
    recent.put("e", 0, 10)
    assert recent.get("b") is None
    assert recent.get("a") == ord("a")


def test_what_is_too_heavy_is_not_kept() -> None:
    """One entry never drives out everything else."""
    recent: Recent[str, int] = Recent(40)
    recent.put("a", 1, 10)
    recent.put("big", 1, 11)
    assert recent.get("big") is None
    assert recent.get("a") == 1


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 12))))
def test_weight_is_bounded(puts: list[tuple[int, int]]) -> None:
    """Whatever is put, the weight of what can still be got is at most the limit."""
    recent: Recent[int, int] = Recent(40)
    for key, weight in puts:
        recent.put(key, weight, weight)
    assert sum(recent.get(key) or 0 for key in range(21)) <= 40
