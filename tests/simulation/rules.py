"""What executions of a world are launched with beside their program: a line to wait in, and deadlines.

Drawn with dice of its own, so that a world's programs and faults are the same with and without.
"""

import random
from dataclasses import dataclass
from typing import TypedDict

PLAN = 1
"""Row id of the one launch plan that has a line."""


class Drawn(TypedDict):
    """Of one execution; see `checkers.Launched`."""

    alive_max: int
    replaces: bool
    queue_s: float | None
    deadline_s: float | None


NO_RULES: Drawn = {"alive_max": 0, "replaces": False, "queue_s": None, "deadline_s": None}
"""Of what executions launch: their nodes wait for them, and with a line in common for ever."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one world."""

    rng: random.Random
    alive_max: int
    """0: nothing waits."""
    replaces: bool
    with_deadlines: bool

    def draw(self) -> Drawn:
        """Rules of the next execution."""
        rng = self.rng
        return {
            "alive_max": self.alive_max,
            "replaces": self.replaces and self.alive_max > 0,
            "queue_s": rng.random() * 5.0 if self.with_deadlines and rng.random() < 0.3 else None,
            "deadline_s": rng.random() * 10.0 if self.with_deadlines and rng.random() < 0.3 else None,
        }


def draw_rules(rng: random.Random) -> Rules:
    """A line in every other world, deadlines in every third."""
    return Rules(
        rng,
        alive_max=rng.choice((0, 0, 0, 1, 1, 2)),
        replaces=rng.random() < 0.4,
        with_deadlines=rng.random() < 0.33,
    )
