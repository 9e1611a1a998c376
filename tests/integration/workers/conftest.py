"""Real workers of an engine's pool: a gRPC server as an engine has it, and `wingbeat worker` processes."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from flyteidl.core import literals_pb2

from wingbeat_propeller.core.effects import Launch, NodeRef
from wingbeat_propeller.core.plan import TaskSpec
from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent, Started
from wingbeat_propeller.ports.tasks import AttemptOrigin, ContainerRequest
from wingbeat_propeller.runtimes.worker.options import WorkerPoolOptions
from wingbeat_propeller.runtimes.worker.pool import WorkerPool
from wingbeat_propeller.runtimes.worker.stream import handlers
from wingbeatidl.worker.v1 import worker_pb2

PROGRAMS = Path(__file__).parent / "programs"
PATIENCE_S = 60.0
LEASE_S = 60.0
"""Nobody is lost because the machine is slow."""
SHORT_LEASE_S = 4.0
"""For tests that wait until somebody is."""
RESOLVER = "flytekit.core.python_auto_container.default_task_resolver"


def integer(**values: int) -> bytes:
    """A serialized LiteralMap of integers."""
    primitives = {name: literals_pb2.Primitive(integer=value) for name, value in values.items()}
    literals = {
        name: literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=one)) for name, one in primitives.items()
    }
    return literals_pb2.LiteralMap(literals=literals).SerializeToString()


def result(end: Ended, name: str = "o0") -> int | str:
    """The one output of a task."""
    assert end.failure is None, end.failure
    assert end.outputs is not None
    primitive = literals_pb2.LiteralMap.FromString(end.outputs).literals[name].scalar.primitive
    return primitive.integer if primitive.HasField("integer") else primitive.string_value


class Engine:
    """What is of an engine: a pool, served on a port of its own."""

    def __init__(self, folder: Path, term: int, **options: object) -> None:
        self.term = term
        self.address = ""
        self.events: list[RuntimeEvent] = []
        self.returned: list[str] = []
        base = WorkerPoolOptions(state_dir=folder, logs_url_base="http://h/logs", lease_s=LEASE_S)
        self._options = replace(base, **options)
        self.pool = WorkerPool(self._options)
        self.pool.subscribe(self._take)
        self.pool.subscribe_lanes(changed=lambda _: self._changed.set(), returned=self.returned.extend)
        self._changed = asyncio.Event()
        self._folder = folder
        self._stack = AsyncExitStack()

    def _take(self, events: Sequence[RuntimeEvent]) -> None:
        self.events += events
        self.pool.free([event.name for event in events if isinstance(event, Ended)])
        self._changed.set()

    async def start(self) -> None:
        """Serve."""
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", 2 << 20)])
        server.add_generic_rpc_handlers((handlers(self.pool, self._options.lease_s, grpc),))
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        self._stack.push_async_callback(server.stop, None)
        running = asyncio.create_task(self.pool.run())

        async def stop() -> None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        self._stack.push_async_callback(stop)

    async def stop(self) -> None:
        """End as a process does: streams break, workers go on."""
        await self._stack.aclose()

    async def until(self, what: Callable[[], bool]) -> None:
        """Wait for something that events or streams change."""
        async with asyncio.timeout(PATIENCE_S):
            while not what():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await self._changed.wait()

    @property
    def lane(self) -> str:
        """Where the tasks belong."""
        template = TaskSpec.__new__(TaskSpec)
        task = worker_template()
        object.__setattr__(template, "template", task)
        launch = Launch(NodeRef(0, 1, 0), "a", "a", "n0", template, None, b"", "/d", "/d/0", None, False)
        return self.pool.lane(launch, ("p", "development"), {}, {})

    async def run(self, task: str, name: str, inputs: bytes | None = None, **request: object) -> None:
        """Hand over an attempt as soon as there is a worker with room."""
        await self.until(lambda: bool(self.lane) and self.pool.take(self.lane, name))
        await self.pool.launch([self.request(task, name, inputs, **request)])

    def request(self, task: str, name: str, inputs: bytes | None, **more: object) -> ContainerRequest:
        """What the container plugin makes of a task of `programs/tasks.py`."""
        folder = self._folder / "blobs" / name
        argv = [
            *("pyflyte-execute", "--inputs", f"{folder}/inputs.pb", "--output-prefix", f"{folder}/0"),
            *("--raw-output-data-prefix", f"{folder}/raw", "--checkpoint-path", f"{folder}/raw/_flytecheckpoints"),
            *("--prev-checkpoint", '""', "--resolver", RESOLVER, "--", "task-module", "tasks", "task-name", task),
        ]
        env = {"PYTHONPATH": str(PROGRAMS), "FLYTE_INTERNAL_TASK_VERSION": "v1", "FLYTE_INTERNAL_EXECUTION_ID": name}
        env |= more.pop("env", {})
        inputs = b"" if inputs is None else inputs
        origin = AttemptOrigin("p", "development", name, "n0", 0)
        return ContainerRequest(name=name, image="img", argv=argv, env=env, inputs=inputs, origin=origin, **more)

    async def started(self, name: str) -> Started:
        """The start of an attempt."""
        await self.until(lambda: any(isinstance(one, Started) and one.name == name for one in self.events))
        return next(one for one in self.events if isinstance(one, Started) and one.name == name)

    def ends(self) -> list[Ended]:
        """Of all attempts so far."""
        return [one for one in self.events if isinstance(one, Ended)]

    async def ended(self, name: str) -> Ended:
        """The end of an attempt."""
        await self.until(lambda: any(isinstance(one, Ended) and one.name == name for one in self.events))
        return next(one for one in self.events if isinstance(one, Ended) and one.name == name)

    def log(self, name: str, stream: str) -> str:
        """What an attempt has written, as it is kept."""
        path = self._folder / "tasks" / name / f"{stream}.log"
        return path.read_text() if path.exists() else ""


def worker_template():
    """The template of a Python task."""
    from tests.unit.runtimes.test_worker_needs import template

    return template()


class Installation:
    """A server that names the engines, engines, and workers as processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engines: list[Engine] = []
        self.workers: list[asyncio.subprocess.Process] = []
        self.address = ""
        self._server = grpc.aio.server()

    async def start(self) -> None:
        """Serve the directory."""

        async def list_engines(_request: object, _context: object) -> worker_pb2.ListEnginesResponse:
            return worker_pb2.ListEnginesResponse(
                engines=[worker_pb2.Engine(term=one.term, address=one.address) for one in self.engines]
            )

        handler = grpc.unary_unary_rpc_method_handler(
            list_engines,
            request_deserializer=worker_pb2.ListEnginesRequest.FromString,
            response_serializer=worker_pb2.ListEnginesResponse.SerializeToString,
        )
        service = "wingbeatidl.worker.v1.WorkerDirectoryService"
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"ListEngines": handler}),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()

    async def engine(self, **options: object) -> Engine:
        """One more engine."""
        engine = Engine(self.folder, len(self.engines) + 1, **options)
        await engine.start()
        self.engines.append(engine)
        return engine

    async def worker(self, *flags: str) -> asyncio.subprocess.Process:
        """`wingbeat worker`."""
        command = [sys.executable, "-c", "from wingbeat.cli import main; main()", "worker"]
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            *(*command, "--server", self.address, "--python", sys.executable, *flags),
            stdin=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "TMPDIR": str(scratch)},
        )
        self.workers.append(process)
        return process

    async def stop(self) -> None:
        """End all."""
        for process in self.workers:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                await process.wait()
        for engine in self.engines:
            await engine.stop()
        await self._server.stop(None)


@asynccontextmanager
async def installed(folder: Path) -> AsyncIterator[Installation]:
    """An installation for the time of the block."""
    installation = Installation(folder)
    await installation.start()
    try:
        yield installation
    finally:
        await installation.stop()


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    """One with nothing in it yet."""
    async with installed(tmp_path) as made:
        yield made
