"""From what the runtime tells of attempts to the core's events.

Most ends carry their outputs and are judged at once; for others the store is looked at (`outcomes`), and a workflow
that a task has made is compiled. Called on one event loop.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.events import Event, TaskBecameDynamic, TaskFailed, TaskStarted, TaskSucceeded
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.values import MalformedLiteralMapError, Value, split_literal_map
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError, riding_out
from wingbeat_propeller.engine.dispatch.attempt import Attempt, closure_details
from wingbeat_propeller.engine.dispatch.room import Room
from wingbeat_propeller.engine.dynamics import DynamicPlan
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.engine.outcomes import IsDynamic, Outcome, announced_deck, collect, inline_bytes_max
from wingbeat_propeller.engine.requests import write_files
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.ports.runtime import Ended, Runtime, RuntimeEvent, Started

TURN = 128
"""Events judged before other work gets its turn."""


class EventJudge:
    """Life: `run` beside the dispatcher; what is told while it does not run is dropped."""

    def __init__(
        self,
        *,
        room: Room,
        runtime: Runtime,
        blobs: Blobs,
        compile_dynamic: Callable[[LiveExecution, Launch], Awaitable[DynamicPlan | Failure]],
        apply: Callable[[LiveExecution, Event], None],
        finish: Callable[[Attempt, Event], None],
        clock: Callable[[], float],
    ) -> None:
        """`apply` tells the core of an attempt that goes on, `finish` of one that has ended."""
        self._room = room
        self._blobs = blobs
        self._compile_dynamic = compile_dynamic
        self._apply = apply
        self._finish = finish
        self._clock = clock
        self._events: deque[RuntimeEvent] = deque()
        self._told = asyncio.Event()
        self._running = False
        runtime.subscribe(self._on_events)

    async def run(self) -> None:
        """Judge events a few at a time, so that the journal commits the first ones while the next are looked at."""
        events = self._events
        self._running = True
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await self._told.wait()
                    self._told.clear()
                    while events:
                        for _ in range(min(len(events), TURN)):
                            self._on_event(tasks, events.popleft())
                        if events:
                            await asyncio.sleep(0)
        finally:
            self._running = False

    def _on_events(self, events: Sequence[RuntimeEvent]) -> None:
        """Take events of the runtime; no more than two an attempt under way, and dropped while nothing runs here:
        whoever adopts the attempts is told again."""
        if self._running:
            self._events.extend(events)
            self._told.set()

    def _on_event(self, tasks: asyncio.TaskGroup, event: RuntimeEvent) -> None:
        attempt = self._room.under_way.get(event.name)
        if attempt is None:
            return  # aborted, moved away, or told before
        if isinstance(event, Started):
            self._apply(attempt.live, self._started(attempt, event))
            return
        launch = attempt.launch
        is_small = _is_small(event.outputs, launch)
        if event.started_at is not None and (not is_small or launch.ref.element >= 0 or launch.task.wants_deck):
            # A short attempt of a node is one step when all that it leaves are outputs; all others begin first.
            self._apply(attempt.live, self._started(attempt, Started(event.name, event.started_at, event.logs)))
        if is_small or (event.failure and not self._must_look(attempt)):
            self._finish(attempt, self._judged(attempt, event))
        else:
            tasks.create_task(self._collect(attempt, event), name=f"collect {event.name}")

    def _must_look(self, attempt: Attempt) -> bool:
        """Whether the store is needed for an attempt that has failed: for its deck, or for the inputs of the next one,
        which the failed one was given without a file."""
        launch = attempt.launch
        return bool(launch.task.wants_deck) or (launch.name in self._room.in_lanes and launch.inputs is not None)

    def _started(self, attempt: Attempt, event: Started) -> TaskStarted:
        details = closure_details(attempt.launch, event.logs, event.reason)
        return TaskStarted(self._clock(), attempt.launch.ref, event.at, details)

    def _judged(self, attempt: Attempt, event: Ended) -> Event:
        now = self._clock()
        ref = attempt.launch.ref
        details = closure_details(attempt.launch, event.logs)
        failure = event.failure
        if failure is None:
            try:
                data = event.outputs or b""
                outputs: dict[str, Value] = dict(split_literal_map(data))
                return TaskSucceeded(now, ref, event.at, outputs, data, details=details, started_at=event.started_at)
            except MalformedLiteralMapError as error:
                failure = Failure(ErrorKind.SYSTEM, "OutputsNotReadable", f"malformed outputs: {error}", retryable=True)
        return TaskFailed(now, ref, event.at, failure, details)

    async def _collect(self, attempt: Attempt, event: Ended) -> None:
        """Look at what the attempt left in the store."""
        launch = attempt.launch
        outcome: Outcome | DynamicPlan = event.failure or await self._outcome(launch, event.outputs)
        if isinstance(outcome, IsDynamic):
            if not self._room.is_there(attempt):
                return
            outcome = await self._compile_dynamic(attempt.live, launch)
        deck_uri = None
        if isinstance(outcome, Failure):
            if launch.name in self._room.in_lanes and outcome.retryable:
                outcome = await self._with_inputs_kept(launch, outcome)
            deck_uri = await announced_deck(self._blobs, launch.task, launch.output_dir)
        if not self._room.is_there(attempt):
            return
        details = closure_details(launch, event.logs)
        now = self._clock()
        if isinstance(outcome, DynamicPlan):
            plan, identifier, futures_uri, reuse = outcome
            made = TaskBecameDynamic(now, launch.ref, event.at, plan, identifier, futures_uri, details, reuse)
            self._finish(attempt, made)
        elif isinstance(outcome, Failure):
            self._finish(attempt, TaskFailed(now, launch.ref, event.at, outcome, details, deck_uri))
        else:
            result = TaskSucceeded(
                now,
                launch.ref,
                event.at,
                outcome.outputs,
                serialized=outcome.serialized,
                deck_uri=outcome.deck_uri,
                details=details,
                references=outcome.references,
            )
            self._finish(attempt, result)

    async def _with_inputs_kept(self, launch: Launch, failure: Failure) -> Failure:
        """The next attempt finds its inputs where those of a container do."""
        try:
            await write_files(self._blobs, launch)
        except BlobStoreFailedError as error:
            return error.failure()
        return failure

    async def _outcome(self, launch: Launch, outputs: bytes | None) -> Outcome:
        """Judge the files of an attempt; outputs that were handed over, too large for a row, become one of them."""
        if outputs is not None:
            uri = f"{launch.output_dir}/outputs.pb"
            try:
                await riding_out(lambda: self._blobs.put(uri, outputs), f"writing {uri}")
            except BlobStoreFailedError as error:
                return error.failure()
        return await collect(self._blobs, launch)


def _is_small(outputs: bytes | None, launch: Launch) -> bool:
    """Whether an attempt has handed over outputs that need no blob."""
    return outputs is not None and len(outputs) <= inline_bytes_max(launch)
