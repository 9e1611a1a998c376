"""Ends attempts that nobody waits for.

An engine decides first and tells the runtime afterwards, so it can die in between: the execution has ended, the attempt
runs on, and nothing in the rows asks for it again. The sweep compares what the runtime keeps with the database, again
and again, and so needs no memory of its own: whatever is not wanted is aborted and, once it has ended, forgotten. As
the database decides, every engine may sweep what the engines of a machine share.
"""

import asyncio

import structlog
from prometheus_client import Counter

from wingbeat_propeller.ports.executions import ExecutionStore
from wingbeat_propeller.ports.runtime import Runtime

_log = structlog.get_logger(__name__)
_SWEPT = Counter("wingbeat_swept_attempts", "Attempts found in the runtime that nobody waited for")

PAGE = 1000
"""Attempts asked about in one query."""


class Sweeper:
    """Sweeps the runtime every `interval_s` seconds, at once after `run` begins."""

    def __init__(self, *, runtime: Runtime, store: ExecutionStore, interval_s: float) -> None:
        self._runtime = runtime
        self._store = store
        self._interval_s = interval_s

    async def run(self) -> None:
        """Sweep until cancelled. An outage of the database only delays."""
        while True:
            try:
                await self.sweep()
            except OSError as error:
                _log.warning("runtime not swept, trying again", error=str(error))
            await asyncio.sleep(self._interval_s)

    async def sweep(self) -> None:
        """One comparison. Raises OSError when the database or the runtime's folder cannot be read."""
        recorded = list((await self._runtime.recorded()).items())
        for start in range(0, len(recorded), PAGE):
            unwanted = await self._store.unwanted(dict(recorded[start : start + PAGE]))
            if unwanted:
                _log.info("ending attempts nobody waits for", count=len(unwanted), first=unwanted[0])
                _SWEPT.inc(len(unwanted))
                await self._runtime.abort(unwanted)
                await self._runtime.forget(unwanted)
