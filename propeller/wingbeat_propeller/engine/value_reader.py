"""What steps ask of the values in the blob store: the inputs of a node, the lists that an array maps over, the results
of its elements put together. Each is read beside everything else and answered by an event.
"""

import asyncio
from collections.abc import Callable

from wingbeat_propeller.core.effects import Gather, OpenArray, Read
from wingbeat_propeller.core.events import ArrayOpened, Event, Gathered, Prepared, PrepareFailed
from wingbeat_propeller.engine.arrays import gather, open_array
from wingbeat_propeller.engine.errands import Errands
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.engine.preparation import APART_AT_ONCE, PreparationFailedError, prepare
from wingbeat_propeller.ports.blobs import Blobs

READING_MAX = 16
"""Requests with large values at once; each may hold a whole LiteralMap in memory."""


class ValueReader:
    """See the module. `is_live` tells whether an execution is still driven here."""

    def __init__(
        self,
        blobs: Blobs,
        errands: Errands,
        *,
        apply: Callable[[LiveExecution, Event], None],
        is_live: Callable[[LiveExecution], bool],
        clock: Callable[[], float],
    ) -> None:
        self._blobs = blobs
        self._errands = errands
        self._apply = apply
        self._is_live = is_live
        self._clock = clock
        self._reading = asyncio.Semaphore(READING_MAX)
        self._looking_apart = asyncio.Semaphore(APART_AT_ONCE)

    def ask(self, live: LiveExecution, request: Read) -> None:
        """It is answered by Prepared, ArrayOpened, Gathered or PrepareFailed."""
        self._errands.begin(self._read(live, request), "read values")

    async def _read(self, live: LiveExecution, request: Read) -> None:
        async with self._reading:
            try:
                event = await self._answer(request)
            except PreparationFailedError as error:
                event = PrepareFailed(self._clock(), request.ref, error.failure)
        if self._is_live(live):
            self._apply(live, event)

    async def _answer(self, request: Read) -> Event:
        """Raises PreparationFailedError."""
        match request:
            case OpenArray():
                inputs = await open_array(self._blobs, request)
                return ArrayOpened(self._clock(), request.ref, inputs)
            case Gather():
                collections, serialized = await gather(self._blobs, request)
                return Gathered(self._clock(), request.ref, collections, serialized)
            case _:
                values = await prepare(self._blobs, request, self._looking_apart)
                return Prepared(self._clock(), request.ref, values)
