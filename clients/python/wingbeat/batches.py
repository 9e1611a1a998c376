"""Batches: many rows, one execution each, launched by the server at a bounded rate and with a bounded number alive."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingbeat.connection import Resumption
from wingbeat.core import each, pages
from wingbeat.entities import Version
from wingbeat.errors import ServerError, WaitTimeoutError, error_of
from wingbeat.identifiers import ExecutionId, Kind, new_name
from wingbeat.launching import BYTES_MAX, EntityRef, Launch, Launching
from wingbeat.literals.handles import File

if TYPE_CHECKING:
    from wingbeatidl.batch.v1 import batch_pb2, row_pb2
    from wingbeatidl.launch.v1 import item_pb2

_SERVICE = "/wingbeatidl.batch.v1.BatchService/"
_PAGE = 1_000
_ROWS_MAX = 500
"""Rows in one message of an upload."""
_POLL_S = 0.5
_POLL_S_MAX = 5.0


class BatchState(Enum):
    """Where a batch stands."""

    UNSPECIFIED = 0
    CHECKING = 1
    RUNNING = 2
    PAUSED = 3
    ABORTING = 4
    COMPLETED = 5
    ABORTED = 6
    FAILED = 7

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen, unless rows are retried."""
        return self in (BatchState.COMPLETED, BatchState.ABORTED, BatchState.FAILED)


