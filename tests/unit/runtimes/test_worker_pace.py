"""What a worker learns from how long its tasks take."""

import pytest

from wingbeat.worker.pace import AHEAD_PER_SLOT_MAX, LINE_MAX, LONG_S, Pace

SLOTS = 4


def learned(took_s: float, cpu_s: float, waits: int, times: int = 100) -> Pace:
    pace = Pace(SLOTS)
    for _ in range(times):
        pace.learn(took_s, cpu_s, waits)
    return pace


def test_a_new_worker_knows_nothing() -> None:
    """So it takes nothing ahead and nothing lines up."""
    pace = Pace(SLOTS)
    assert (pace.ahead, pace.line) == (0, 1)


@pytest.mark.parametrize(
    ("took_s", "cpu_s", "waits", "ahead", "line"),
    [
        (0.0005, 0.0005, 0, SLOTS * AHEAD_PER_SLOT_MAX, LINE_MAX),
        (0.0, 0.0, 0, SLOTS * AHEAD_PER_SLOT_MAX, LINE_MAX),
        (0.002, 0.002, 0, SLOTS * AHEAD_PER_SLOT_MAX, 4),
        (0.02, 0.002, 0, 19, 4),  # the processors are shared
        (0.02, 0.011, 0, 19, 1),  # too long to be stood in line for
        (0.02, 0.0005, 3, 19, 1),  # it waits for something: others can run meanwhile
        (0.06, 0.0005, 1, 0, 1),
        (0.2, 0.0005, 0, 0, 1),
    ],
)
def test_quick_tasks_line_up(took_s: float, cpu_s: float, waits: int, ahead: int, line: int) -> None:
    """The shorter the longer the line, unless they wait for something."""
    pace = learned(took_s, cpu_s, waits)
    assert (pace.ahead, pace.line) == (ahead, line)


def test_some_tasks_that_wait_change_little() -> None:
    """What counts is what most do."""
    pace = Pace(SLOTS)
    for number in range(100):
        pace.learn(0.001, 0.001, int(number % 8 == 0))
    assert pace.line > 1


def test_a_long_task_ends_both_at_once() -> None:
    """And it takes some quick ones until they begin again."""
    pace = learned(0.001, 0.001, 0)
    pace.learn(2 * LONG_S, 0.001, 0)
    assert (pace.ahead, pace.line) == (0, 1)
    pace.learn(0.001, 0.001, 0)
    assert (pace.ahead, pace.line) == (0, 1)
    for _ in range(40):
        pace.learn(0.001, 0.001, 0)
    assert pace.ahead > 0
    assert pace.line > 1
