"""Weights and limits of tenants, looked up."""

from wingbeat_propeller.engine.shares import Shares
from wingbeat_propeller.ports.slots import TenantShare

SHARES = Shares(
    [
        TenantShare("p", "", weight=2, running_max=10),
        TenantShare("p", "d", weight=5),
        TenantShare("p", "e", running_max=3),
        TenantShare("q", "d", running_max=0),
    ]
)


def test_the_most_specific_weight_counts() -> None:
    """A domain without a weight has its project's, and a project without one has 1."""
    tenants = [("p", "d"), ("p", "e"), ("p", "f"), ("q", "d"), ("r", "d")]
    assert [SHARES.weight(tenant) for tenant in tenants] == [5, 2, 2, 1, 1]


def test_all_limits_hold() -> None:
    """A tenant has its own limit and its project's, a limit of zero being one; most have none."""
    assert SHARES.limits(("p", "e")) == ((("p", "e"), 3), (("p", ""), 10))
    assert SHARES.limits(("p", "d")) == ((("p", ""), 10),)
    assert SHARES.limits(("q", "d")) == ((("q", "d"), 0),)
    assert SHARES.limits(("r", "d")) == ()
    assert Shares().limits(("p", "d")) == ()
