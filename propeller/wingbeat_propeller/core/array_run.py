"""An array node under way: its elements in a few dense arrays, and a small record for each of those under way.

An element costs a byte for its phase, two for its attempt and two for its system failures, and its outputs until the
end, when those are small. Which elements have begun follows from `next`; the order is that of their indexes.
"""

from array import array
from dataclasses import dataclass

from wingbeat_propeller.core.array_inputs import ArrayInputs
from wingbeat_propeller.core.caching import CacheMode, Caching
from wingbeat_propeller.core.events import LookedUp
from wingbeat_propeller.core.failure_summary import FailureSummary
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.core.phases import TASK_FINAL, TaskPhase
from wingbeat_propeller.core.plan import ArraySpec
from wingbeat_propeller.core.rows import ElementRow

CLOSED = ArrayInputs(0, {}, {})


@dataclass(slots=True, eq=False)
class ElementRun:
    """An element between its turn and its end. Times are seconds since the epoch."""

    queued_at: float
    started_at: float | None = None
    """Of the current attempt."""
    retry_at: float | None = None
    """While it pauses: when the current attempt begins."""
    child: int | None = None
    """Number of its frame, where elements are frames or an attempt has made a workflow."""
    futures_uri: str | None = None
    """Where that workflow stands."""
    may_have_begun: bool = False
    """Before a restart, although no row says so."""
    cache: Caching | None = None
    """Set where outputs may come from the cache, or go there."""

    @property
    def is_done(self) -> bool:
        """Whether it is over, and being put into the cache."""
        return self.cache is not None and self.cache.result is not None

    @property
    def waits(self) -> bool:
        """Whether it has not begun for want of a reservation, or of a slot since it has that."""
        return self.cache is not None and (self.cache.waits or self.cache.lacks_slot)

    def deadline(self, timeout_s: float) -> float:
        """When its attempt, or all of its attempts together, will have taken too long."""
        over_all = self.queued_at + 2 * timeout_s
        return over_all if self.started_at is None else min(self.started_at + timeout_s, over_all)

    def due_at(self, timeout_s: float) -> float | None:
        """When something is to be done about it; `timeout_s` 0 is none."""
        if not timeout_s:
            return self.retry_at
        deadline = self.deadline(timeout_s)
        return deadline if self.retry_at is None else min(self.retry_at, deadline)


