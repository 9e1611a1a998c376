"""An engine process that tests kill: `python -m tests.integration.overlap.engine_process DSN FOLDER NAME`.

A real engine over a real Postgres. Its tasks take as many milliseconds as their input `count` says, negative ones run
until they are aborted; an attempt dies with the process, and is launched again by whoever takes over.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flyteidl.core import literals_pb2, tasks_pb2
from tests.integration.engine.harness import make_engine

from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent
from wingbeat_propeller.ports.tasks import AttemptOrigin, InstantRequest, RuntimeRequest, TaskContext
from wingbeat_propeller.postgres.pool import create_pool

LEASE_S = 3.0
FOREVER_S = 1e6


class EchoPlugin:
    """Hands the inputs on as outputs, whatever the type of the task."""

    task_types: Sequence[str] = ()

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """Yes."""
        return True

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> InstantRequest:
        """A request whose outputs tell how long it takes."""
        literals = {name: literals_pb2.Literal.FromString(data) for name, data in (inputs or {}).items()}
        return InstantRequest(context.name, literals_pb2.LiteralMap(literals=literals).SerializeToString())


class SlowRuntime:
    """Ends attempts after their time; implements Runtime."""

    capacity = 1000

    def __init__(self) -> None:
        self._sink: Callable[[Sequence[RuntimeEvent]], None] = lambda _: None
        self.running: dict[str, asyncio.TimerHandle] = {}
        """Attempts by name."""

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Set the receiver."""
        self._sink = sink

    async def run(self) -> None:
        """Live until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Set the alarm of each."""
        for request in requests:
            assert isinstance(request, InstantRequest)
            outputs = literals_pb2.LiteralMap.FromString(request.outputs)
            count = outputs.literals["count"].scalar.primitive.integer
            delay_s = count / 1000 if count >= 0 else FOREVER_S
            self.running[request.name] = asyncio.get_running_loop().call_later(delay_s, self._end, request)

    def _end(self, request: InstantRequest) -> None:
        self.running.pop(request.name, None)
        self._sink([Ended(request.name, time.time(), outputs=request.outputs)])

    async def abort(self, names: Sequence[str]) -> None:
        """Stop attempts."""
        for name in names:
            if name in self.running:
                self.running.pop(name).cancel()

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """Nothing outlives a process."""
        return ()

    async def forget(self, names: Sequence[str]) -> None:
        """Nothing is kept."""

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """Nothing is kept."""
        return {}


async def main(dsn: str, folder: str, name: str) -> None:
    """Run until killed, or until the lease is lost."""
    pool = await create_pool(dsn, size_max=6, application_name=f"engine {name}")
    await make_engine(pool, dsn, Path(folder), SlowRuntime(), name=name, lease_s=LEASE_S, plugin=EchoPlugin()).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
