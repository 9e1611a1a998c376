"""Where attempts run, and what is heard of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.ports.tasks import AttemptOrigin, RuntimeRequest


class LogLink(NamedTuple):
    """Where a person finds a log of an attempt."""

    name: str
    uri: str


class Started(NamedTuple):
    """The attempt runs now. `at` is seconds since the epoch."""

    name: str
    at: float
    logs: Sequence[LogLink] = ()
    reason: str = ""


class Ended(NamedTuple):
    """The attempt ended. `failure` None: the program said it is done (its outputs are still to be judged).

    `outputs` is set by runtimes that hand results over directly (a serialized LiteralMap) instead of writing files.
    `started_at` is set when it is the first that is said of the attempt, by runtimes that know when it began.
    """

    name: str
    at: float
    failure: Failure | None = None
    outputs: bytes | None = None
    logs: Sequence[LogLink] = ()
    started_at: float | None = None


RuntimeEvent: TypeAlias = Started | Ended


class Runtime(Protocol):
    """Runs attempts of tasks. All calls are batched and idempotent by `name`: launching a known name again does nothing
    but report its state again."""

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Set the one receiver of events; it never blocks. Events may be late, doubled or out of order."""
        ...

    @property
    def capacity(self) -> int:
        """How many attempts may be under way at once."""
        ...

    async def run(self) -> None:
        """Live until cancelled; cancelling leaves running attempts alone, so that a later process can adopt them."""
        ...

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Start attempts; returns when they are handed over. A request that cannot start is reported as Ended."""
        ...

    async def abort(self, names: Sequence[str]) -> None:
        """Stop attempts and everything they started; unknown or ended names are ignored. No event follows."""
        ...

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """After a restart: those of `names` that this runtime knows, running or ended; their events follow. The others
        were never launched or are lost without trace, and may be launched."""
        ...

    async def forget(self, names: Sequence[str]) -> None:
        """The end of these attempts is journaled; whatever is kept only for `adopt` may go. Logs stay.

        An attempt that is still ending (after `abort`) keeps its record; `recorded` goes on naming it.
        """
        ...

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """Attempts by name that anything is kept of for `adopt`, running or ended, whichever process launched them."""
        ...


class Places(Protocol):
    """Room that the engines of one machine share, beside what `Runtime.capacity` says of one of them."""

    def take(self, name: str, origin: AttemptOrigin) -> bool:
        """Whether there is room for the attempt, which then has it until it is freed by whoever drives it. False: ask
        again in a moment, and keep asking or `rest`, since others leave room for who asks."""
        ...

    def keep(self, origins: Mapping[str, AttemptOrigin]) -> None:
        """These attempts run, and this engine drives them from now on."""
        ...

    def free(self, names: Sequence[str]) -> None:
        """These attempts do not run; names without room are ignored."""
        ...

    def leave(self, names: Sequence[str]) -> None:
        """Another engine drives these attempts from now on, or nobody waits for them; they keep their room."""
        ...

    def rest(self) -> None:
        """Nothing waits for room."""
        ...

    @property
    def of_others(self) -> int:
        """How many attempts of other engines take room."""
        ...


class Lanes(Protocol):
    """Room for attempts that run elsewhere than on this machine: each lane is a kind of attempts that the same workers
    run, and has a line of its own. The empty name stands for the runtime's ordinary room, which `Places` describes."""

    def subscribe(self, *, changed: Callable[[bool], None], returned: Callable[[Sequence[str]], None]) -> None:
        """`changed` is called when there is more room; with True, when attempts may belong to other lanes from now on.
        `returned` gives attempts back that have not begun and cannot any more."""
        ...

    def lane(self, launch: Launch, tenant: tuple[str, str], labels: Mapping[str, str], envs: Mapping[str, str]) -> str:
        """Where an attempt belongs now."""
        ...

    def take(self, lane: str, name: str) -> bool:
        """Whether there is room in a lane for the attempt, which then has it until it is freed (`Places.free`)."""
        ...

    def holds(self, name: str) -> bool:
        """Whether the attempt has room in a lane."""
        ...

    def capacity(self, lane: str) -> int:
        """How many attempts of a lane may be under way at once."""
        ...

    def wants(self, lane: str) -> str:
        """What attempts of a lane need of a worker, in words; empty when there is a worker for them."""
        ...
