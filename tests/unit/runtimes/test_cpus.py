"""CPUs for attempts with a limit."""

import pytest

from wingbeat_propeller.runtimes.local.wingbeat_task_host.cpus import CpuShares


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(None, None), (0.1, (0,)), (1.0, (0,)), (1.5, (0, 1)), (3.0, (0, 1, 2)), (3.5, None), (9, None)],
)
def test_as_many_as_the_limit_says(limit: float | None, expected: tuple[int, ...] | None) -> None:
    """Fractions are rounded up; a limit of all CPUs or more is none."""
    assert CpuShares([3, 1, 2, 0]).take("a", limit) == expected


def test_the_least_used_are_taken() -> None:
    """Attempts spread over all CPUs, and those that have ended leave room where they were."""
    shares = CpuShares(range(4))
    assert [shares.take(name, 1) for name in "abcd"] == [(0,), (1,), (2,), (3,)]
    shares.give_back("c")
    shares.give_back("c")
    shares.give_back("nobody")
    assert shares.take("e", 2) == (2, 0)
    assert shares.take("f", 1) == (1,)


def test_an_attempt_has_one_share() -> None:
    """Taken twice, it counts once."""
    shares = CpuShares(range(3))
    for _ in range(5):
        shares.take("a", 1)
    shares.give_back("a")
    assert shares.take("b", 2) == (0, 1)


def test_no_affinity_no_limit() -> None:
    """Where CPUs cannot be told apart nothing is limited."""
    assert CpuShares(()).take("a", 1) is None
