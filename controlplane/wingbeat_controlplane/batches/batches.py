"""Batches as their callers see them: made, looked at, paused, aborted, retried.

Every change locks the batch's row, which a driver also locks for each portion, so it holds from its answer on.
"""

import hashlib
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from wingbeat_controlplane.batches.batch_messages import batch_message, row_message, stored_phases
from wingbeat_controlplane.errors import ApiError, absent, already_exists, bad_field, failed_precondition, missing
from wingbeat_controlplane.executions.launch import Caller
from wingbeat_controlplane.executions.names import check_name, generated_name
from wingbeat_controlplane.launching.bulk import BulkLauncher
from wingbeat_controlplane.launching.item_settings import Defaults
from wingbeat_controlplane.launching.refusals import RefusedError
from wingbeat_controlplane.launching.target_versions import TargetVersions
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_propeller.ports.blobs import BlobAccessError, Blobs
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.batch.v1 import batch_pb2, manifest_pb2, row_pb2
from wingbeatidl.launch.v1 import item_pb2

_SQL = load_queries("wingbeat_controlplane.batches", "batches.sql")

ALIVE_MAX = 100_000
RETRIED = (row_pb2.ROW_PHASE_FAILED, row_pb2.ROW_PHASE_TIMED_OUT, row_pb2.ROW_PHASE_ABORTED)
RETRIABLE = (*RETRIED, row_pb2.ROW_PHASE_REFUSED)
PARTS_AT_ONCE = 100
LINES_IN_ANSWER = 500
BYTES_IN_ANSWER = 1 << 20
"""But for a line that is larger by itself."""

_ENDINGS = {
    ".jsonl": manifest_pb2.MANIFEST_FORMAT_JSON_LINES,
    ".ndjson": manifest_pb2.MANIFEST_FORMAT_JSON_LINES,
    ".csv": manifest_pb2.MANIFEST_FORMAT_CSV,
    ".parquet": manifest_pb2.MANIFEST_FORMAT_PARQUET,
}


