"""Executions that launch plan nodes of this process have created: creating, watching and terminating them.

Creating is idempotent by name, so a keeper that knows nothing after a crash asks for everything again. The end of a
child is heard of by notification, wherever the child ran; a slow look at all of them covers what was not heard. When a
node ends without its child (abort, deadline, failure elsewhere) the child is terminated, and should this process die in
between, the sweep for orphans does it.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeAlias

import structlog
from flyteidl.core import execution_pb2
from prometheus_client import Counter, Gauge

from wingbeat_propeller.core.effects import AbortChild, LaunchChild
from wingbeat_propeller.core.events import ChildEnded, ChildStarted, Event
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError, riding_out
from wingbeat_propeller.engine.live import LiveExecution
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs
from wingbeat_propeller.ports.children import ChildEnd, ChildRefusedError, Children, ChildRequest

_log = structlog.get_logger(__name__)
_WAITING = Gauge("wingbeat_children_waited_for", "Child executions that nodes wait for")
_ORPHANS = Counter("wingbeat_orphans_terminated", "Child executions terminated because their node had ended")

LAUNCHING_MAX = 16
"""Children created at once."""
PAGE = 500
"""Children looked at in one statement."""
POLL_S = 10.0
"""How often to look at all of them."""
SWEEP_S = 30.0
"""How often to look for orphans."""
_RETRY_S = 0.5

Name: TypeAlias = tuple[str, str, str]
"""Project, domain and name of a child."""


class _Child:
    __slots__ = ("aborted", "command", "execution", "live")

    def __init__(self, live: LiveExecution, command: LaunchChild) -> None:
        self.live = live
        self.command = command
        self.execution: int | None = None
        """Row id, once it is known to exist."""
        self.aborted = False
        """Its node has ended without it. (One that was merely dropped belongs to another process.)"""


class ChildKeeper:
    """See the module. `children` creates and reads executions, `blobs` holds inputs that are large."""

    def __init__(
        self,
        children: Children,
        blobs: Blobs,
        *,
        apply: Callable[[LiveExecution, Event], None],
        clock: Callable[[], float],
    ) -> None:
        self._children = children
        self._blobs = blobs
        self._apply = apply
        self._clock = clock
        self._wanted: dict[Name, _Child] = {}
        self._by_execution: dict[int, _Child] = {}
        self._of_live: dict[LiveExecution, set[Name]] = {}
        self._to_launch: list[_Child] = []
        self._to_find: list[_Child] = []
        self._to_abort: list[tuple[Name, str]] = []
        self._to_look: dict[int, None] = {}
        self._launching = asyncio.Semaphore(LAUNCHING_MAX)
        self._work = asyncio.Event()
        _WAITING.set_function(lambda: len(self._wanted))

    def launch(self, live: LiveExecution, command: LaunchChild) -> None:
        """A node wants its child."""
        name = _name(live, command.name)
        if name in self._wanted:
            return
        child = self._wanted[name] = _Child(live, command)
        self._of_live.setdefault(live, set()).add(name)
        (self._to_find if command.is_repeat else self._to_launch).append(child)
        self._work.set()

    def abort(self, live: LiveExecution, command: AbortChild) -> None:
        """A node has ended without its child."""
        name = _name(live, command.name)
        child = self._wanted.get(name)
        if child is not None:
            child.aborted = True
        self._forget(name)
        self._to_abort.append((name, command.reason))
        self._work.set()

    def drop(self, live: LiveExecution) -> None:
        """The execution has ended, or belongs to another process from now on."""
        for name in list(self._of_live.get(live, ())):
            self._forget(name)

    def wake(self, payload: str) -> None:
        """The execution with that row id has ended; empty: any may have."""
        if payload:
            self._look([int(payload)])
        else:
            self._look(self._by_execution)

    async def run(self) -> None:
        """Live until cancelled. An outage of the database only delays."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep(), name="sweep orphans")
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._work.wait()
                if not self._work.is_set():
                    self._look(self._by_execution)
                self._work.clear()
                try:
                    await self._pass(tasks)
                except OSError as error:
                    _log.warning("child executions not looked at, trying again", error=str(error))
                    self._work.set()
                    await asyncio.sleep(_RETRY_S)

    async def _pass(self, tasks: asyncio.TaskGroup) -> None:
        # What is worked on is taken out first: more may be put in while the database answers.
        while self._to_abort:
            (project, domain, name), reason = abort = self._to_abort.pop()
            try:
                await self._children.abort(project, domain, name, reason)
            except OSError:
                self._to_abort.append(abort)
                raise
        while self._to_find:
            found = self._to_find[-PAGE:]
            del self._to_find[-PAGE:]
            try:
                await self._find(found)
            except OSError:
                self._to_find += found
                raise
        while self._to_launch:
            child = self._to_launch.pop()
            await self._launching.acquire()
            tasks.create_task(self._launch(child), name=f"launch child {child.command.name}")
        while self._to_look:
            page = list(self._to_look)[:PAGE]
            for execution in page:
                del self._to_look[execution]
            try:
                ends = await self._children.ended(page)
            except OSError:
                self._look(page)
                raise
            for end in ends:
                await self._ended(end)

    async def _find(self, page: list[_Child]) -> None:
        keys = {(int(child.live.state.key), child.command.node_id, child.command.name): child for child in page}
        found = await self._children.find(list(keys))
        for key, child in keys.items():
            if key in found:
                self._exists(child, found[key])
            else:
                self._to_launch.append(child)

    async def _launch(self, child: _Child) -> None:
        try:
            while self._is_wanted(child):
                try:
                    execution = await self._children.launch(await self._request(child))
                except OSError as error:
                    _log.warning("child execution not created, trying again", name=child.command.name, error=str(error))
                    await asyncio.sleep(_RETRY_S)
                    continue
                except ChildRefusedError as error:
                    self._finish(child, error.failure)
                except BlobStoreFailedError as error:
                    self._finish(child, error.failure())
                except BlobNotFoundError as error:
                    text = f"the inputs of the node cannot be read: {error}"
                    self._finish(child, Failure(ErrorKind.SYSTEM, "BindingResolutionFailure", text))
                else:
                    if self._is_wanted(child):
                        self._exists(child, execution)
                    elif child.aborted:
                        # The abort may have come before the child was there; doing it twice does no harm.
                        reason = "the node that launched it has ended"
                        self._to_abort.append((_name(child.live, child.command.name), reason))
                        self._work.set()
                return
        finally:
            self._launching.release()

    async def _request(self, child: _Child) -> ChildRequest:
        command = child.command
        state = child.live.state
        inputs = command.inputs
        if inputs is None:
            inputs = await riding_out(lambda: self._blobs.get(command.inputs_uri), f"reading {command.inputs_uri}")
        return ChildRequest(
            parent=int(state.key),
            project=state.project,
            domain=state.domain,
            parent_name=state.name,
            node_id=command.node_id,
            name=command.name,
            launch_plan=command.launch_plan,
            inputs=inputs,
            recovers=command.recovers,
        )

    def _exists(self, child: _Child, execution: int) -> None:
        if not self._is_wanted(child):
            return
        child.execution = execution
        self._by_execution[execution] = child
        project, domain, name = _name(child.live, child.command.name)
        self._apply(child.live, ChildStarted(self._clock(), child.command.ref, project, domain, name))
        self._look([execution])  # it may have ended before anybody listened

    async def _ended(self, end: ChildEnd) -> None:
        child = self._by_execution.get(end.execution)
        if child is None:
            return
        failure = await self._whole(end)
        if not self._is_wanted(child):
            return
        match end.phase:
            case ExecutionPhase.SUCCEEDED:
                failure = None
            case ExecutionPhase.ABORTED:
                text = f"execution '{child.command.name}' was aborted"
                failure = Failure(ErrorKind.USER, "RemoteChildWorkflowExecutionFailed", text)
            case ExecutionPhase.UNDEFINED:
                text = f"execution '{child.command.name}' is not there any more"
                failure = Failure(ErrorKind.SYSTEM, "RemoteChildWorkflowExecutionFailed", text)
            case _ if failure is None:
                text = f"execution '{child.command.name}' has failed"
                failure = Failure(ErrorKind.UNKNOWN, "RemoteChildWorkflowExecutionFailed", text)
            case _:
                pass
        self._finish(child, failure, end.outputs, end.outputs_uri)

    async def _whole(self, end: ChildEnd) -> Failure | None:
        """The failure of a child with its whole message; as far as it goes when the rest cannot be read."""
        uri = end.error_uri
        if end.failure is None or uri is None:
            return end.failure
        try:
            data = await riding_out(lambda: self._blobs.get(uri), f"reading {uri}")
        except (BlobStoreFailedError, BlobNotFoundError):
            return end.failure
        error = execution_pb2.ExecutionError.FromString(data)
        return Failure(ErrorKind(error.kind), error.code, error.message)

    def _finish(
        self, child: _Child, failure: Failure | None, outputs: bytes | None = None, outputs_uri: str | None = None
    ) -> None:
        if not self._is_wanted(child):
            return
        self._forget(_name(child.live, child.command.name))
        self._apply(child.live, ChildEnded(self._clock(), child.command.ref, failure, outputs, outputs_uri))

    def _is_wanted(self, child: _Child) -> bool:
        return self._wanted.get(_name(child.live, child.command.name)) is child

    def _forget(self, name: Name) -> None:
        child = self._wanted.pop(name, None)
        if child is None:
            return
        names = self._of_live.get(child.live)
        if names is not None:
            names.discard(name)
            if not names:
                del self._of_live[child.live]
        if child.execution is not None:
            self._by_execution.pop(child.execution, None)
            self._to_look.pop(child.execution, None)

    def _look(self, executions: Iterable[int]) -> None:
        known = {execution: None for execution in executions if execution in self._by_execution}
        if known:
            self._to_look.update(known)
            self._work.set()

    async def _sweep(self) -> None:
        while True:
            try:
                if count := await self._children.abort_orphans():
                    _log.info("terminated child executions whose node had ended", count=count)
                    _ORPHANS.inc(count)
            except OSError as error:
                _log.warning("orphans not looked for, trying again", error=str(error))
            await asyncio.sleep(SWEEP_S)


def _name(live: LiveExecution, name: str) -> Name:
    return (live.state.project, live.state.domain, name)
