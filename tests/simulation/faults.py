"""What goes wrong in a world: drawn from its seed, a different mixture for each.

Every kind of fault is on in about half of the worlds, with an intensity of its own, so that faults also meet without
the others hiding what they do; one world in eight has none. Faults end at `Plan.until_s`; from then on everything
answers, fast and once, and the checkers expect all work to end.
"""

import random
from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """What becomes of a call to a store."""

    DONE = 0
    REFUSED = 1
    """It has no effect, and the caller sees an error."""
    LOST = 2
    """It takes effect, and the caller sees an error."""
    LATE = 3
    """The caller sees an error first; it takes effect afterwards."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One call: seconds until it takes effect, seconds from there to its answer, and its fate."""

    there_s: float
    back_s: float
    fate: Fate


@dataclass(slots=True)
class FaultPlan:
    """Probabilities a call (or an event), and how often what happens while the world lasts; all zero: no faults."""

    until_s: float = 0.0
    statement_refused: float = 0.0
    statement_lost: float = 0.0
    statement_late: float = 0.0
    statement_slow: float = 0.0
    blob_failed: float = 0.0
    blob_slow: float = 0.0
    event_late: float = 0.0
    event_doubled: float = 0.0
    attempt_failed_by_system: float = 0.0
    """Attempts that the runtime loses and reports as a failure of the system's."""
    attempt_untold: float = 0.0
    """Attempts of a dying machine that are lost without a trace, when their engine dies."""
    kills: int = 0
    """Kills of an engine at a callback drawn from the seed."""
    kill_at_commit: float = 0.0
    """Between a commit and its callback."""
    kill_at_launch: float = 0.0
    """Just before or after attempts are handed to the runtime."""
    pauses: int = 0
    stops: int = 0
    """Engines told to stop, that then come back."""
    clock_jumps: int = 0
    outages: int = 0
    """Times in which no statement is answered."""
    notifications_lost: float = 0.0
    aborts: float = 0.0
    """Executions that somebody aborts."""


def draw_plan(rng: random.Random) -> FaultPlan:
    """A mixture of faults."""
    plan = FaultPlan(until_s=rng.uniform(3.0, 20.0))
    if rng.random() < 0.125:
        return FaultPlan()
    for name, most in _MOST.items():
        if rng.random() < 0.5:
            setattr(plan, name, rng.randint(1, most) if isinstance(most, int) else rng.random() * most)
    return plan


_MOST: dict[str, float] = {
    "statement_refused": 0.1,
    "statement_lost": 0.1,
    "statement_late": 0.05,
    "statement_slow": 0.1,
    "blob_failed": 0.2,
    "blob_slow": 0.2,
    "event_late": 0.5,
    "event_doubled": 0.5,
    "attempt_failed_by_system": 0.3,
    "attempt_untold": 0.6,
    "kills": 4,
    "kill_at_commit": 0.08,
    "kill_at_launch": 0.08,
    "pauses": 3,
    "stops": 2,
    "clock_jumps": 3,
    "outages": 2,
    "notifications_lost": 0.7,
    "aborts": 0.3,
}

BLOB_FAILURES_MAX = 3
"""In a row for one object: the engine rides out five and then gives the node up, which no interpreter foresees."""


class Faults:
    """Decides about each call. `clock` is virtual time."""

    def __init__(self, rng: random.Random, plan: FaultPlan) -> None:
        self._rng = rng
        self.plan = plan
        self.on = plan.until_s > 0
        self._blob_failures: dict[tuple[str, str], int] = {}
        self.outage_until_s = 0.0

    def happens(self, probability: float) -> bool:
        """Whether something of this probability happens now."""
        return self.on and probability > 0 and self._rng.random() < probability

    def uniform(self, low: float, high: float) -> float:
        """A number from the world's dice."""
        return self._rng.uniform(low, high)

    def statement(self, now: float) -> Passage:
        """The way of one SQL statement."""
        rng, plan = self._rng, self.plan
        there, back = rng.random() * 0.003, rng.random() * 0.003
        if not self.on:
            return Passage(there, back, Fate.DONE)
        if now < self.outage_until_s:
            return Passage(self.outage_until_s - now if rng.random() < 0.2 else there, back, Fate.REFUSED)
        if self.happens(plan.statement_slow):
            there += rng.random() * 2.0
        if self.happens(plan.statement_slow):
            back += rng.random() * 2.0
        fate = Fate.DONE
        if self.happens(plan.statement_refused):
            fate = Fate.REFUSED
        elif self.happens(plan.statement_lost):
            fate = Fate.LOST
        elif self.happens(plan.statement_late):
            fate = Fate.LATE
            back = rng.random() * 0.1
        return Passage(there, back, fate)

    def blob(self, operation: str, uri: str) -> Passage:
        """The way of one call to the blob store."""
        rng, plan = self._rng, self.plan
        there, back = rng.random() * 0.002, rng.random() * 0.002
        if self.happens(plan.blob_slow):
            # No store fences what is on its way to it: the engine relies on deletions that do not arrive after the
            # margin of its lease.
            if operation == "delete":
                back += rng.random() * 3.0
            else:
                there += rng.random() * 3.0
        place = (operation, uri)
        if self._blob_failures.get(place, 0) < BLOB_FAILURES_MAX and self.happens(plan.blob_failed):
            self._blob_failures[place] = self._blob_failures.get(place, 0) + 1
            return Passage(there, back, rng.choice((Fate.REFUSED, Fate.LOST)))
        self._blob_failures.pop(place, None)
        return Passage(there, back, Fate.DONE)

    def event_delays(self) -> list[float]:
        """When an event of the runtime arrives, in seconds from now; twice or more if it is doubled."""
        rng, plan = self._rng, self.plan
        delays = [rng.random() * 0.01]
        while len(delays) < 4 and self.happens(plan.event_doubled):
            delays.append(rng.random() * 4.0)
        if self.happens(plan.event_late):
            delays[0] += rng.random() * 3.0
        return delays
