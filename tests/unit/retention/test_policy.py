"""How long things are kept."""

from datetime import UTC, datetime, timedelta

from wingbeat_controlplane.retention.policy import Due, Policy, due, effective

NOW = datetime(2026, 5, 1, tzinfo=UTC)
OVERRIDES = {
    ("p", ""): Policy(executions_days=7),
    ("p", "production"): Policy(cache_days=0),
    ("q", "staging"): Policy(executions_days=0, cache_days=1),
}
DEFAULT = Policy(30, 90)


def test_the_nearest_level_that_says_something_counts() -> None:
    """Field by field: domain, then project, then installation."""
    assert effective("p", "production", OVERRIDES, DEFAULT) == Policy(7, 0)
    assert effective("p", "staging", OVERRIDES, DEFAULT) == Policy(7, 90)
    assert effective("q", "staging", OVERRIDES, DEFAULT) == Policy(0, 1)
    assert effective("r", "staging", OVERRIDES, DEFAULT) == DEFAULT


def test_what_is_due() -> None:
    """What is kept for ever is never due."""
    scopes = [("p", "production"), ("q", "staging"), ("r", "staging")]
    assert due(scopes, OVERRIDES, DEFAULT, NOW) == [
        Due("p", "production", NOW - timedelta(days=7), None),
        Due("q", "staging", None, NOW - timedelta(days=1)),
        Due("r", "staging", NOW - timedelta(days=30), NOW - timedelta(days=90)),
    ]
    assert due(scopes, {}, Policy(0, 0), NOW) == []
    assert due(scopes, {}, Policy(), NOW) == []
