"""Looks nodes up in the executions that executions of this process recover.

The core asks for a node when it is ready (`core.reuse`), so what is read is what is needed next, a page in one
statement, and nothing is kept: memory does not grow with what is recovered. Of a task that did not succeed the workflow
that it made, if it was dynamic, or else the folder with its newest checkpoint is looked for as well. Nothing here
survives a crash: nodes that were asked about have no row yet, and whoever takes the execution up asks again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Gauge

from wingbeat_propeller.compiler.plan import MalformedClosureError
from wingbeat_propeller.core.effects import Launch, Recall, RecallElements
from wingbeat_propeller.core.events import ElementsRecalled, Event, Recalled
from wingbeat_propeller.core.ids import element_name, generated_name
from wingbeat_propeller.core.phases import NODE_SUCCESS
from wingbeat_propeller.core.plan import NodeKind, Plan
from wingbeat_propeller.core.reuse import Reuse, futures_uri_of, inherited_elements, inherited_workflow, workflow_of
from wingbeat_propeller.core.rows import ElementRow, NodeRow
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError, riding_out
from wingbeat_propeller.engine.checkpoints import newest_checkpoint
from wingbeat_propeller.engine.dynamics import Dynamics
from wingbeat_propeller.engine.live import LiveExecution, Source
from wingbeat_propeller.engine.origins import made_reuse
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.ports.sources import Sources

_log = structlog.get_logger(__name__)
_ASKED = Gauge("wingbeat_source_nodes_asked", "Nodes waiting to be looked up in executions that are recovered")
_REUSED = Counter(
    "wingbeat_source_nodes_found", "Nodes and elements looked up in executions that are recovered", ["found"]
)

PAGE = 200
"""Nodes looked up in one statement; each row may hold two small LiteralMaps."""
LOOKING_MAX = 16
"""Tasks at once whose left-overs are looked for."""
ELEMENTS_PAGE = 500
"""Elements read in one statement, and taken over in one step."""
_RETRY_S = 0.5
_T = TypeVar("_T")
_NOTHING_LEFT = (
    BlobStoreFailedError,
    BlobNotFoundError,
    BlobTooLargeError,
    BlobAccessError,
    MalformedClosureError,
    DecodeError,
)


class SourceReader:
    """See the module. `is_live` tells whether an execution is still driven here."""

    def __init__(
        self,
        sources: Sources,
        blobs: Blobs,
        dynamics: Dynamics,
        *,
        raw_output_prefix: str,
        apply: Callable[[LiveExecution, Event], None],
        is_live: Callable[[LiveExecution], bool],
        clock: Callable[[], float],
    ) -> None:
        self._sources = sources
        self._blobs = blobs
        self._dynamics = dynamics
        self._raw_output_prefix = raw_output_prefix
        self._apply = apply
        self._is_live = is_live
        self._clock = clock
        self._asked: deque[tuple[LiveExecution, Recall | RecallElements]] = deque()
        self._looking = asyncio.Semaphore(LOOKING_MAX)
        self._work = asyncio.Event()
        _ASKED.set_function(lambda: len(self._asked))

    def ask(self, live: LiveExecution, recall: Recall | RecallElements) -> None:
        """A node is ready, or an array; it is answered by Recalled, by ElementsRecalled."""
        self._asked.append((live, recall))
        self._work.set()

    async def left_by_element(self, live: LiveExecution, launch: Launch) -> str:
        """Folder with the newest checkpoint that an element of an array had left that did not succeed; empty: none.

        Raises BlobStoreFailedError. Waits while the database cannot be reached.
        """
        source, inherited = live.source, inherited_elements(launch.inherited)
        if source is None or inherited is None:
            return ""
        array_id, element = inherited.array_id, launch.ref.element
        attempt = await _outlast(lambda: self._sources.last_attempt(source.execution, array_id, element))
        if attempt is None:
            return ""
        array = generated_name(source.name, array_id, 0)
        prefix = source.raw_output_prefix or self._raw_output_prefix
        found = await newest_checkpoint(
            self._blobs, prefix, attempt, lambda number: element_name(array, element, number)
        )
        return found or ""

    async def run(self) -> None:
        """Live until cancelled. An outage of the database only delays."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._work.wait()
                self._work.clear()
                while self._asked:
                    page = [self._asked.popleft() for _ in range(min(PAGE, len(self._asked)))]
                    try:
                        await self._answer(tasks, [(live, recall) for live, recall in page if self._is_live(live)])
                    except OSError as error:
                        _log.warning("source executions not read, trying again", error=str(error))
                        self._asked.extendleft(reversed(page))
                        await asyncio.sleep(_RETRY_S)

    async def _answer(
        self, tasks: asyncio.TaskGroup, page: list[tuple[LiveExecution, Recall | RecallElements]]
    ) -> None:
        keys = [
            (live.source.execution, recall.node_id)
            for live, recall in page
            if live.source is not None and isinstance(recall, Recall)
        ]
        found = await self._sources.nodes(keys)
        for live, recall in page:
            if isinstance(recall, RecallElements):
                await self._looking.acquire()
                tasks.create_task(self._read_elements(live, recall), name="read elements")
                continue
            row = None if live.source is None else found.get((live.source.execution, recall.node_id))
            runs = row is not None and (recall.is_changed or row.phase not in NODE_SUCCESS)
            if row is not None and runs and row.kind == NodeKind.TASK:
                await self._looking.acquire()
                tasks.create_task(self._look_further(live, recall, row), name="look for what a task left")
            else:
                self._send(live, recall, row)

    async def _read_elements(self, live: LiveExecution, recall: RecallElements) -> None:
        source, array_id = live.source, recall.array_id
        rows: Sequence[ElementRow] = ()
        try:
            if source is not None:
                rows = await _outlast(
                    lambda: self._sources.elements(source.execution, array_id, after=recall.after, limit=ELEMENTS_PAGE)
                )
        finally:
            self._looking.release()
        _REUSED.labels("elements").inc(len(rows))
        if self._is_live(live):
            is_last = len(rows) < ELEMENTS_PAGE
            self._apply(live, ElementsRecalled(self._clock(), recall.ref, rows, is_last))

    async def _look_further(self, live: LiveExecution, recall: Recall, row: NodeRow) -> None:
        """What a task left that did not succeed. Without it the new one begins at its beginning: right, if slow."""
        checkpoint = plan = reuse = None
        try:
            if live.source is not None and _goes_on(live.source, recall):
                plan = await self._dynamic_plan(recall, row)
            if plan is None:
                checkpoint = None if recall.is_changed else await self._checkpoint(live, row)
            else:
                uri = futures_uri_of(row)
                reuse = await made_reuse(self._dynamics, live.source, recall.node_id, workflow_of(row), plan, uri)
        except _NOTHING_LEFT as error:
            _log.warning(
                "a task runs from its beginning", execution=live.state.name, node=row.node_id, error=str(error)
            )
        finally:
            self._looking.release()
        self._send(live, recall, row, checkpoint, plan, reuse)

    async def _dynamic_plan(self, recall: Recall, row: NodeRow) -> Plan | None:
        """The workflow that it had made, if any, with its inputs put where the new node expects them."""
        uri = futures_uri_of(row)
        if not uri:
            return None
        plan = await self._dynamics.load(uri)
        inputs = row.inputs
        if inputs is None and row.input_uri is not None:
            source = row.input_uri
            inputs = await riding_out(lambda: self._blobs.get(source), f"reading {source}")
        data = inputs or b""
        await riding_out(lambda: self._blobs.put(recall.inputs_uri, data), f"writing {recall.inputs_uri}")
        return plan

    async def _checkpoint(self, live: LiveExecution, row: NodeRow) -> str | None:
        source = live.source
        assert source is not None, "the row came from there"
        prefix = source.raw_output_prefix or self._raw_output_prefix
        found = await newest_checkpoint(
            self._blobs, prefix, row.attempt, lambda number: generated_name(source.name, row.node_id, number)
        )
        return found or (None if inherited_workflow(row.inherited) is not None else row.inherited)

    def _send(
        self,
        live: LiveExecution,
        recall: Recall,
        row: NodeRow | None,
        checkpoint: str | None = None,
        plan: Plan | None = None,
        reuse: Reuse | None = None,
    ) -> None:
        _REUSED.labels("no" if row is None else "succeeded" if row.phase in NODE_SUCCESS else "unfinished").inc()
        if self._is_live(live):
            self._apply(live, Recalled(self._clock(), recall.ref, row, checkpoint, plan, reuse))


async def _outlast(read: Callable[[], Awaitable[_T]]) -> _T:
    """What the database answers, once it can be reached."""
    while True:
        try:
            return await read()
        except OSError as error:
            _log.warning("source executions not read, trying again", error=str(error))
            await asyncio.sleep(_RETRY_S)


def _goes_on(source: Source, recall: Recall) -> bool:
    """Whether a dynamic task need not run, as it would make what it has made: not in another version, nor when it is
    the task itself that is to run again."""
    return source.same_version and (not recall.is_changed or recall.node_id in source.rules.changed_inside)