class RowPhase(Enum):
    """Where a row of a batch stands."""

    UNSPECIFIED = 0
    PENDING = 1
    QUEUED = 2
    RUNNING = 3
    SUCCEEDED = 4
    FAILED = 5
    TIMED_OUT = 6
    ABORTED = 7
    REFUSED = 8


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Numbers of rows, exact in one snapshot."""

    total: int = 0
    pending: int = 0
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    aborted: int = 0
    refused: int = 0

    @property
    def ended(self) -> int:
        """Rows about which nothing more will happen."""
        return self.succeeded + self.failed + self.timed_out + self.aborted + self.refused


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch at one moment."""

    project: str
    domain: str
    name: str
    state: BatchState
    reason: str
    counts: BatchCounts
    results_uri: str
    message: "batch_pb2.Batch" = field(repr=False, compare=False)

    @property
    def succeeded(self) -> bool:
        """Whether every row succeeded."""
        return self.state is BatchState.COMPLETED and self.counts.succeeded == self.counts.total


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch that is uploaded."""

    inputs: Mapping[str, Any]
    key: str = ""
    """How results name it; its number by default."""
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class RowState:
    """A row that was launched or refused."""

    number: int
    key: str
    phase: RowPhase
    attempt: int
    execution: ExecutionId | None
    error: str
    line: int
    message: "row_pb2.BatchRow" = field(repr=False, compare=False)


class Batches(Launching):
    """Batches of a project and domain. They are named by their name, or by a `Batch`."""

    async def create_batch(
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
        from wingbeatidl.batch.v1 import batch_pb2, manifest_pb2

        place = project or self.project, domain or self.domain
        if isinstance(manifest, Path):
            manifest = File(manifest)
        if isinstance(manifest, File):
            await self.transfers.upload(manifest, *place)
            manifest = manifest.uri or ""
        request = batch_pb2.CreateBatchRequest(
            id=batch_pb2.BatchIdentifier(project=place[0], domain=place[1], name=name or new_name()),
            spec=batch_pb2.BatchSpec(
                template=await self._template(entity, version, kind, inputs, labels, place),
                rate_per_s=rate_per_s,
                alive_max=alive_max,
                broken_rows=batch_pb2.BROKEN_ROWS_REFUSE_ROW
                if refuse_broken_rows
                else batch_pb2.BROKEN_ROWS_UNSPECIFIED,
            ),
            manifest=manifest_pb2.Manifest(uri=str(manifest), key_column=key_column),
        )
        answer = await self.call(f"{_SERVICE}CreateBatch", request, batch_pb2.CreateBatchResponse)
        return batch_of(answer.batch)

    async def upload_batch(
        self,
        rows: "Iterable[Row | Mapping[str, Any]] | AsyncIterable[Row | Mapping[str, Any]]",
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
        import grpc

        from wingbeatidl.batch.v1 import batch_pb2

        self._use()
        place = project or self.project, domain or self.domain
        if isinstance(entity, str):
            entity = await self.entity(entity, version, kind=kind, project=place[0], domain=place[1])
        first = batch_pb2.UploadBatchRequest(
            id=batch_pb2.BatchIdentifier(project=place[0], domain=place[1], name=name or new_name()),
            spec=batch_pb2.BatchSpec(
                template=await self._template(entity, version, kind, inputs, labels, place),
                rate_per_s=rate_per_s,
                alive_max=alive_max,
            ),
        )
        call = self._connection.channel.stream_unary(
            f"{_SERVICE}UploadBatch",
            request_serializer=batch_pb2.UploadBatchRequest.SerializeToString,
            response_deserializer=batch_pb2.UploadBatchResponse.FromString,
        )()
        try:
            await call.write(first)
            message, size = batch_pb2.UploadBatchRequest(), 0
            async for row in each(rows):
                item = await self._row(row if isinstance(row, Row) else Row(row), entity)
                message.rows.append(item)
                size += item.ByteSize()
                if len(message.rows) >= _ROWS_MAX or size >= BYTES_MAX:
                    await call.write(message)
                    message, size = batch_pb2.UploadBatchRequest(), 0
            await call.write(message)
            await call.done_writing()
            return batch_of((await call).batch)
        except grpc.RpcError as error:
            raise error_of(error, method=f"{_SERVICE}UploadBatch") from error
        except asyncio.InvalidStateError:  # the server has ended the call while rows were being written
            try:
                return batch_of((await call).batch)
            except grpc.RpcError as error:
                raise error_of(error, method=f"{_SERVICE}UploadBatch") from error
        finally:
            call.cancel()

    async def _row(self, row: Row, entity: EntityRef) -> "item_pb2.LaunchItem":
        launch = Launch(entity, row.inputs, name=row.name, labels=row.labels, priority=row.priority)
        item = await self._item(launch, {})
        item.ClearField("target")
        item.idempotency_key = row.key
        return item

    async def batch(self, batch: "Batch | str") -> Batch:
        """How a batch stands. Raises NotFoundError."""
        from wingbeatidl.batch.v1 import batch_pb2

        request = batch_pb2.GetBatchRequest(id=self._batch_id(batch))
        return batch_of((await self.call(f"{_SERVICE}GetBatch", request, batch_pb2.GetBatchResponse)).batch)

    async def batches(
        self,
        *,
        states: Iterable[BatchState] = (),
        project: str | None = None,
        domain: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Batch]:
        """Batches of a project and domain, newest first."""
        from wingbeatidl.batch.v1 import batch_pb2

        chosen = [state.value for state in states]

        async def fetch(token: str) -> tuple[list[Batch], str]:
            request = batch_pb2.ListBatchesRequest(
                project=project or self.project,
                domain=domain or self.domain,
                states=chosen,  # pyright: ignore[reportArgumentType]
                page_token=token,
            )
            page = await self.call(f"{_SERVICE}ListBatches", request, batch_pb2.ListBatchesResponse)
            return [batch_of(one) for one in page.batches], page.next_page_token

        async for batch in pages(fetch, limit):
            yield batch

    async def pause_batch(self, batch: "Batch | str") -> Batch:
        """Launch no further row; executions that run go on."""
        from wingbeatidl.batch.v1 import batch_pb2

        request = batch_pb2.PauseBatchRequest(id=self._batch_id(batch))
        return batch_of((await self.call(f"{_SERVICE}PauseBatch", request, batch_pb2.PauseBatchResponse)).batch)

    async def resume_batch(self, batch: "Batch | str") -> Batch:
        """Go on launching."""
        from wingbeatidl.batch.v1 import batch_pb2

        request = batch_pb2.ResumeBatchRequest(id=self._batch_id(batch))
        return batch_of((await self.call(f"{_SERVICE}ResumeBatch", request, batch_pb2.ResumeBatchResponse)).batch)

    async def abort_batch(self, batch: "Batch | str", cause: str = "") -> Batch:
        """Launch no further row and abort executions that are alive."""
        from wingbeatidl.batch.v1 import batch_pb2

        request = batch_pb2.AbortBatchRequest(id=self._batch_id(batch), cause=cause)
        return batch_of((await self.call(f"{_SERVICE}AbortBatch", request, batch_pb2.AbortBatchResponse)).batch)

    async def retry_batch(self, batch: "Batch | str", phases: Iterable[RowPhase] = ()) -> int:
        """Launch rows that failed (or those in `phases`) again; how many."""
        from wingbeatidl.batch.v1 import batch_pb2

        chosen = [phase.value for phase in phases]
        request = batch_pb2.RetryBatchRequest(id=self._batch_id(batch), phases=chosen)  # pyright: ignore[reportArgumentType]
        return (await self.call(f"{_SERVICE}RetryBatch", request, batch_pb2.RetryBatchResponse)).rows

    async def batch_rows(
        self, batch: "Batch | str", *, phases: Iterable[RowPhase] = (), limit: int | None = None
    ) -> AsyncIterator[RowState]:
        """Rows that were launched or refused, by number."""
        from wingbeatidl.batch.v1 import batch_pb2

        identifier = self._batch_id(batch)
        chosen = [phase.value for phase in phases]

        async def fetch(token: str) -> tuple[list[RowState], str]:
            request = batch_pb2.ListBatchRowsRequest(
                id=identifier,
                phases=chosen,  # pyright: ignore[reportArgumentType]
                page_size=_PAGE,
                page_token=token,
            )
            page = await self.call(f"{_SERVICE}ListBatchRows", request, batch_pb2.ListBatchRowsResponse)
            return [_row_of(one) for one in page.rows], page.next_page_token

        async for row in pages(fetch, limit):
            yield row

    async def batch_results(self, batch: "Batch | str", *, skip: int = 0) -> AsyncIterator[dict[str, Any]]:
        """Results written so far, each as the object of its line: row, key, phase, error, outputs. Broken connections
        are resumed."""
        from wingbeatidl.batch.v1 import batch_pb2

        self._use()
        method = f"{_SERVICE}GetBatchResults"
        request = batch_pb2.GetBatchResultsRequest(id=self._batch_id(batch), skip=skip)
        again = Resumption(self._connection.patience.stream_s)
        while True:
            try:
                async for message in self._connection.stream(method, request, batch_pb2.GetBatchResultsResponse):
                    again.lived()
                    for line in message.lines:
                        request.skip += 1
                        yield json.loads(line)
            except ServerError as error:
                await again.pause(error)
            else:
                return

    async def wait_batch(self, batch: "Batch | str", *, timeout_s: float | None = None) -> Batch:
        """How a batch stands when it has ended. Raises WaitTimeoutError."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        pause_s = _POLL_S
        while not (found := await self.batch(batch)).state.ended:
            if deadline is not None and loop.time() + pause_s > deadline:
                raise WaitTimeoutError(f"batch {found.name} has not ended in {timeout_s:g} seconds")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _POLL_S_MAX)
        return found

    def _batch_id(self, batch: "Batch | str") -> "batch_pb2.BatchIdentifier":
        from wingbeatidl.batch.v1 import batch_pb2

        if isinstance(batch, Batch):
            return batch.message.id
        found = ExecutionId.parse(batch, self.project, self.domain)
        return batch_pb2.BatchIdentifier(project=found.project, domain=found.domain, name=found.name)

    async def _template(
        self,
        entity: EntityRef | None,
        version: str | Version | None,
        kind: Kind,
        inputs: Mapping[str, Any] | None,
        labels: Mapping[str, str] | None,
        place: tuple[str, str],
    ) -> "item_pb2.LaunchTemplate":
        from wingbeatidl.launch.v1 import item_pb2

        if entity is None:
            return item_pb2.LaunchTemplate(labels=labels or {})
        launch = Launch(entity, inputs or {}, version, kind=kind, project=place[0], domain=place[1])
        item = await self._item(launch, {})
        return item_pb2.LaunchTemplate(target=item.target, inputs=item.inputs if inputs else None, labels=labels or {})


def batch_of(message: "batch_pb2.Batch") -> Batch:
    """From Wingbeat's message."""
    names = BatchCounts.__dataclass_fields__
    return Batch(
        project=message.id.project,
        domain=message.id.domain,
        name=message.id.name,
        state=BatchState(message.state),
        reason=message.message,
        counts=BatchCounts(**{name: getattr(message.counts, name) for name in names}),
        results_uri=message.results_uri,
        message=message,
    )


def _row_of(message: "row_pb2.BatchRow") -> RowState:
    return RowState(
        number=message.number,
        key=message.key,
        phase=RowPhase(message.phase),
        attempt=message.attempt,
        execution=ExecutionId.of(message.execution) if message.execution.name else None,
        error=message.error,
        line=message.line,
        message=message,
    )
