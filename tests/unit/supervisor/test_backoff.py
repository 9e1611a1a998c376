"""Pauses between restarts."""

from wingbeat_controlplane.supervisor.child_keeper import backoff_s


def test_pauses_double_up_to_a_limit() -> None:
    """The first restart is nearly at once, later ones wait longer, none waits longer than the limit."""
    pauses = [backoff_s(deaths) for deaths in range(1, 60)]

    assert pauses[0] == 0.1
    assert pauses[1] == 0.2
    assert pauses == sorted(pauses)
    assert max(pauses) == pauses[-1] == 10.0
