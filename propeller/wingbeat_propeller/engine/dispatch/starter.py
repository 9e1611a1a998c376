"""From an attempt whose turn it is to the runtime: its request, its files, and the handing over.

Starting an attempt may write blobs, so several are started at once; requests that need no files go to the runtime as
one batch. Attempts that workers run get their inputs handed over, so they need no file. What has become of an attempt
meanwhile is looked at before it is handed over. Called on one event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from prometheus_client import Counter

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.events import Event, TaskFailed
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.reuse import inherited_checkpoint, inherited_elements
from wingbeat_propeller.core.values import MalformedLiteralMapError, split_literal_map
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError
from wingbeat_propeller.engine.checkpoints import previous_checkpoint
from wingbeat_propeller.engine.dispatch.attempt import Attempt, closure_details
from wingbeat_propeller.engine.dispatch.room import Room
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.engine.requests import (
    SupersededError,
    build_context,
    load_inputs,
    remove_results,
    write_files,
)
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs
from wingbeat_propeller.ports.runtime import Runtime
from wingbeat_propeller.ports.tasks import (
    BadTaskError,
    ContainerRequest,
    InstantRequest,
    RuntimeRequest,
    TaskPlugin,
)
from wingbeat_propeller.tasks.container import wants_task_template
from wingbeat_propeller.tasks.registry import TaskPlugins

_log = structlog.get_logger(__name__)
_LAUNCHED = Counter("wingbeat_launched_attempts", "Attempts handed to the runtime")

STARTING_MAX = 64
"""Attempts whose files are written at once."""
TRUST_POLL_S = 0.02
"""How soon to look again whether a lease in doubt was renewed."""
BATCH_MAX = 128
"""Launches handed over before other work gets its turn."""


class Starter:
    """Owner of the attempts that are being started."""

    def __init__(
        self,
        *,
        room: Room,
        runtime: Runtime,
        plugins: TaskPlugins,
        blobs: Blobs,
        raw_output_prefix: str,
        left_by_element: Callable[[LiveExecution, Launch], Awaitable[str]] | None,
        trusted: Callable[[], bool],
        finish: Callable[[Attempt, Event], None],
        abort: Callable[[str], None],
        clock: Callable[[], float],
        work: asyncio.Event,
    ) -> None:
        """`trusted` says whether the lease still holds. `finish` ends an attempt that cannot be started, `abort` has
        the runtime stop one. `work` is set when it is time to look at what is ready once more."""
        self._room = room
        self._runtime = runtime
        self._plugins = plugins
        self._blobs = blobs
        self._raw_output_prefix = raw_output_prefix
        self._left_by_element = left_by_element
        self._trusted = trusted
        self._finish = finish
        self._abort = abort
        self._clock = clock
        self._work = work
        self._starting = asyncio.Semaphore(STARTING_MAX)
        self._starts: dict[asyncio.Task[None], Attempt] = {}
        self._aborted: set[str] = set()
        """Names aborted while they are handed over: that abort may come before the launch."""

    def is_starting(self, name: str) -> bool:
        """Whether the files of an attempt are written just now."""
        return any(attempt.launch.name == name for attempt in self._starts.values())

    def aborted(self, name: str) -> None:
        """The runtime is told to stop this attempt; if it is being started, it is told again afterwards."""
        if self.is_starting(name):
            self._aborted.add(name)

    async def settled(self, dropped: Sequence[LiveExecution]) -> None:
        """Wait until none of these executions has an attempt that is being started."""
        starts = [start for start, attempt in self._starts.items() if attempt.live in dropped]
        if starts:
            await asyncio.wait(starts)

    async def start_ready(self, tasks: asyncio.TaskGroup) -> None:
        """Start every attempt that has room, those that need files as tasks of the group."""
        if not self._trusted():
            asyncio.get_running_loop().call_later(TRUST_POLL_S, self._work.set)
            return
        batch: list[tuple[Attempt, RuntimeRequest]] = []
        for attempt in self._room.ready():
            if len(batch) == BATCH_MAX:
                await self._launch_batch(batch)
                batch = []
            launch = attempt.launch
            plugin = self._plugins.for_type(launch.task.type)
            if launch.previous_generated_name is not None or inherited_elements(launch.inherited) is not None:
                await self._spawn(tasks, attempt, plugin, None)
                continue
            if not plugin.needs_inputs(launch.task.template):
                request = self._build(attempt, plugin, None, inherited_checkpoint(launch.inherited))
            elif launch.inputs is not None:
                checkpoint = inherited_checkpoint(launch.inherited)
                request = self._build(attempt, plugin, split_literal_map(launch.inputs), checkpoint)
            else:
                await self._spawn(tasks, attempt, plugin, None)
                continue
            if request is None:
                continue
            is_instant = isinstance(request, InstantRequest) and request.failure is None
            if is_instant or not self._needs_files(attempt):
                batch.append((attempt, request))
            else:
                await self._spawn(tasks, attempt, plugin, request)
        if batch:
            await self._launch_batch(batch)

    def _needs_files(self, attempt: Attempt) -> bool:
        """Whether files must be written, or removed, before the attempt can start. One with a time limit may be
        followed by another one without our hearing how it ended, and that one finds its inputs in the file."""
        launch = attempt.launch
        return (
            launch.name not in self._room.in_lanes
            or attempt.is_repeat
            or (launch.timeout_s is not None and launch.inputs is not None)
            or wants_task_template(launch.task.template)
        )

    async def _launch_batch(self, batch: Sequence[tuple[Attempt, RuntimeRequest]]) -> None:
        if self._trusted():
            # Something may have become of them while others were started.
            may_be_handed_over = self._room.may_be_handed_over
            ready = [request for attempt, request in batch if may_be_handed_over(attempt)]
            _LAUNCHED.inc(len(ready))
            await self._runtime.launch(ready)
        else:
            for attempt, _ in batch:
                self._room.line_up_again(attempt)
        await asyncio.sleep(0)

    async def _spawn(
        self, tasks: asyncio.TaskGroup, attempt: Attempt, plugin: TaskPlugin, request: RuntimeRequest | None
    ) -> None:
        await self._starting.acquire()
        start = tasks.create_task(self._start(attempt, plugin, request), name=f"start {attempt.launch.name}")
        self._starts[start] = attempt
        start.add_done_callback(self._starts.pop)

    def _build(
        self, attempt: Attempt, plugin: TaskPlugin, inputs: Mapping[str, bytes] | None, checkpoint: str = ""
    ) -> RuntimeRequest | None:
        """The plugin's request; None when it has none to give, and then the attempt has failed."""
        launch = attempt.launch
        try:
            context = build_context(attempt.live, launch, self._raw_output_prefix, checkpoint)
            request = plugin.build(launch.task.template, inputs, context)
        except BadTaskError as error:
            self._failed(attempt, error.failure)
        except Exception as error:  # noqa: BLE001 - a plugin's own error must not stop the engine
            _log.exception("a task cannot be built", task=launch.task.name, attempt=launch.name)
            text = f"the task cannot be built: {type(error).__name__}: {error}"
            self._failed(attempt, Failure(ErrorKind.SYSTEM, "FailedToBuildResource", text))
        else:
            in_lanes = self._room.in_lanes
            if launch.inputs is not None and launch.name in in_lanes and isinstance(request, ContainerRequest):
                return request._replace(inputs=launch.inputs)
            return request
        return None

    async def _start(self, attempt: Attempt, plugin: TaskPlugin, request: RuntimeRequest | None) -> None:
        """Write the files of an attempt and hand it over; `request` None: what it needs must be looked up first."""
        launch = attempt.launch
        try:
            if request is None:
                wanted = plugin.needs_inputs(launch.task.template)
                inputs = await load_inputs(self._blobs, launch) if wanted else None
                prefix = attempt.live.raw_output_prefix or self._raw_output_prefix
                checkpoint = await previous_checkpoint(self._blobs, prefix, attempt.live.state.name, launch)
                if not checkpoint and self._left_by_element is not None:
                    checkpoint = await self._left_by_element(attempt.live, launch)
                request = self._build(attempt, plugin, inputs, checkpoint)
                if request is None:
                    return
            if attempt.is_repeat:
                if await self._runtime.adopt([launch.name]):
                    self._room.arrived(launch.name)
                    return
                await remove_results(self._blobs, launch, lambda: self._is_ours(attempt))
            if self._needs_files(attempt):
                await write_files(self._blobs, launch)
        except SupersededError:
            self._room.line_up_again(attempt)  # or somebody else has it now, and starts it
        except BlobStoreFailedError as error:
            self._failed(attempt, error.failure())
        except (BlobNotFoundError, MalformedLiteralMapError) as error:
            text = f"the inputs of the task cannot be read: {error}"
            self._failed(attempt, Failure(ErrorKind.SYSTEM, "BindingResolutionFailure", text))
        else:
            if self._is_ours(attempt) and self._room.may_be_handed_over(attempt):
                _LAUNCHED.inc()
                await self._runtime.launch([request])
                if launch.name in self._aborted:
                    self._abort(launch.name)
            else:
                # If that is for the lease alone, it waits until that is renewed or the engine ends.
                self._room.line_up_again(attempt)
        finally:
            self._aborted.discard(launch.name)
            self._starting.release()

    def _is_ours(self, attempt: Attempt) -> bool:
        """Whether it is still this process's to start the attempt: it may have been aborted or dropped meanwhile, and a
        process that was stopped for a while may have lost its lease without knowing."""
        return self._room.is_there(attempt) and self._trusted()

    def _failed(self, attempt: Attempt, failure: Failure) -> None:
        if self._room.is_there(attempt):
            launch, now = attempt.launch, self._clock()
            self._finish(attempt, TaskFailed(now, launch.ref, now, failure, closure_details(launch, ())))
