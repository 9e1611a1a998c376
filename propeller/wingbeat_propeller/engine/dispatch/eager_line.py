"""Attempts of eager tasks: Python that launches executions and waits for them.

Such a task does next to nothing itself, but needs its children to run. Were it to take the room of one, a few of them
would leave no room for any child, and all would wait for ever. So they have a line and room of their own. An eager task
that another one waits for (flytekit labels its execution) starts whether there is room or not, for the same reason:
what bounds those is the user's own nesting.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar

from prometheus_client import Gauge

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.engine.dispatch.fair_queue import FairQueue
from wingbeat_propeller.engine.live import LiveExecution, Tenant

T = TypeVar("T")

EAGER_MAX = 32
"""Attempts under way at once that no other eager task waits for; each is a process."""
CHILD_LABEL = "eager-exec"
"""Label that flytekit gives to executions which an eager task launches; its value is the execution of that task."""

_WAITING = Gauge("wingbeat_queued_eager_attempts", "Attempts of eager tasks that wait for room")


class EagerLine(Generic[T]):
    """Those that wait, and the count of those that run. `under_way` is the dispatcher's own map of what runs."""

    def __init__(self, under_way: Mapping[str, object]) -> None:
        self._under_way = under_way
        self._queue: FairQueue[Tenant, str, tuple[str, T]] = FairQueue()
        self._nested: dict[str, T] = {}
        self._started: dict[str, bool] = {}
        """Names of those that were started, and whether they count."""

    def __len__(self) -> int:
        """Attempts that wait."""
        return len(self._queue) + len(self._nested)

    def __contains__(self, name: str) -> bool:
        return name in self._nested or name in self._queue

    @property
    def under_way(self) -> int:
        """Attempts under way, which take no room of others."""
        self._forget_ended()
        return len(self._started)

    @staticmethod
    def takes(launch: Launch) -> bool:
        """Whether the task is an eager one."""
        return launch.task.template.metadata.is_eager

    def push(self, live: LiveExecution, name: str, item: T) -> None:
        """Have it wait for its turn."""
        if _is_nested(live):
            self._nested[name] = item
        else:
            self._queue.push(live.tenant, name, (name, item))
        _WAITING.set(len(self))

    def cancel(self, name: str) -> bool:
        """Take it out of the line; returns whether it was there."""
        found = self._nested.pop(name, None) is not None or self._queue.cancel(name)
        _WAITING.set(len(self))
        return found

    def place(self, name: str) -> int:
        """How many leave the line before this one; 0 when it does not wait."""
        return self._queue.place(name) or 0

    def waiting(self) -> Mapping[Tenant, int]:
        """How many of each tenant wait for room."""
        return self._queue.waiting()

    def take(self) -> T | None:
        """The next one that may start now, None when there is none; the caller puts it under way at once."""
        found: tuple[str, T] | None = None
        if self._nested:
            name = next(iter(self._nested))
            found = (name, self._nested.pop(name))
            self._started[name] = False
        elif len(self._queue):
            self._forget_ended()
            if sum(self._started.values()) < EAGER_MAX and (found := self._queue.pop()) is not None:
                self._started[found[0]] = True
        _WAITING.set(len(self))
        return None if found is None else found[1]

    def adopted(self, live: LiveExecution, name: str) -> None:
        """This one has been under way since before a restart."""
        self._started[name] = not _is_nested(live)

    def _forget_ended(self) -> None:
        if any(name not in self._under_way for name in self._started):
            self._started = {name: counts for name, counts in self._started.items() if name in self._under_way}


def _is_nested(live: LiveExecution) -> bool:
    return CHILD_LABEL in live.labels
