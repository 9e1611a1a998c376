"""Launching, one at a time and in bulk.

Everything is launched with an idempotency key, the caller's or one made here, so whatever breaks in between is sent
again without making anything twice. Inputs are converted by the interface of what is launched, files are uploaded. Many
launches go through calls with hundreds of items, a few calls under way at once; a server that is behind says so, and
the client waits as long as it asks for. Servers of Flyte, which have no LaunchService, get one CreateExecution each.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (inputs of callers have any type)

import asyncio
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from wingbeat.core import each
from wingbeat.entities import Entities, Entity, Version
from wingbeat.errors import (
    AlreadyExistsError,
    ConversionError,
    InvalidArgumentError,
    NotFoundError,
    ServerError,
    TransferError,
    UnimplementedError,
    Violation,
    server_error,
)
from wingbeat.identifiers import EntityId, ExecutionId, Kind
from wingbeat.literals.handles import DataFrame, Handle
from wingbeat.reading import Reading
from wingbeat.single_launch import create_execution

if TYPE_CHECKING:
    from flyteidl.core import literals_pb2

    from wingbeatidl.launch.v1 import item_pb2, outcome_pb2

EntityRef: TypeAlias = Entity | str
"""What to launch: its name, or an `Entity` that was looked up before."""

Refusal: TypeAlias = ServerError | ConversionError | TransferError
"""Why something is not launched."""

ITEMS_MAX = 1_000
"""Items in one call."""
BYTES_MAX = 8 << 20
"""Of inputs in one call, about."""
CALLS_MAX = 4
"""Calls under way at once; so many times ITEMS_MAX launches are in memory at most."""

_LAUNCH = "/wingbeatidl.launch.v1.LaunchService/Launch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Settings of one execution, over those of launch plan, workflow, domain, project and installation."""

    max_parallelism: int = 0
    envs: Mapping[str, str] = field(default_factory=dict[str, str])
    raw_output_prefix: str = ""
    interruptible: bool | None = None
    overwrite_cache: bool | None = None
    service_account: str = ""
    iam_role: str = ""
    tags: Iterable[str] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """One execution to be."""

    entity: EntityRef
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    version: str | Version | None = None
    kind: Kind = Kind.LAUNCH_PLAN
    name: str = ""
    """Of the execution; empty: the server makes one."""
    key: str = ""
    """Idempotency key: what has the same key and content is launched once, for at least seven days."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    priority: int | None = None
    """-100 to 100: which of the executions that wait for an engine begins first."""
    overrides: Overrides = Overrides()
    project: str | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Launched:
    """What became of one launch: `execution` was created by it or was there already, or `error` says why not."""

    launch: Launch
    execution: ExecutionId | None
    created: bool
    """False: an earlier launch with the same key and content has made the execution."""
    error: Refusal | None = None

    def require(self) -> ExecutionId:
        """The execution. Raises the error if there is one."""
        if self.error is not None:
            raise self.error
        assert self.execution is not None, "what was not refused was launched"
        return self.execution


class Launching(Entities, Reading):
    """Starts executions."""

    _bulk: bool | None = None
    """Whether the server has LaunchService, once that is known."""

    async def launch(
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
        launch = Launch(
            entity,
            inputs or {},
            version,
            kind=kind,
            name=name,
            key=key,
            labels=labels or {},
            annotations=annotations or {},
            priority=priority,
            overrides=overrides or Overrides(),
            project=project,
            domain=domain,
        )
        item = await self._item(launch, {})
        (outcome,) = await self._send([item])
        return _launched(launch, outcome).require()

    async def run(
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
        execution = await self.launch(entity, inputs, **launch)
        return await self.outputs(await self.wait(execution, timeout_s=timeout_s))

    async def launch_many(
        self, launches: Iterable[Launch] | AsyncIterable[Launch], *, items_max: int = ITEMS_MAX
    ) -> AsyncIterator[Launched]:
        """Start many executions; what became of each, in their order. One that is refused leaves the others alone.

        `launches` are taken as they are needed, and no further ones while the caller does not take answers. Raises
        ServerError when the server cannot be reached for longer than the client's patience; launches without an answer
        may have been made or not, and those with a key of the caller's can be given again.
        """
        self._use()
        memory: dict[tuple[Any, ...], Entity] = {}
        under_way: list[asyncio.Task[list[Launched]]] = []
        try:
            async for portion in _portions(self._items(launches, memory), items_max):
                while len(under_way) >= CALLS_MAX:
                    for launched in await under_way.pop(0):
                        yield launched
                under_way.append(asyncio.create_task(self._launch_portion(portion), name="launch"))
            while under_way:
                for launched in await under_way.pop(0):
                    yield launched
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _items(
        self, launches: Iterable[Launch] | AsyncIterable[Launch], memory: dict[tuple[Any, ...], Entity]
    ) -> "AsyncIterator[tuple[Launch, item_pb2.LaunchItem | Refusal]]":
        async for launch in each(launches):
            try:
                yield launch, await self._item(launch, memory)
            except (ConversionError, InvalidArgumentError, NotFoundError, TransferError) as error:
                yield launch, error

    async def _launch_portion(self, portion: "list[tuple[Launch, item_pb2.LaunchItem | Refusal]]") -> list[Launched]:
        items = [item for _, item in portion if not isinstance(item, Exception)]
        outcomes = iter(await self._send(items) if items else ())
        return [
            Launched(launch, None, created=False, error=item)
            if isinstance(item, Exception)
            else _launched(launch, next(outcomes))
            for launch, item in portion
        ]

    async def _send(self, items: "list[item_pb2.LaunchItem]") -> "list[outcome_pb2.LaunchOutcome]":
        from wingbeatidl.launch.v1 import launch_pb2

        if self._bulk is not False:
            request = launch_pb2.LaunchRequest(project=self.project, domain=self.domain, items=items)
            try:
                answer = await self.call(_LAUNCH, request, launch_pb2.LaunchResponse)
            except UnimplementedError:
                self._bulk = False
            else:
                return list(answer.outcomes)
        return [await create_execution(self, item) for item in items]

    async def _item(self, launch: Launch, memory: dict[tuple[Any, ...], Entity]) -> "item_pb2.LaunchItem":
        """The message for one launch. `memory` holds what was looked up for the same call of the caller."""
        entity = launch.entity
        project, domain = launch.project or self.project, launch.domain or self.domain
        if isinstance(entity, str):
            asked = (entity, launch.version, launch.kind, project, domain)
            found = memory.get(asked)
            if found is None:
                found = memory[asked] = await self.entity(
                    entity, launch.version, kind=launch.kind, project=project, domain=domain
                )
            entity = found
        literals = await self.encode(launch.inputs, entity, project=project, domain=domain)
        try:
            return _message(launch, entity.id, literals, project, domain)
        except (TypeError, ValueError) as error:
            raise ConversionError(f"{entity.id.name} cannot be launched so: {error}") from error

    async def encode(
        self, inputs: Mapping[str, Any], entity: Entity, *, project: str | None = None, domain: str | None = None
    ) -> "literals_pb2.LiteralMap":
        """Inputs as FlyteIDL's literals, by the interface of what takes them; files are uploaded.

        Raises ConversionError, TransferError.
        """
        from wingbeat.literals.encode import encode_map

        place = (project or self.project, domain or self.domain)
        ready = {name: await self._uploaded(value, place) for name, value in inputs.items()}
        return encode_map(ready, entity.inputs)

    async def _uploaded(self, value: Any, place: tuple[str, str]) -> Any:
        """The value with all that lies on this machine put into the store, however deep in lists and maps."""
        match value:
            case Handle():
                await self.transfers.upload(value, *place)  # pyright: ignore[reportArgumentType]
                return value
            case Path():
                from wingbeat.literals.handles import Directory, File

                handle = Directory(value) if value.is_dir() else File(value)
                await self.transfers.upload(handle, *place)
                return handle
            case Mapping():
                return {key: await self._uploaded(one, place) for key, one in value.items()}
            case list() | tuple():
                return [await self._uploaded(one, place) for one in value]
            case _ if type(value).__name__ in {"DataFrame", "Table"} and hasattr(value, "columns"):
                return await self._uploaded(DataFrame(value), place)
            case _ if hasattr(value, "__dataclass_fields__"):
                for name in value.__dataclass_fields__:
                    await self._uploaded(getattr(value, name), place)
                return value
            case _:
                return value


_NO_OVERRIDES = Overrides()


def _message(
    launch: Launch, entity: EntityId, literals: "literals_pb2.LiteralMap", project: str, domain: str
) -> "item_pb2.LaunchItem":
    """Raises TypeError and ValueError for what protobuf does not take."""
    from wingbeatidl.launch.v1 import item_pb2

    item = item_pb2.LaunchItem(
        project=project,
        domain=domain,
        target=item_pb2.Target(
            kind=getattr(item_pb2, f"TARGET_KIND_{entity.kind.name}"),
            project=entity.project,
            domain=entity.domain,
            name=entity.name,
            version=entity.version,
        ),
        inputs=item_pb2.Inputs(literals=literals.SerializeToString(deterministic=True)),
        name=launch.name,
        idempotency_key=launch.key or f"wingbeat-client-{secrets.token_hex(16)}",
        labels=launch.labels,
        annotations=launch.annotations,
        priority=launch.priority,
    )
    settings = launch.overrides
    if settings != _NO_OVERRIDES:
        item.overrides.MergeFrom(
            item_pb2.Overrides(
                max_parallelism=settings.max_parallelism,
                envs=settings.envs,
                raw_output_prefix=settings.raw_output_prefix,
                service_account=settings.service_account,
                iam_role=settings.iam_role,
                tags=settings.tags,
            )
        )
        if settings.interruptible is not None:
            item.overrides.interruptible = settings.interruptible
        if settings.overwrite_cache is not None:
            item.overrides.overwrite_cache = settings.overwrite_cache
    return item


def _launched(launch: Launch, outcome: "outcome_pb2.LaunchOutcome") -> Launched:
    from wingbeatidl.launch.v1 import outcome_pb2

    execution = ExecutionId.of(outcome.execution) if outcome.execution.name else None
    if outcome.status in (outcome_pb2.LAUNCH_STATUS_CREATED, outcome_pb2.LAUNCH_STATUS_EXISTING):
        return Launched(launch, execution, created=outcome.status == outcome_pb2.LAUNCH_STATUS_CREATED)
    if outcome.status == outcome_pb2.LAUNCH_STATUS_CONFLICT:
        error: ServerError = AlreadyExistsError("ALREADY_EXISTS", outcome.message, method=_LAUNCH)
    else:
        from google.rpc import code_pb2

        error = server_error(code_pb2.Code.Name(outcome.code), outcome.message, method=_LAUNCH)  # pyright: ignore
    error.violations = tuple(Violation(one.field, one.description) for one in outcome.violations)
    return Launched(launch, execution, created=False, error=error)


async def _portions(
    items: "AsyncIterator[tuple[Launch, item_pb2.LaunchItem | Refusal]]", items_max: int
) -> "AsyncIterator[list[tuple[Launch, item_pb2.LaunchItem | Refusal]]]":
    portion: list[tuple[Launch, item_pb2.LaunchItem | Refusal]] = []
    size = 0
    async for launch, item in items:
        added = 0 if isinstance(item, Exception) else item.ByteSize()
        if portion and (len(portion) >= items_max or size + added > BYTES_MAX):
            yield portion
            portion, size = [], 0
        portion.append((launch, item))
        size += added
    if portion:
        yield portion
