"""Tasks that the engine carries out itself: their plugin says what comes of them, and no runtime is asked.

They wait for no room and take none. The dispatcher hands them over once their launch is durable; a restart hands them
over again, and since nothing of them exists anywhere but in rows, doing one twice does no harm. Called on one event
loop; nothing is done inside a call of the core.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog
from prometheus_client import Gauge

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.events import Event, TaskFailed, TaskStarted, TaskSucceeded
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.values import (
    MalformedLiteralMapError,
    Ref,
    Value,
    split_literal_map,
)
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError, riding_out
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.engine.outcomes import inline_bytes_max
from wingbeat_propeller.engine.requests import build_context, load_inputs, write_files
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs
from wingbeat_propeller.ports.tasks import BadTaskError, InstantRequest
from wingbeat_propeller.tasks.registry import TaskPlugins

_log = structlog.get_logger(__name__)

_UNDER_WAY = Gauge("wingbeat_engine_tasks", "Attempts that the engine carries out itself and that have not ended")

LARGE_MAX = 16
"""Attempts at once whose values go through the blob store; each holds a whole LiteralMap in memory."""
TURN = 128
"""Attempts looked at before other work gets its turn."""


class _Attempt(NamedTuple):
    live: LiveExecution
    launch: Launch
    request: InstantRequest | None = None
    """Set once its delay is over."""


class EngineTasks:
    """Owner of the attempts of such tasks that are durable and have not ended."""

    def __init__(
        self,
        *,
        plugins: TaskPlugins,
        blobs: Blobs,
        raw_output_prefix: str,
        apply: Callable[[LiveExecution, Event], None],
        clock: Callable[[], float],
    ) -> None:
        self._plugins = plugins
        self._blobs = blobs
        self._raw_output_prefix = raw_output_prefix
        self._apply = apply
        self._clock = clock
        self._known: dict[str, asyncio.TimerHandle | None] = {}
        """Attempts that have not ended, by name, with the end of their delay."""
        self._ready: deque[_Attempt] = deque()
        self._work = asyncio.Event()
        self._large = asyncio.Semaphore(LARGE_MAX)
        _UNDER_WAY.set_function(lambda: len(self._known))

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def takes(self, launch: Launch) -> bool:
        """Whether the task is one of those."""
        return self._plugins.runs_in_engine(launch.task.type)

    def launch(self, live: LiveExecution, launch: Launch) -> None:
        """Carry out a durable launch; a name already here is ignored."""
        if launch.name not in self._known:
            self._known[launch.name] = None
            self._ready.append(_Attempt(live, launch))
            self._work.set()

    def discard(self, name: str) -> bool:
        """Forget an attempt that was aborted or whose execution is gone; returns whether it was here."""
        if name not in self._known:
            return False
        timer = self._known.pop(name)
        if timer is not None:
            timer.cancel()
        return True

    async def run(self) -> None:
        """Live until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await self._work.wait()
                    self._work.clear()
                    await self._turn(tasks)
        finally:
            for name in list(self._known):
                self.discard(name)

    async def _turn(self, tasks: asyncio.TaskGroup) -> None:
        count = 0
        while self._ready:
            attempt = self._ready.popleft()
            count += 1
            if count % TURN == 0:
                await asyncio.sleep(0)
            launch = attempt.launch
            if not self._is_known(attempt):
                continue
            if attempt.request is not None:
                await self._conclude(tasks, attempt, attempt.request)
            elif launch.inputs is not None:
                await self._carry_out(tasks, attempt, split_literal_map(launch.inputs))
            else:
                await self._large.acquire()
                tasks.create_task(self._load(tasks, attempt), name=f"load {launch.name}")

    async def _load(self, tasks: asyncio.TaskGroup, attempt: _Attempt) -> None:
        """Large inputs have to be read first."""
        try:
            inputs = await load_inputs(self._blobs, attempt.launch)
        except BlobStoreFailedError as error:
            self._fail(attempt, error.failure())
            return
        except (BlobNotFoundError, MalformedLiteralMapError) as error:
            text = f"the inputs of the task cannot be read: {error}"
            self._fail(attempt, Failure(ErrorKind.SYSTEM, "BindingResolutionFailure", text))
            return
        finally:
            self._large.release()
        await self._carry_out(tasks, attempt, inputs)

    async def _carry_out(self, tasks: asyncio.TaskGroup, attempt: _Attempt, inputs: Mapping[str, bytes]) -> None:
        live, launch = attempt.live, attempt.launch
        try:
            context = build_context(live, launch, self._raw_output_prefix)
            request = self._plugins.for_type(launch.task.type).build(launch.task.template, inputs, context)
            assert isinstance(request, InstantRequest), "plugins that say so leave nothing to a runtime"
        except BadTaskError as error:
            self._fail(attempt, error.failure)
        except Exception as error:  # noqa: BLE001 - a plugin's own error must not stop the engine
            _log.exception("a task cannot be carried out", task=launch.task.name, attempt=launch.name)
            text = f"the task cannot be carried out: {type(error).__name__}: {error}"
            self._fail(attempt, Failure(ErrorKind.SYSTEM, "FailedToBuildResource", text))
        else:
            if _may_be_repeated(launch, request):
                await self._large.acquire()
                tasks.create_task(self._keep_inputs(tasks, attempt, request), name=f"keep inputs of {launch.name}")
            else:
                await self._begin(tasks, attempt, request)

    async def _keep_inputs(self, tasks: asyncio.TaskGroup, attempt: _Attempt, request: InstantRequest) -> None:
        """The next attempt finds its inputs where those of a container do."""
        try:
            await write_files(self._blobs, attempt.launch)
        except BlobStoreFailedError as error:
            self._fail(attempt, error.failure())
            return
        finally:
            self._large.release()
        await self._begin(tasks, attempt, request)

    async def _begin(self, tasks: asyncio.TaskGroup, attempt: _Attempt, request: InstantRequest) -> None:
        live, launch = attempt.live, attempt.launch
        if not request.delay_s:
            await self._conclude(tasks, attempt, request)
        elif self._is_known(attempt):
            waiting = attempt._replace(request=request)
            self._known[launch.name] = asyncio.get_running_loop().call_later(request.delay_s, self._wake, waiting)
            now = self._clock()
            self._apply(live, TaskStarted(now, launch.ref, now))

    def _wake(self, attempt: _Attempt) -> None:
        """Its delay is over."""
        self._ready.append(attempt)
        self._work.set()

    async def _conclude(self, tasks: asyncio.TaskGroup, attempt: _Attempt, request: InstantRequest) -> None:
        if request.failure is not None:
            self._fail(attempt, request.failure)
            return
        try:
            values = split_literal_map(request.outputs)
        except MalformedLiteralMapError as error:
            text = f"the plugin of the task made malformed outputs: {error}"
            self._fail(attempt, Failure(ErrorKind.SYSTEM, "OutputsNotReadable", text))
            return
        if len(request.outputs) <= inline_bytes_max(attempt.launch):
            self._succeed(attempt, dict(values), request.outputs)
        else:
            await self._large.acquire()
            store = self._store(attempt, request.outputs, list(values))
            tasks.create_task(store, name=f"store {attempt.launch.name}")

    async def _store(self, attempt: _Attempt, outputs: bytes, names: list[str]) -> None:
        """Large outputs lie where those of a container do."""
        uri = f"{attempt.launch.output_dir}/outputs.pb"
        try:
            await riding_out(lambda: self._blobs.put(uri, outputs), f"writing {uri}")
        except BlobStoreFailedError as error:
            self._fail(attempt, error.failure())
        else:
            self._succeed(attempt, {name: Ref(uri, name) for name in names}, None)
        finally:
            self._large.release()

    def _succeed(self, attempt: _Attempt, outputs: dict[str, Value], serialized: bytes | None) -> None:
        now = self._clock()
        self._end(attempt, TaskSucceeded(now, attempt.launch.ref, now, outputs, serialized))

    def _fail(self, attempt: _Attempt, failure: Failure) -> None:
        now = self._clock()
        self._end(attempt, TaskFailed(now, attempt.launch.ref, now, failure))

    def _end(self, attempt: _Attempt, event: Event) -> None:
        if self._is_known(attempt):
            name = attempt.launch.name
            self.discard(name)
            attempt.live.names.discard(name)
            self._apply(attempt.live, event)

    def _is_known(self, attempt: _Attempt) -> bool:
        """Whether this very attempt has not ended: its execution may have moved away and come back meanwhile."""
        name = attempt.launch.name
        return name in self._known and name in attempt.live.names


def _may_be_repeated(launch: Launch, request: InstantRequest) -> bool:
    """Whether there may be a further attempt, which is launched without inputs."""
    fails = request.failure is not None and request.failure.retryable
    return launch.inputs is not None and (fails or (request.delay_s > 0 and launch.timeout_s is not None))
