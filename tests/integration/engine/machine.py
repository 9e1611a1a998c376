"""A machine that several engines share, whose attempts end when a test says so."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent
from wingbeat_propeller.ports.tasks import AttemptOrigin, InstantRequest, RuntimeRequest


class Machine:
    """What several engines share: attempts that end when they are told to, each started once."""

    def __init__(self) -> None:
        self.outputs: dict[str, bytes] = {}
        self.starts: Counter[str] = Counter()
        self.order: list[str] = []
        """Attempts as they were started."""
        self.sinks: dict[str, Callable[[Sequence[RuntimeEvent]], None]] = {}
        self.ended: set[str] = set()

    async def wait_started(self, count: int) -> None:
        """Wait until so many attempts have been started."""
        async with asyncio.timeout(60):
            while len(self.starts) < count:
                await asyncio.sleep(0.01)

    @property
    def running(self) -> set[str]:
        """Attempts that have not been told to end."""
        return set(self.sinks) - self.ended

    def end(self, name: str) -> None:
        """End an attempt; tell whoever asked last."""
        self.ended.add(name)
        self.sinks[name]([Ended(name, 0.0, outputs=self.outputs[name])])

    def end_all(self) -> None:
        """End every attempt started so far."""
        for name in list(self.sinks):
            self.end(name)


class SharedRuntime:
    """One engine's view of the machine; implements Runtime."""

    def __init__(self, machine: Machine, capacity: int = 1000) -> None:
        self.capacity = capacity
        self._machine = machine
        self._sink: Callable[[Sequence[RuntimeEvent]], None] = lambda _: None

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Set the receiver."""
        self._sink = sink

    async def run(self) -> None:
        """Live until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Start what is not known; known names only change their listener."""
        for request in requests:
            assert isinstance(request, InstantRequest)
            self._machine.outputs[request.name] = request.outputs
            if request.name not in self._machine.sinks:
                self._machine.starts[request.name] += 1
                self._machine.order.append(request.name)
            self._machine.sinks[request.name] = self._sink

    async def abort(self, names: Sequence[str]) -> None:
        """Stop attempts."""
        for name in names:
            self._machine.sinks.pop(name, None)

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """Those that were started; of those that have ended the end is told again, as `ports.Runtime` promises."""
        known = [name for name in names if name in self._machine.sinks]
        for name in known:
            self._machine.sinks[name] = self._sink
            if name in self._machine.ended:
                asyncio.get_running_loop().call_soon(self._tell, name)
        return known

    def _tell(self, name: str) -> None:
        if self._machine.sinks.get(name) is not None:
            self._machine.end(name)

    async def forget(self, names: Sequence[str]) -> None:
        """Their ends are durable."""
        for name in names:
            self._machine.sinks.pop(name, None)

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """The requests of this test do not say where they belong."""
        return {}
