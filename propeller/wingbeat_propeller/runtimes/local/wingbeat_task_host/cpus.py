"""Which CPUs an attempt with a limit runs on: as many as its limit says, those that serve the fewest such attempts.

An attempt keeps to its CPUs by affinity, which every thread and process it starts inherits; fractions are rounded up,
since no CPU can be split without control groups. What runs without a limit goes anywhere. The shares live in the
memory of one host and are forgotten with it; attempts that it finds running keep what they have.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from math import ceil


class CpuShares:
    """CPUs handed out to attempts by name."""

    def __init__(self, cpus: Iterable[int]) -> None:
        self._load = dict.fromkeys(sorted(cpus), 0)
        self._taken: dict[str, tuple[int, ...]] = {}

    def take(self, name: str, limit: float | None) -> tuple[int, ...] | None:
        """CPUs for an attempt; None when it may use all there are."""
        if limit is None or ceil(limit) >= len(self._load):
            return None
        chosen = tuple(sorted(self._load, key=self._load.__getitem__)[: max(1, ceil(limit))])
        self.give_back(name)
        self._taken[name] = chosen
        for cpu in chosen:
            self._load[cpu] += 1
        return chosen

    def give_back(self, name: str) -> None:
        """The attempt has ended; one that has no share is fine."""
        for cpu in self._taken.pop(name, ()):
            self._load[cpu] -= 1


def usable_cpus() -> set[int]:
    """CPUs this process may use; none on systems that know no affinity, where nothing is limited then."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def keep_to(cpus: tuple[int, ...] | None) -> None:
    """Use no others from now on, in this process and whatever it starts. Raises OSError when they are gone."""
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
