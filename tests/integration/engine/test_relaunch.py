"""An attempt that the runtime has lost is launched again, and nothing of its earlier run is taken for its result."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import asyncpg
from flyteidl.core import errors_pb2, literals_pb2, tasks_pb2

from tests.integration.engine.harness import chain, engine, launch, register, wait_ended
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent
from wingbeat_propeller.ports.tasks import AttemptOrigin, ContainerRequest, RuntimeRequest, TaskContext


class PrefixPlugin:
    """Requests whose only argument is the output prefix."""

    task_types: Sequence[str] = ()

    def needs_inputs(self, template: tasks_pb2.TaskTemplate) -> bool:
        """No."""
        return False

    def build(
        self, template: tasks_pb2.TaskTemplate, inputs: Mapping[str, bytes] | None, context: TaskContext
    ) -> ContainerRequest:
        """One container."""
        return ContainerRequest(context.name, "any", [context.output_prefix], {}, origin=context.origin)


class ForgetfulRuntime:
    """Runs nothing by itself and knows nothing of earlier launches; `launches` gets each request."""

    capacity = 10

    def __init__(self) -> None:
        self.launches = asyncio.Queue[ContainerRequest]()
        self.sink: Callable[[Sequence[RuntimeEvent]], None] = lambda _: None

    def subscribe(self, sink: Callable[[Sequence[RuntimeEvent]], None]) -> None:
        """Set the receiver."""
        self.sink = sink

    async def run(self) -> None:
        """Live until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def launch(self, requests: Sequence[RuntimeRequest]) -> None:
        """Hand the requests to the test."""
        for request in requests:
            assert isinstance(request, ContainerRequest)
            self.launches.put_nowait(request)

    async def abort(self, names: Sequence[str]) -> None:
        """Nothing runs."""

    async def adopt(self, names: Sequence[str]) -> Sequence[str]:
        """Nothing is known."""
        return ()

    async def forget(self, names: Sequence[str]) -> None:
        """Nothing is kept."""

    async def recorded(self) -> Mapping[str, AttemptOrigin]:
        """Nothing is kept."""
        return {}


async def test_old_results_of_a_lost_attempt_are_removed(pool: asyncpg.Pool, database_url: str, tmp_path: Path) -> None:
    """The error that a lost run wrote is gone before the same attempt starts again, and its second run counts."""
    blobs = tmp_path / "blobs"
    first = ForgetfulRuntime()
    async with asyncio.timeout(60):
        async with engine(pool, database_url, blobs, first, plugin=PrefixPlugin()):
            await launch(pool, await register(pool, chain("chain", 1)), ["lost"])
            request = await first.launches.get()
        outputs = Path(request.argv[0])
        outputs.mkdir(parents=True, exist_ok=True)
        error = errors_pb2.ErrorDocument(error=errors_pb2.ContainerError(code="USER:Unknown", message="of a lost run"))
        for name in ("error.pb", "futures.pb", "outputs.pb", "deck.html"):
            (outputs / name).write_bytes(error.SerializeToString())
        second = ForgetfulRuntime()
        async with engine(pool, database_url, blobs, second, plugin=PrefixPlugin()):
            again = await second.launches.get()
            assert (again.name, again.origin) == (request.name, request.origin)
            assert list(outputs.iterdir()) == []
            literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=1)))
            (outputs / "outputs.pb").write_bytes(literals_pb2.LiteralMap(literals={"o0": literal}).SerializeToString())
            second.sink([Ended(again.name, 0.0)])
            assert await wait_ended(pool, 1) == {ExecutionPhase.SUCCEEDED: 1}
    attempts = await pool.fetch("SELECT attempt FROM task_executions")
    assert [row["attempt"] for row in attempts] == [0]
