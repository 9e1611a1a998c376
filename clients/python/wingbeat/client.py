"""`Client`: everything a program asks of a Wingbeat server, without asyncio.

Each method runs the one of `AsyncClient` with its name in a loop of another thread (`background`) and waits for it;
iterators fetch ahead, within bounds. So there is one implementation, and a client may be used by many threads at once.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from wingbeat import background
from wingbeat.async_client import AsyncClient
from wingbeat.batches import Batch, BatchState, Row, RowPhase, RowState
from wingbeat.changing import Signal
from wingbeat.connection import Patience
from wingbeat.core import ExecutionRef
from wingbeat.endpoint import Endpoint
from wingbeat.entities import Entity, Version
from wingbeat.executions import Attempt, Execution, Node, Phase
from wingbeat.identifiers import DOMAIN, PROJECT, ExecutionId, Kind
from wingbeat.launching import ITEMS_MAX, EntityRef, Launch, Launched, Overrides
from wingbeat.literals.handles import File
from wingbeat.watching import Level, Transition

if TYPE_CHECKING:
    from datetime import datetime

    from flyteidl.admin import launch_plan_pb2, project_pb2, task_pb2, workflow_pb2
    from flyteidl.core import literals_pb2
    from google.protobuf.message import Message

    from wingbeatidl.query.v1 import query_pb2, why_pb2
    from wingbeatidl.recovery.v1 import recovery_pb2
    from wingbeatidl.watch.v1 import watch_pb2

A = TypeVar("A", bound="Message")
T = TypeVar("T")

_CHUNK = 200


class Client:
    """A client of one server, for any number of threads. Nothing is sent before the first call.

    `endpoint` is host:port (`https://` before it: TLS). Without it the server is found like that of the commands: by
    WINGBEAT_ENDPOINT, FLYTECTL_CONFIG, the data folder of `wingbeat up`, or `~/.flyte/config.yaml`. `project` and
    `domain` are for everything that is named without them.

    A client does not survive a fork; `background` says what children can do.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        insecure: bool | None = None,
        ca_certificate: str | None = None,
        config: str | None = None,
        data_dir: str | None = None,
        project: str = PROJECT,
        domain: str = DOMAIN,
        patience: Patience | None = None,
    ) -> None:
        self._loop = background.background_loop()
        self._async = AsyncClient(
            endpoint,
            insecure=insecure,
            ca_certificate=ca_certificate,
            config=config,
            data_dir=data_dir,
            project=project,
            domain=domain,
            patience=patience,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection; what is under way is cancelled."""
        self._run(self._async.close())

    @property
    def endpoint(self) -> Endpoint:
        """Where the server is."""
        return self._async.endpoint

    @property
    def project(self) -> str:
        """Project of what is named without one."""
        return self._async.project

    @property
    def domain(self) -> str:
        """Domain of what is named without one."""
        return self._async.domain

    def execution_id(self, execution: ExecutionRef) -> ExecutionId:
        """The identifier of what a caller means. Raises ValueError for a text that is no name."""
        return self._async.execution_id(execution)

    def shape(self, kind: type[T], value: Any) -> T:
        """A plain value as a class of the caller's: a dataclass out of a dict, with Enums, instants and files in it.

        Raises ConversionError with the way to what does not fit.
        """
        return self._async.shape(kind, value)

    # Any rpc

    def call(self, method: str, request: "Message", answer: type[A], *, timeout_s: float | None = None) -> A:
        """Any rpc of the server by its full name, for what has no method here. It may be sent more than once.

        Raises ServerError.
        """
        return self._run(self._async.call(method, request, answer, timeout_s=timeout_s))

    # What is registered

    def entity(
        self,
        name: str,
        version: str | Version | None = None,
        *,
        kind: Kind = Kind.LAUNCH_PLAN,
        project: str | None = None,
        domain: str | None = None,
    ) -> Entity:
        """A launch plan, a workflow (which means its default launch plan) or a task, with its interface.

        Without a version: the active launch plan if there is one, else the newest. Raises NotFoundError.
        """
        return self._run(self._async.entity(name, version, kind=kind, project=project, domain=domain))

    def projects(self, *, limit: int | None = None) -> Iterator["project_pb2.Project"]:
        """All projects with their domains, as FlyteIDL's messages."""
        return self._iterate(self._async.projects(limit=limit))

    def names(
        self, kind: Kind, *, project: str | None = None, domain: str | None = None, limit: int | None = None
    ) -> Iterator[str]:
        """Names of the tasks, workflows or launch plans of a project and domain, each once."""
        return self._iterate(self._async.names(kind, project=project, domain=domain, limit=limit))

    def tasks(
        self,
        name: str = "",
        *,
        project: str | None = None,
        domain: str | None = None,
        filters: str = "",
        limit: int | None = None,
    ) -> Iterator["task_pb2.Task"]:
        """Versions of tasks, newest first, as FlyteIDL's messages; `name`: of one task."""
        return self._iterate(self._async.tasks(name, project=project, domain=domain, filters=filters, limit=limit))

    def workflows(
        self,
        name: str = "",
        *,
        project: str | None = None,
        domain: str | None = None,
        filters: str = "",
        limit: int | None = None,
    ) -> Iterator["workflow_pb2.Workflow"]:
        """Versions of workflows, newest first, as FlyteIDL's messages; `name`: of one workflow."""
        return self._iterate(self._async.workflows(name, project=project, domain=domain, filters=filters, limit=limit))

    def launch_plans(
        self,
        name: str = "",
        *,
        project: str | None = None,
        domain: str | None = None,
        filters: str = "",
        limit: int | None = None,
    ) -> Iterator["launch_plan_pb2.LaunchPlan"]:
        """Versions of launch plans, newest first, as FlyteIDL's messages; `name`: of one launch plan."""
        return self._iterate(
            self._async.launch_plans(name, project=project, domain=domain, filters=filters, limit=limit)
        )

    # Questions about executions

    def execution(self, execution: ExecutionRef) -> Execution:
        """How an execution stands. Raises NotFoundError."""
        return self._run(self._async.execution(execution))

    def exists(self, execution: ExecutionRef) -> bool:
        """Whether there is such an execution."""
        return self._run(self._async.exists(execution))

    def executions(
        self,
        *,
        project: str | None = None,
        domain: str | None = None,
        phases: Iterable[Phase] = (),
        launch_plan: str = "",
        workflow: str = "",
        task: str = "",
        filters: str = "",
        limit: int | None = None,
    ) -> Iterator[Execution]:
        """Executions of a project and domain, newest first; `filters` are those of FlyteIDL, `eq(phase,FAILED)`."""
        return self._iterate(
            self._async.executions(
                project=project,
                domain=domain,
                phases=phases,
                launch_plan=launch_plan,
                workflow=workflow,
                task=task,
                filters=filters,
                limit=limit,
            )
        )

    def nodes(
        self, execution: ExecutionRef, *, parent: str = "", filters: str = "", limit: int | None = None
    ) -> Iterator[Node]:
        """Nodes of an execution, or those inside the node `parent`, in the order in which the engine met them."""
        return self._iterate(self._async.nodes(execution, parent=parent, filters=filters, limit=limit))

    def all_nodes(self, execution: ExecutionRef) -> Iterator[tuple[int, Node]]:
        """All nodes at any depth, those inside a node right after it, each with its depth."""
        return self._iterate(self._async.all_nodes(execution))

    def node(self, execution: ExecutionRef, node: str) -> Node:
        """How a node stands, by its unique id. Raises NotFoundError."""
        return self._run(self._async.node(execution, node))

    def attempts(self, execution: ExecutionRef, node: str, *, limit: int | None = None) -> Iterator[Attempt]:
        """Attempts of a node's task, the first one first, with their logs; of maps with those of each element."""
        return self._iterate(self._async.attempts(execution, node, limit=limit))

    def attempt(self, attempt: Attempt) -> Attempt:
        """An attempt as it is now, with all its elements as far as one answer holds them."""
        return self._run(self._async.attempt(attempt))

    def outputs(self, execution: ExecutionRef) -> dict[str, Any]:
        """Outputs as plain values; files, folders and tables as handles.

        Raises ExecutionFailedError for an execution that ended without success, ExecutionRunningError for one that has
        not ended.
        """
        return self._run(self._async.outputs(execution))

    def inputs(self, execution: ExecutionRef) -> dict[str, Any]:
        """Inputs as plain values, defaults included."""
        return self._run(self._async.inputs(execution))

    def node_outputs(self, execution: ExecutionRef, node: str) -> dict[str, Any]:
        """Outputs of a node as plain values; empty while there are none."""
        return self._run(self._async.node_outputs(execution, node))

    def node_inputs(self, execution: ExecutionRef, node: str) -> dict[str, Any]:
        """Inputs of a node as plain values; empty while there are none."""
        return self._run(self._async.node_inputs(execution, node))

    def execution_data(self, execution: ExecutionRef) -> "tuple[literals_pb2.LiteralMap, literals_pb2.LiteralMap]":
        """Inputs and outputs as FlyteIDL's literals, fetched if they are too large for an answer."""
        return self._run(self._async.execution_data(execution))

    def node_data(
        self, execution: ExecutionRef, node: str
    ) -> "tuple[literals_pb2.LiteralMap, literals_pb2.LiteralMap]":
        """Inputs and outputs of a node as FlyteIDL's literals."""
        return self._run(self._async.node_data(execution, node))

    def wait(self, execution: ExecutionRef, *, timeout_s: float | None = None) -> Execution:
        """How an execution stands when it has ended, well or not. Raises WaitTimeoutError, NotFoundError."""
        return self._run(self._async.wait(execution, timeout_s=timeout_s))

    def wait_many(self, executions: Iterable[ExecutionRef], *, timeout_s: float | None = None) -> Iterator[ExecutionId]:
        """Executions as they end, whichever is first; each once. Stops when all have, or after `timeout_s`."""
        return self._iterate(self._async.wait_many(executions, timeout_s=timeout_s))

    def why(self, execution: ExecutionRef, node: str = "", *, limit: int = 20) -> "why_pb2.WhyResponse":
        """Why an execution, or a node of it, is not running: sentences, and the same as fields."""
        return self._run(self._async.why(execution, node, limit=limit))

    def history(self, execution: ExecutionRef, at: "datetime") -> "query_pb2.GetExecutionAtResponse":
        """How an execution and its nodes stood at an instant."""
        return self._run(self._async.history(execution, at))

    # Starting executions

    def launch(
        self,
        entity: EntityRef,
        inputs: Mapping[str, Any] | None = None,
        *,
        version: str | Version | None = None,
        kind: Kind = Kind.LAUNCH_PLAN,
        name: str = "",
        key: str = "",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        priority: int | None = None,
        overrides: Overrides | None = None,
        project: str | None = None,
        domain: str | None = None,
    ) -> ExecutionId:
        """Start one execution and answer as soon as it is durable. Arguments as in `Launch`.

        Raises ConversionError for inputs that do not fit, NotFoundError, InvalidArgumentError; AlreadyExistsError when
        the key or the name belongs to another execution, or as many of the launch plan are alive as may be.
        """
        return self._run(
            self._async.launch(
                entity,
                inputs,
                version=version,
                kind=kind,
                name=name,
                key=key,
                labels=labels,
                annotations=annotations,
                priority=priority,
                overrides=overrides,
                project=project,
                domain=domain,
            )
        )

    def run(
        self,
        entity: EntityRef,
        inputs: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        **launch: Any,
    ) -> dict[str, Any]:
        """Start one execution, wait for its end, and answer with its outputs as plain values.

        Arguments as in `launch`. Raises what `launch`, `wait` and `outputs` raise.
        """
        return self._run(self._async.run(entity, inputs, timeout_s=timeout_s, **launch))

    def launch_many(self, launches: Iterable[Launch], *, items_max: int = ITEMS_MAX) -> Iterator[Launched]:
        """Start many executions; what became of each, in their order. One that is refused leaves the others alone.

        `launches` are taken as they are needed, and no further ones while the caller does not take answers. Raises
        ServerError when the server cannot be reached for longer than the client's patience; launches without an answer
        may have been made or not, and those with a key of the caller's can be given again.
        """
        return self._iterate(self._async.launch_many(_unblocked(launches), items_max=items_max))

    def encode(
        self, inputs: Mapping[str, Any], entity: Entity, *, project: str | None = None, domain: str | None = None
    ) -> "literals_pb2.LiteralMap":
        """Inputs as FlyteIDL's literals, by the interface of what takes them; files are uploaded.

        Raises ConversionError, TransferError.
        """
        return self._run(self._async.encode(inputs, entity, project=project, domain=domain))

    # Changing executions

    def terminate(self, execution: ExecutionRef, cause: str = "") -> None:
        """Abort an execution; `cause` is for people. Raises FailedPreconditionError for one that has ended."""
        self._run(self._async.terminate(execution, cause))

    def relaunch(self, execution: ExecutionRef, *, name: str = "", overwrite_cache: bool = False) -> ExecutionId:
        """The same once more, as a new execution."""
        return self._run(self._async.relaunch(execution, name=name, overwrite_cache=overwrite_cache))

    def recover(
        self,
        execution: ExecutionRef,
        *,
        version: str = "",
        rerun: Iterable[str] = (),
        assume_unchanged: Iterable[str] = (),
        name: str = "",
    ) -> ExecutionId:
        """A new execution that takes over what succeeded in this one; with `version`, of mended code."""
        return self._run(
            self._async.recover(execution, version=version, rerun=rerun, assume_unchanged=assume_unchanged, name=name)
        )

    def plan_recovery(
        self,
        execution: ExecutionRef,
        *,
        version: str = "",
        rerun: Iterable[str] = (),
        assume_unchanged: Iterable[str] = (),
        name: str = "",
        dry_run: bool = True,
        nodes_max: int = 0,
    ) -> "recovery_pb2.RecoverExecutionResponse":
        """What a recovery takes over and what it runs, node by node, of `nodes_max` (10,000; 0: 1,000) nodes at most;
        starts nothing unless `dry_run` is False."""
        return self._run(
            self._async.plan_recovery(
                execution,
                version=version,
                rerun=rerun,
                assume_unchanged=assume_unchanged,
                name=name,
                dry_run=dry_run,
                nodes_max=nodes_max,
            )
        )

    def signals(self, execution: ExecutionRef, *, limit: int | None = None) -> Iterator[Signal]:
        """Values that gates of an execution wait for or have got."""
        return self._iterate(self._async.signals(execution, limit=limit))

    def signal(self, execution: ExecutionRef, signal: str, value: Any = True) -> None:
        """Give a gate its value: what it asks for, or True (False) for an approval.

        Raises NotFoundError while no gate of that name waits, FailedPreconditionError when the execution has ended,
        ConversionError for a value of another type.
        """
        self._run(self._async.signal(execution, signal, value))

    # Watching

    def watch(
        self,
        executions: Iterable[ExecutionRef] = (),
        *,
        levels: Iterable[Level] = (Level.EXECUTION,),
        cursor: str = "",
        from_oldest: bool = False,
        project: str | None = None,
        domain: str | None = None,
        every_project: bool = False,
        batches: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        launch_plan: str = "",
        workflow: str = "",
        task: str = "",
        phases: Iterable[Phase] = (),
        with_outputs: bool = False,
    ) -> Iterator[Transition]:
        """Transitions in commit order, each once, until the caller stops; broken connections are resumed.

        Begins after `cursor`, else with the oldest that is kept (`from_oldest`; with `executions`: with the story of
        each), else now. Executions, batches, labels, entities and phases narrow it; without `executions` those of the
        client's project and domain, or of all (`every_project`).

        Raises OutOfRangeError when the log does not reach back to the cursor (`metadata["oldest"]` does),
        UnavailableError when no server is found for longer than the client's patience.
        """
        return self._iterate(
            self._async.watch(
                executions,
                levels=levels,
                cursor=cursor,
                from_oldest=from_oldest,
                project=project,
                domain=domain,
                every_project=every_project,
                batches=batches,
                labels=labels,
                launch_plan=launch_plan,
                workflow=workflow,
                task=task,
                phases=phases,
                with_outputs=with_outputs,
            )
        )

    def watch_messages(
        self, request: "watch_pb2.WatchTransitionsRequest", *, heartbeat_s: float = 15.0
    ) -> Iterator[Transition]:
        """The same for a request of the caller's making, which is not changed. Raises as `watch`."""
        return self._iterate(self._async.watch_messages(request, heartbeat_s=heartbeat_s))

    def watch_raw(
        self, request: "watch_pb2.WatchTransitionsRequest", *, heartbeat_s: float = 15.0
    ) -> "Iterator[watch_pb2.WatchTransitionsResponse]":
        """The messages of the stream as they are, resumed like the others; the cheapest way to read many transitions.

        Heartbeats (messages without transitions) are given, too: they have a cursor.
        """
        return self._iterate(self._async.watch_raw(request, heartbeat_s=heartbeat_s))

    def cursor(self) -> str:
        """A cursor after everything that is committed now: take it, launch, and watch from before the launch."""
        return self._run(self._async.cursor())

    # Batches

    def create_batch(
        self,
        manifest: str | Path | File,
        entity: EntityRef | None = None,
        *,
        version: str | Version | None = None,
        kind: Kind = Kind.LAUNCH_PLAN,
        inputs: Mapping[str, Any] | None = None,
        name: str = "",
        rate_per_s: float = 0.0,
        alive_max: int = 0,
        key_column: str = "",
        refuse_broken_rows: bool = False,
        labels: Mapping[str, str] | None = None,
        project: str | None = None,
        domain: str | None = None,
    ) -> Batch:
        """Begin a batch from a manifest of JSON Lines, CSV or Parquet: a URI in the store, or a file of this machine
        (`Path` or `File`), which is uploaded. `inputs` are for all rows that have none of that name.

        The same name with the same content is the same batch. `refuse_broken_rows`: a line that cannot be read fails
        its row instead of the batch. Raises ConversionError, AlreadyExistsError, InvalidArgumentError.
        """
        return self._run(
            self._async.create_batch(
                manifest,
                entity,
                version=version,
                kind=kind,
                inputs=inputs,
                name=name,
                rate_per_s=rate_per_s,
                alive_max=alive_max,
                key_column=key_column,
                refuse_broken_rows=refuse_broken_rows,
                labels=labels,
                project=project,
                domain=domain,
            )
        )

    def upload_batch(
        self,
        rows: "Iterable[Row | Mapping[str, Any]]",
        entity: EntityRef,
        *,
        version: str | Version | None = None,
        kind: Kind = Kind.LAUNCH_PLAN,
        inputs: Mapping[str, Any] | None = None,
        name: str = "",
        rate_per_s: float = 0.0,
        alive_max: int = 0,
        labels: Mapping[str, str] | None = None,
        project: str | None = None,
        domain: str | None = None,
    ) -> Batch:
        """Begin a batch from rows of this program: inputs, or `Row`s. There is no batch before the last one is stored.

        When the connection breaks nothing was begun, or all; the same rows with the same `name` may be sent again.
        Raises as `create_batch`; UnavailableError.
        """
        return self._run(
            self._async.upload_batch(
                _unblocked(rows),
                entity,
                version=version,
                kind=kind,
                inputs=inputs,
                name=name,
                rate_per_s=rate_per_s,
                alive_max=alive_max,
                labels=labels,
                project=project,
                domain=domain,
            )
        )

    def batch(self, batch: "Batch | str") -> Batch:
        """How a batch stands. Raises NotFoundError."""
        return self._run(self._async.batch(batch))

    def batches(
        self,
        *,
        states: Iterable[BatchState] = (),
        project: str | None = None,
        domain: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Batch]:
        """Batches of a project and domain, newest first."""
        return self._iterate(self._async.batches(states=states, project=project, domain=domain, limit=limit))

    def pause_batch(self, batch: "Batch | str") -> Batch:
        """Launch no further row; executions that run go on."""
        return self._run(self._async.pause_batch(batch))

    def resume_batch(self, batch: "Batch | str") -> Batch:
        """Go on launching."""
        return self._run(self._async.resume_batch(batch))

    def abort_batch(self, batch: "Batch | str", cause: str = "") -> Batch:
        """Launch no further row and abort executions that are alive."""
        return self._run(self._async.abort_batch(batch, cause))

    def retry_batch(self, batch: "Batch | str", phases: Iterable[RowPhase] = ()) -> int:
        """Launch rows that failed (or those in `phases`) again; how many."""
        return self._run(self._async.retry_batch(batch, phases))

    def batch_rows(
        self, batch: "Batch | str", *, phases: Iterable[RowPhase] = (), limit: int | None = None
    ) -> Iterator[RowState]:
        """Rows that were launched or refused, by number."""
        return self._iterate(self._async.batch_rows(batch, phases=phases, limit=limit))

    def batch_results(self, batch: "Batch | str", *, skip: int = 0) -> Iterator[dict[str, Any]]:
        """Results written so far, each as the object of its line: row, key, phase, error, outputs. Broken connections
        are resumed."""
        return self._iterate(self._async.batch_results(batch, skip=skip))

    def wait_batch(self, batch: "Batch | str", *, timeout_s: float | None = None) -> Batch:
        """How a batch stands when it has ended. Raises WaitTimeoutError."""
        return self._run(self._async.wait_batch(batch, timeout_s=timeout_s))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        background.background_loop()  # refuses in a forked child
        return background.run(self._loop, coroutine)

    def _iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        background.background_loop()
        return background.iterate(self._loop, source)


async def _unblocked(items: Iterable[T]) -> AsyncIterator[T]:
    """Items of a caller's iterator, which may block: it runs in a thread, some items at a time."""
    if isinstance(items, list | tuple):
        for item in items:
            yield item
        return
    iterator = iter(items)
    while chunk := await asyncio.to_thread(lambda: list(itertools.islice(iterator, _CHUNK))):
        for item in chunk:
            yield item
