"""The simulated machine that runs attempts of tasks, and an engine's view of it (ports.Runtime).

Attempts outlive engines. Each knows the engine that asked for it last and tells it that it started and how it ended:
late, several times, in any order. What has ended is kept until it is forgotten. What an attempt does is a function of
the task, its inputs and its place alone (`Programs`), so running one twice does no harm and gives the same.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.simulation.faults import Faults
from tests.simulation.loop import Process
from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent, Started
from wingbeat_propeller.ports.tasks import AttemptOrigin, ContainerRequest, InstantRequest, RuntimeRequest


class Programs(Protocol):
    """What attempts do."""

    def duration_s(self, request: RuntimeRequest, origin: AttemptOrigin) -> float | None:
        """How long an attempt takes; None: it never ends by itself."""
        ...

    def finish(self, request: RuntimeRequest, origin: AttemptOrigin, at: float) -> Ended:
        """Do what it does at its end: leave its files, say how it ended."""
        ...


@dataclass(slots=True, eq=False)
class _Attempt:
    request: RuntimeRequest
    origin: AttemptOrigin
    owner: "SimulatedRuntime"
    started_at: float
    end: Ended | None = None


class Machine:
    """See the module. `launched` hears of each attempt before it is started; `clock` is the machine's wall clock."""

    def __init__(
        self, outside: Process, faults: Faults, programs: Programs, *, capacity: int, clock: Callable[[], float]
    ) -> None:
        self._outside = outside
        self._faults = faults
        self._programs = programs
        self._clock = clock
        self.capacity = capacity
        self.attempts: dict[str, _Attempt] = {}
        self.launched: Callable[[Process, RuntimeRequest, AttemptOrigin], None] = lambda *_: None
        self.failed: Callable[[BaseException], None] = lambda _error: None
        self.starts: dict[str, int] = {}
        """How often each attempt was started, by name."""

    @property
    def running(self) -> int:
        """Attempts that have not ended."""
        return sum(1 for attempt in self.attempts.values() if attempt.end is None)

    def lose_some(self, process: Process) -> None:
        """A machine dies with its engine: some of its attempts vanish without a trace. (What vanishes under a living
        engine its runtime reports as a failure.)"""
        for name, attempt in list(self.attempts.items()):
            if attempt.owner.process is process and self._faults.happens(self._faults.plan.attempt_untold):
                del self.attempts[name]

    def start(self, owner: "SimulatedRuntime", request: RuntimeRequest, origin: AttemptOrigin) -> None:
        """Start an attempt, or tell of one that is known."""
        attempt = self.attempts.get(request.name)
        if attempt is not None:
            attempt.owner = owner
            if not isinstance(request, InstantRequest):
                self.report(attempt)
            return
        try:
            self.launched(owner.process, request, origin)
            self.starts[request.name] = self.starts.get(request.name, 0) + 1
            attempt = self.attempts[request.name] = _Attempt(request, origin, owner, self._clock())
            duration_s = self._programs.duration_s(request, origin)
        except Exception as error:  # noqa: BLE001 - an invariant is broken: the world ends
            self.failed(error)
            return
        if not isinstance(request, InstantRequest):
            self.report(attempt)
        if duration_s is not None:
            self._outside.call_later(duration_s, self._end, request.name, attempt)

    def _end(self, name: str, attempt: _Attempt) -> None:
        if self.attempts.get(name) is not attempt or attempt.end is not None:
            return
        try:
            attempt.end = self._programs.finish(attempt.request, attempt.origin, self._clock())
        except Exception as error:  # noqa: BLE001 - the simulator is broken: the world ends
            self.failed(error)
            return
        self.report(attempt)
        if isinstance(attempt.request, InstantRequest):
            del self.attempts[name]

    def report(self, attempt: _Attempt) -> None:
        """Tell its owner how an attempt is."""
        event: RuntimeEvent = attempt.end or Started(attempt.request.name, attempt.started_at)
        for delay_s in self._faults.event_delays():
            attempt.owner.process.call_later(delay_s, attempt.owner.deliver, event)


class SimulatedRuntime:
    """One engine's view of the machine; satisfies ports.Runtime.

    `origins` tells where an attempt without an origin in its request belongs; it is filled by the plugin.
    """

    def __init__(
        self, machine: Machine, faults: Faults, process: Process, origins: Mapping[str, AttemptOrigin]
    ) -> None:
        self._machine = machine
        self._faults = faults
        self._origins = origins
        self._sink: Callable[[Sequence[RuntimeEvent]], None] = lambda _events: None
        self.process = process
        self.launching: Callable[[Process], None] = lambda _process: None
        """Called before and after attempts are handed over."""

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """See ports."""
        self._sink = sink

    @property
    def capacity(self) -> int:
        """See ports."""
        return self._machine.capacity

    async def run(self) -> None:
        """See ports."""
        await asyncio.get_running_loop().create_future()

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """See ports."""
        self.launching(self.process)
        await self._pass()
        for request in requests:
            self._machine.start(self, request, self._origin(request))
        self.launching(self.process)
        await self._pass()

    async def abort(self, names: Sequence[str]) -> None:
        """See ports. What has ended keeps its record."""
        await self._pass()
        for name in names:
            attempt = self._machine.attempts.get(name)
            if attempt is not None and attempt.end is None:
                del self._machine.attempts[name]

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """See ports."""
        await self._pass()
        known = [name for name in names if name in self._machine.attempts]
        for name in known:
            attempt = self._machine.attempts[name]
            attempt.owner = self
            self._machine.report(attempt)
        await self._pass()
        return known

    async def forget(self, names: Sequence[str]) -> None:
        """See ports."""
        await self._pass()
        for name in names:
            attempt = self._machine.attempts.get(name)
            if attempt is not None and attempt.end is not None:
                del self._machine.attempts[name]

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """See ports."""
        await self._pass()
        return {name: attempt.origin for name, attempt in self._machine.attempts.items()}

    def deliver(self, event: RuntimeEvent) -> None:
        """An event has arrived in this process."""
        self._sink([event])

    def _origin(self, request: RuntimeRequest) -> AttemptOrigin:
        origin = request.origin if isinstance(request, ContainerRequest) else None
        return origin or self._origins[request.name]

    async def _pass(self) -> None:
        """Time goes by."""
        await asyncio.sleep(self._faults.uniform(0.0, 0.003))