class Batches:
    """The batches of an installation."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        blobs: Blobs,
        projects: ProjectStore,
        versions: TargetVersions,
        bulk: BulkLauncher,
    ) -> None:
        self._pool = pool
        self._blobs = blobs
        self._projects = projects
        self._versions = versions
        self._bulk = bulk

    async def create(
        self,
        identifier: batch_pb2.BatchIdentifier,
        spec: batch_pb2.BatchSpec,
        manifest: manifest_pb2.Manifest,
        caller: Caller,
        content: bytes = b"",
    ) -> batch_pb2.Batch:
        """Make a batch, or find the one that the same call has made; `content` is what is in a manifest that the call
        brought along. Raises ApiError INVALID_ARGUMENT, NOT_FOUND (manifest, target), ALREADY_EXISTS."""
        name = await self.check(identifier, spec)
        if not manifest.uri:
            raise missing("manifest.uri")
        form = manifest.format or next(
            (form for ending, form in _ENDINGS.items() if manifest.uri.lower().endswith(ending)), 0
        )
        if form not in manifest_pb2.ManifestFormat.values() or not form:
            if manifest.format:
                raise bad_field("manifest.format", f"manifest.format: there is no format {manifest.format}")
            text = f"manifest.format: none is named, and {manifest.uri[-100:]} does not tell it"
            raise bad_field("manifest.format", text)
        try:
            if not content and await self._blobs.stat(manifest.uri) is None:
                raise absent("manifest", manifest.uri)
        except BlobAccessError as error:
            raise bad_field("manifest.uri", f"manifest.uri: {error}") from error
        asked = hashlib.sha256()
        for part in (
            spec.SerializeToString(deterministic=True),
            content or manifest.uri.encode(),
            f"{form} {manifest.key_column}".encode(),
        ):
            asked.update(len(part).to_bytes(8) + part)
        key = UUID(bytes=asked.digest()[:16])
        fixed = await self._fixed(identifier, spec, caller)
        created = await self._pool.fetchval(
            _SQL["create"],
            *(identifier.project, identifier.domain, name, key, caller.principal, fixed.SerializeToString()),
            *(manifest.uri, form, manifest.key_column),
        )
        made = batch_pb2.BatchIdentifier(project=identifier.project, domain=identifier.domain, name=name)
        row = await self._row(made)
        if created is None and row["content"] != key:
            raise already_exists(f"batch [{name}] already exists with another specification")
        return batch_message(row, self._blobs.base)

    async def check(self, identifier: batch_pb2.BatchIdentifier, spec: batch_pb2.BatchSpec) -> str:
        """Whether a batch like this may be; its name. Raises ApiError INVALID_ARGUMENT."""
        await self._projects.require_active(identifier.project, identifier.domain)
        if identifier.name:
            check_name(identifier.name)
        if not 0 <= spec.rate_per_s < math.inf:  # NaN is neither
            raise bad_field("spec.rate_per_s", "spec.rate_per_s: a number of at least 0 is expected")
        if not 0 <= spec.alive_max <= ALIVE_MAX:
            text = f"spec.alive_max: a number from 1 to {ALIVE_MAX}, or 0, is expected"
            raise bad_field("spec.alive_max", text)
        if spec.broken_rows not in batch_pb2.BrokenRows.values():
            raise bad_field("spec.broken_rows", f"spec.broken_rows: there is no value {spec.broken_rows}")
        return identifier.name or generated_name()

    async def _fixed(
        self, identifier: batch_pb2.BatchIdentifier, spec: batch_pb2.BatchSpec, caller: Caller
    ) -> batch_pb2.BatchSpec:
        """The specification with a fixed version of its target, which can be launched as far as that can be told."""
        defaults = Defaults(identifier.project, identifier.domain, spec.template)
        lookups = self._bulk.lookups(defaults, caller)
        try:
            lookups.inputs(item_pb2.LaunchItem())
            settings = lookups.settings(item_pb2.LaunchItem())
            await lookups.decision(settings)
            found = await self._versions.find(settings.target)
        except RefusedError as error:
            raise error.api_error("spec.template") from error
        fixed = batch_pb2.BatchSpec()
        fixed.CopyFrom(spec)
        fixed.template.target.CopyFrom(settings.target)
        fixed.template.target.version = found.version
        fixed.template.target.ClearField("selection")
        return fixed

    async def get(self, identifier: batch_pb2.BatchIdentifier) -> batch_pb2.Batch:
        """How a batch stands, in one snapshot. Raises ApiError NOT_FOUND."""
        return batch_message(await self._row(identifier), self._blobs.base)

    async def list_page(self, request: batch_pb2.ListBatchesRequest, size: int) -> batch_pb2.ListBatchesResponse:
        """One page, newest first. Raises ApiError INVALID_ARGUMENT."""
        if not request.project:
            raise missing("project")
        below = _number(request.page_token) if request.page_token else (1 << 62)
        states = list(request.states)
        if not set(states) <= set(batch_pb2.BatchState.values()):
            raise bad_field("states", "states: there is no such state")
        rows = await self._pool.fetch(_SQL["list"], request.project, request.domain, states, below, size + 1)
        found = [
            await self.get(batch_pb2.BatchIdentifier(project=row["project"], domain=row["domain"], name=row["name"]))
            for row in rows[:size]
        ]
        token = str(rows[size - 1]["id"]) if len(rows) > size else ""
        return batch_pb2.ListBatchesResponse(batches=found, next_page_token=token)

    async def pause(self, identifier: batch_pb2.BatchIdentifier, *, paused: bool) -> batch_pb2.Batch:
        """Pause or resume. Raises ApiError NOT_FOUND, FAILED_PRECONDITION."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await self._lock(connection, identifier)
            if row["state"] not in (batch_pb2.BATCH_STATE_CHECKING, batch_pb2.BATCH_STATE_RUNNING):
                raise failed_precondition(f"batch [{identifier.name}] is {_word(row['state'])}")
            await connection.execute(_SQL["set_paused"], row["id"], paused)
        return await self.get(identifier)

    async def abort(self, identifier: batch_pb2.BatchIdentifier, cause: str) -> batch_pb2.Batch:
        """Launch no more and abort what is alive. Raises ApiError NOT_FOUND, FAILED_PRECONDITION."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await self._lock(connection, identifier)
            if row["state"] in (batch_pb2.BATCH_STATE_COMPLETED, batch_pb2.BATCH_STATE_FAILED):
                raise failed_precondition(f"batch [{identifier.name}] is {_word(row['state'])}")
            if row["state"] in (batch_pb2.BATCH_STATE_CHECKING, batch_pb2.BATCH_STATE_RUNNING):
                await connection.execute(_SQL["abort"], row["id"], cause[:1000])
        return await self.get(identifier)

    async def retry(self, identifier: batch_pb2.BatchIdentifier, phases: Sequence[int]) -> tuple[batch_pb2.Batch, int]:
        """Have rows launched again; how many. Raises ApiError NOT_FOUND, FAILED_PRECONDITION, INVALID_ARGUMENT."""
        if not set(phases) <= set(RETRIABLE):
            raise bad_field("phases", "phases: rows that failed, timed out, were aborted or refused can be retried")
        async with self._pool.acquire() as connection, connection.transaction():
            row = await self._lock(connection, identifier)
            if row["state"] not in (batch_pb2.BATCH_STATE_RUNNING, batch_pb2.BATCH_STATE_COMPLETED):
                raise failed_precondition(f"batch [{identifier.name}] is {_word(row['state'])}")
            rows = int(await connection.fetchval(_SQL["retry"], row["id"], list(phases or RETRIED)))
        return await self.get(identifier), rows

    async def rows(self, request: batch_pb2.ListBatchRowsRequest, size: int) -> batch_pb2.ListBatchRowsResponse:
        """Rows by number. Raises ApiError NOT_FOUND, INVALID_ARGUMENT."""
        batch = await self._row(request.id)
        wanted = frozenset(request.phases)
        if not wanted <= set(row_pb2.RowPhase.values()):
            raise bad_field("phases", "phases: there is no such phase")
        after = _number(request.page_token) if request.page_token else -1
        found: list[row_pb2.BatchRow] = []
        while True:
            rows = await self._pool.fetch(_SQL["rows"], batch["id"], after, stored_phases(wanted), size)
            for row in rows:
                after = row["row"]
                message = row_message(row, request.id)
                if not wanted or message.phase in wanted:
                    found.append(message)
                    if len(found) == size:
                        return batch_pb2.ListBatchRowsResponse(rows=found, next_page_token=str(after))
            if len(rows) < size:
                return batch_pb2.ListBatchRowsResponse(rows=found)

    async def results(
        self, identifier: batch_pb2.BatchIdentifier, skip: int
    ) -> AsyncIterator[batch_pb2.GetBatchResultsResponse]:
        """Lines of the results that are written now. Raises ApiError NOT_FOUND, the blob store's errors."""
        batch = await self._row(identifier)
        number = 0
        while parts := await self._pool.fetch(_SQL["parts"], batch["id"], number, PARTS_AT_ONCE):
            for part in parts:
                number = part["number"] + 1
                if skip >= part["results"]:
                    skip -= part["results"]
                    continue
                lines = (await self._blobs.get(part["uri"])).decode().removesuffix("\n").split("\n")[skip:]
                skip = 0
                for answer in _answers(lines):
                    yield batch_pb2.GetBatchResultsResponse(lines=answer)

    async def _row(self, identifier: batch_pb2.BatchIdentifier) -> asyncpg.Record:
        row = await self._pool.fetchrow(_SQL["get"], identifier.project, identifier.domain, identifier.name)
        if row is None:
            raise _absent(identifier)
        return row

    async def _lock(
        self, connection: "PoolConnectionProxy[asyncpg.Record]", identifier: batch_pb2.BatchIdentifier
    ) -> asyncpg.Record:
        row = await connection.fetchrow(_SQL["lock"], identifier.project, identifier.domain, identifier.name)
        if row is None:
            raise _absent(identifier)
        return row


def _answers(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """Lines by message, which a client's usual limit of 4 MiB lets through."""
    begin = size = 0
    for number, line in enumerate(lines):
        if number > begin and (number - begin == LINES_IN_ANSWER or size + len(line) > BYTES_IN_ANSWER):
            yield lines[begin:number]
            begin, size = number, 0
        size += len(line)
    if begin < len(lines):
        yield lines[begin:]


def _absent(identifier: batch_pb2.BatchIdentifier) -> ApiError:
    return absent("batch", f"{identifier.project}:{identifier.domain}:{identifier.name}")


def _word(state: int) -> str:
    return batch_pb2.BatchState.Name(state).removeprefix("BATCH_STATE_").lower()


def _number(token: str) -> int:
    if not token.isascii() or not token.isdigit() or len(token) > 18:
        raise bad_field("page_token", f"invalid page token {token[:100]}")
    return int(token)
