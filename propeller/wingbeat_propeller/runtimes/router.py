"""Two runtimes as one: processes of this machine, and workers. Implements Runtime, Places and Lanes.

The dispatcher asks for the lane of each attempt; one that has got room in a lane goes to the workers, every other one
to this machine. Which of the two has an attempt is known by asking them, so nothing is kept here.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.ports.runtime import RuntimeEvent
from wingbeat_propeller.ports.tasks import AttemptOrigin, RuntimeRequest
from wingbeat_propeller.runtimes.local.runtime import LocalRuntime
from wingbeat_propeller.runtimes.worker.pool import WorkerPool


class Router:
    """See the module."""

    def __init__(self, local: LocalRuntime, workers: WorkerPool) -> None:
        self._local = local
        self._workers = workers

    # ---- Runtime ----

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """See ports.Runtime."""
        self._local.subscribe(sink)
        self._workers.subscribe(sink)

    @property
    def capacity(self) -> int:
        """Of this machine; lanes have their own."""
        return self._local.capacity

    async def run(self) -> None:
        """Run both until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._local.run(), name="local runtime")
            tasks.create_task(self._workers.run(), name="workers")

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """See ports.Runtime."""
        theirs = [request for request in requests if self._workers.holds(request.name)]
        if theirs:
            await self._workers.launch(theirs)
        if len(theirs) < len(requests):
            names = {request.name for request in theirs}
            await self._local.launch([request for request in requests if request.name not in names])

    async def abort(self, names: Sequence[str]) -> None:
        """See ports.Runtime."""
        mine = [name for name in names if not self._workers.holds(name)]
        await self._workers.abort([name for name in names if self._workers.holds(name)])
        if mine:
            await self._local.abort(mine)

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """See ports.Runtime. Workers are asked only for what this machine does not know."""
        local = set(await self._local.adopt(names))
        others = [name for name in names if name not in local]
        found = await self._workers.adopt(others) if others else ()
        return [*local, *found]

    async def forget(self, names: Sequence[str]) -> None:
        """See ports.Runtime."""
        theirs = [name for name in names if self._workers.holds(name)]
        if theirs:
            await self._workers.forget(theirs)
        if len(theirs) < len(names):
            names_of_workers = set(theirs)
            await self._local.forget([name for name in names if name not in names_of_workers])

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """See ports.Runtime."""
        return {**self._workers.recorded(), **await self._local.recorded()}

    # ---- Places ----

    def take(self, name: str, origin: AttemptOrigin) -> bool:
        """See ports.Places."""
        return self._local.take(name, origin)

    def keep(self, origins: Mapping[str, AttemptOrigin]) -> None:
        """See ports.Places."""
        self._local.keep({name: origin for name, origin in origins.items() if not self._workers.holds(name)})

    def free(self, names: Sequence[str]) -> None:
        """See ports.Places."""
        mine = [name for name in names if not self._workers.holds(name)]
        self._workers.free(names)
        if mine:  # it would look through its folder for each
            self._local.free(mine)

    def leave(self, names: Sequence[str]) -> None:
        """See ports.Places."""
        self._local.leave(names)
        self._workers.leave(names)

    def rest(self) -> None:
        """See ports.Places."""
        self._local.rest()

    @property
    def of_others(self) -> int:
        """See ports.Places."""
        return self._local.of_others


class WorkerLanes:
    """Lanes of the workers."""

    def __init__(self, workers: WorkerPool) -> None:
        self._workers = workers

    def subscribe(self, *, changed: Callable[[bool], None], returned: Callable[[Sequence[str]], None]) -> None:
        """See ports.Lanes."""
        self._workers.subscribe_lanes(changed=changed, returned=returned)

    def lane(self, launch: Launch, tenant: tuple[str, str], labels: Mapping[str, str], envs: Mapping[str, str]) -> str:
        """See ports.Lanes."""
        return self._workers.lane(launch, tenant, labels, envs)

    def take(self, lane: str, name: str) -> bool:
        """See ports.Lanes."""
        return self._workers.take(lane, name)

    def holds(self, name: str) -> bool:
        """See ports.Lanes."""
        return self._workers.holds(name)

    def capacity(self, lane: str) -> int:
        """See ports.Lanes."""
        return self._workers.capacity(lane)

    def wants(self, lane: str) -> str:
        """See ports.Lanes."""
        return self._workers.wants(lane)
