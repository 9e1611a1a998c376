"""A runtime that completes every attempt at once, for benchmarks and simulation.

No process starts and nothing is awaited per attempt: one `launch` call leads to one batch of events in a later turn of
the event loop, so the engine sees the same order of things as with a real runtime. It remembers nothing; after a crash
of the engine every attempt may be launched again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from wingbeat_propeller.core.outcome import Failure
from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent
from wingbeat_propeller.ports.tasks import AttemptOrigin, InstantRequest, RuntimeRequest

CAPACITY = 1_000_000


class InstantRuntime:
    """Ends every attempt in success, or as `failures` says by attempt name. Implements Runtime.

    `outputs` is the serialized LiteralMap that attempts of containers hand over; an InstantRequest brings its own.
    """

    def __init__(self, *, outputs: bytes = b"", failures: Mapping[str, Failure] | None = None) -> None:
        self._outputs = outputs
        self._failures = failures or {}
        self._sink: Callable[[Sequence[RuntimeEvent]], None] | None = None

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Set the receiver of events."""
        self._sink = sink

    @property
    def capacity(self) -> int:
        """So many that only the engine's own limits count."""
        return CAPACITY

    async def run(self) -> None:
        """Nothing to do but to live until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Report the end of all `requests` as one batch in the next turn of the loop."""
        if self._sink is None:
            raise RuntimeError("subscribe to the runtime before launching")
        now = time.time()
        asyncio.get_running_loop().call_soon(self._sink, [self._ended(request, now) for request in requests])

    async def abort(self, names: Sequence[str]) -> None:
        """Every attempt has ended already."""

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """No attempt is remembered."""
        return ()

    async def forget(self, names: Sequence[str]) -> None:
        """Nothing is kept."""

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """No attempt is remembered."""
        return {}

    def _ended(self, request: RuntimeRequest, at: float) -> Ended:
        failure = self._failures.get(request.name)
        outputs = self._outputs
        if isinstance(request, InstantRequest):
            failure = failure or request.failure
            outputs = request.outputs
        return Ended(request.name, at, failure, None if failure else outputs)