class ArrayRun:
    """Elements of one array node. `core.kinds.array` decides, this remembers."""

    __slots__ = (
        "attempts",
        "cache",
        "failed",
        "failures",
        "gathering",
        "held",
        "inputs",
        "is_open",
        "is_resting",
        "lacking",
        "looked_up",
        "looking",
        "misses",
        "needed",
        "next",
        "outputs",
        "phases",
        "putting",
        "recalling",
        "repeats",
        "size",
        "spec",
        "succeeded",
        "system_failures",
        "under_way",
        "wake_at",
    )

    def __init__(self, spec: ArraySpec, size: int, cache: CacheMode = CacheMode.OFF) -> None:
        self.spec = spec
        self.size = size
        self.cache = cache if spec.cached is not None else CacheMode.OFF
        self.looked_up = 0 if self.cache is CacheMode.USE else size
        """Every element below is known to be in the cache or not to be."""
        self.looking = False
        """The next ones are being looked up."""
        self.misses: dict[int, LookedUp] = {}
        """Of elements that are not there and whose turn has not come."""
        self.putting = 0
        """Elements under way that are over, and being put into the cache: they take nobody's room."""
        self.held = 0
        """Elements under way that have not begun, as another call has their reservation."""
        self.is_resting = False
        """The array's slot of max_parallelism is given back, since no element of it would run."""
        self.lacking: list[int] = []
        """Elements that would, once there is a slot again."""
        self.repeats = 0
        """After a restart: so many of the next elements may have begun before, although no row says so."""
        self.needed = spec.successes_needed(size)
        """How many elements must succeed."""
        self.phases = bytearray(size)
        """TaskPhase; UNDEFINED until the element's turn has come."""
        self.attempts = array("H", bytes(2 * size))
        self.system_failures = array("H", bytes(2 * size))
        self.outputs: list[bytes | str | None] = [None] * size if spec.output_names else []
        """Of elements that succeeded: a serialized LiteralMap, or where it is stored."""
        self.succeeded = 0
        self.failed = 0
        self.failures = FailureSummary()
        self.under_way: dict[int, ElementRun] = {}
        self.next = 0
        """Every element below has had its turn."""
        self.inputs: ArrayInputs = CLOSED
        self.is_open = False
        """Whether what an element needs of the inputs is at hand, so that elements may begin."""
        self.recalling = False
        """Elements that need not run are being looked for; until they are known, none begins."""
        self.gathering = False
        """All elements have ended well enough, and their outputs are being put together."""
        self.wake_at: float | None = None
        """When the timer of the elements' deadlines fires, if one is set."""

    @property
    def is_lost(self) -> bool:
        """Whether too many have failed."""
        return self.failed > self.size - self.needed

    @property
    def is_over(self) -> bool:
        """Whether every element has ended."""
        return self.succeeded + self.failed == self.size

    @property
    def is_held(self) -> bool:
        """Whether no element runs, or is to be tried again, as others have the reservations of all."""
        return self.held > 0 and self.held == len(self.under_way) - self.putting

    @property
    def last_begun(self) -> int:
        """The highest index of an element that has had its turn, -1 if none has."""
        return next((index for index in range(self.size - 1, -1, -1) if self.phases[index]), -1)

    @property
    def caches(self) -> bool:
        """Whether outputs of elements go into the cache."""
        return self.cache is not CacheMode.OFF

    def has_room(self, limit: int) -> bool:
        """Whether another element may begin where `limit` may run; as many again may be being put meanwhile."""
        return len(self.under_way) - self.putting < limit and len(self.under_way) < 2 * limit

    def open(self, inputs: ArrayInputs) -> None:
        """What elements are given is known."""
        self.inputs = inputs
        self.is_open = True

    def element(self, index: int, attempt: int) -> ElementRun | None:
        """An element while that attempt of it is under way."""
        element = self.under_way.get(index)
        if element is None or self.attempts[index] != attempt or element.retry_at is not None:
            return None
        if element.waits or element.is_done:
            return None
        return element if element.futures_uri is None else None  # what it made is under way, the attempt is over

    def succeed(self, index: int, outputs: bytes | str | None) -> None:
        """Note the end of an element."""
        del self.under_way[index]
        self.phases[index] = TaskPhase.SUCCEEDED
        self.succeeded += 1
        if self.outputs:
            self.outputs[index] = outputs

    def fail(self, index: int, failure: Failure) -> None:
        """Note the end of an element."""
        del self.under_way[index]
        self.phases[index] = TaskPhase.FAILED
        self.failed += 1
        self.failures.add(index, failure)

    def restore(self, row: ElementRow) -> None:
        """Take in what was stored of an element's last attempt."""
        index = row.element
        self.attempts[index] = row.attempt
        self.system_failures[index] = row.system_failures
        cache = None if self.cache is CacheMode.OFF else Caching(None, row.cache_status)
        self.under_way[index] = ElementRun(row.queued_at, row.started_at, cache=cache)
        if row.phase == TaskPhase.SUCCEEDED:
            self.succeed(index, row.outputs if row.outputs is not None else row.output_uri)
        elif row.phase in TASK_FINAL:
            assert row.failure is not None, "an attempt that failed has a reason"
            self.fail(index, row.failure)
        elif row.phase == TaskPhase.RETRYABLE_FAILED:
            self.retry(index, row.retry_at)
        else:
            self.phases[index] = row.phase
            self.under_way[index].futures_uri = row.futures_uri

    def retry(self, index: int, at: float | None) -> None:
        """The attempt is over, the next one begins, `at` a time or (None) at once."""
        element = self.under_way[index]
        self.under_way[index] = ElementRun(element.queued_at, retry_at=at, cache=element.cache)
        self.attempts[index] += 1
        self.phases[index] = TaskPhase.QUEUED
