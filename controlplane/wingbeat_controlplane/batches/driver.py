"""Drives one batch: reads its manifest, launches what rate and number alive allow, writes results.

A driver holds a lease with a term. Whatever it writes, it writes in transactions that begin by locking the batch's row
and checking the term; so another driver, a pause and an abort come before or after, never between. A portion of rows is
launched in one transaction with the batch's progress: a row is launched once, or, after a kill, not yet. Results go to
the blob store first, under a name with the term in it, and count from the transaction that lists them.
"""

import asyncio
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import asyncpg
import orjson
import structlog
from asyncpg.pool import PoolConnectionProxy

from wingbeat_controlplane.batches.local_copy import LocalCopy, copy_locally
from wingbeat_controlplane.batches.manifest_rows import ManifestError, ManifestRow, Place, RowReader, open_rows
from wingbeat_controlplane.batches.options import BatchOptions
from wingbeat_controlplane.batches.results import Ended, result_line, row_phase
from wingbeat_controlplane.batches.row_items import RowItem, row_item
from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.insertion import insert_executions
from wingbeat_controlplane.executions.launch import Caller, Launcher
from wingbeat_controlplane.executions.names import name_of
from wingbeat_controlplane.executions.new_execution import BatchPlace
from wingbeat_controlplane.launching.back_pressure import BackPressure
from wingbeat_controlplane.launching.bulk import BulkLauncher, Prepared
from wingbeat_controlplane.launching.item_settings import Defaults
from wingbeat_controlplane.launching.lookups import Lookups
from wingbeat_controlplane.launching.refusals import RefusedError
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.batch.v1 import batch_pb2, row_pb2
from wingbeatidl.launch.v1 import item_pb2, outcome_pb2

_SQL = load_queries("wingbeat_controlplane.batches", "driver.sql")
_log = structlog.get_logger(__name__)

PORTION = 500
"""Rows launched in one transaction."""
PORTION_BYTES_MAX = 8 << 20
"""And their bytes in the manifest, about: so much is in memory, a few times over."""
COLLECTED_MAX = 2_000
"""Results in one part."""
CHECKED_AT_ONCE = 20_000
"""Rows of a first reading between renewals of the lease."""
CHECKED_BYTES_AT_ONCE = 256 << 20
"""And their bytes."""
RENEWALS = 3
"""In the time of one lease, while a manifest is copied."""
ABORTED_AT_ONCE = 1_000
ALIVE_MAX_DEFAULT = 1_000
ERROR_LENGTH_MAX = 2_000


class LostBatchError(Exception):
    """Another server drives the batch now, or it has ended."""


@dataclass(frozen=True, slots=True)
class Driving:
    """What drivers share."""

    pool: asyncpg.Pool
    blobs: Blobs
    bulk: BulkLauncher
    launcher: Launcher
    pressure: BackPressure
    options: BatchOptions


@dataclass(frozen=True, slots=True)
class _Planned:
    """A row that is about to be launched."""

    number: int
    attempt: int
    row: ManifestRow
    item: RowItem


class Driver:
    """Drives the batch of a claimed row. Belongs to one task."""

    def __init__(self, driving: Driving, claimed: asyncpg.Record) -> None:
        self._driving = driving
        self._id: int = claimed["id"]
        self._term: int = claimed["term"]
        self._batch = claimed
        self._spec = batch_pb2.BatchSpec.FromString(claimed["spec"])
        self._copy: LocalCopy | None = None
        self._reader: RowReader | None = None
        self._coming: tuple[Place, Iterator[ManifestRow]] | None = None
        """Rows behind the last one that was launched, and where they begin."""
        self._tokens = 0.0
        self._filled_at = asyncio.get_running_loop().time()
        self._collected_at = float("-inf")
        self._held_at = asyncio.get_running_loop().time()
        self._lookups = self._look_up()
        self.has_moved = False
        """Whether anything was launched or written."""

    async def run(self) -> None:
        """Until the batch has ended or is another driver's. Raises LostBatchError, asyncpg's errors, OSError."""
        try:
            while True:
                if not await self._turn():
                    return
        except (ManifestError, BlobNotFoundError, BlobAccessError, BlobTooLargeError) as error:
            await self._fail(f"the manifest cannot be read: {error}")
        except RefusedError as error:
            await self._fail(f"nothing can be launched: {error.message}")
        finally:
            if self._copy is not None:
                self._copy.file.close()

    def _look_up(self) -> Lookups:
        defaults = Defaults(self._batch["project"], self._batch["domain"], self._spec.template)
        return self._driving.bulk.lookups(defaults, Caller(self._batch["principal"], "batch"))

    async def _turn(self) -> bool:
        """One look at the batch; whether there is more to come."""
        state = self._batch["state"]
        if state == batch_pb2.BATCH_STATE_CHECKING:
            await self._check()
            return self._batch["ended_at"] is None
        launched = 0
        if state == batch_pb2.BATCH_STATE_RUNNING and not self._batch["paused"]:
            launched = await self._launch()
        elif state == batch_pb2.BATCH_STATE_ABORTING:
            await self._abort_live()
        collected = await self._collect()
        self.has_moved = self.has_moved or launched + collected > 0
        if await self._end_if_over():
            return False
        if launched < PORTION and collected < COLLECTED_MAX:
            await asyncio.sleep(self._driving.options.tick_s)
        return True

    async def _hold(self, connection: "PoolConnectionProxy[asyncpg.Record]") -> asyncpg.Record:
        """Lock the batch for the rest of the transaction. Raises LostBatchError."""
        row = await connection.fetchrow(_SQL["hold"], self._id, self._term, self._driving.options.lease_s)
        if row is None:
            raise LostBatchError
        self._batch = row
        self._held_at = asyncio.get_running_loop().time()
        return row

    async def _keep(self) -> None:
        """Renew the lease if it is time. Raises LostBatchError."""
        if asyncio.get_running_loop().time() - self._held_at > self._driving.options.lease_s / RENEWALS:
            await self._look_again()

    async def _open(self) -> RowReader:
        if self._reader is None:
            size_max = self._driving.options.manifest_bytes_max
            self._copy = await copy_locally(self._driving.blobs, self._batch["uri"], self._keep, size_max=size_max)
            known = self._batch["sha256"]
            if known is not None and known != self._copy.sha256:
                raise ManifestError("it has changed since the batch began")
            self._reader = await asyncio.to_thread(open_rows, self._copy.file, self._batch["format"])
            await asyncio.to_thread(self._reader.start)
        return self._reader

    async def _check(self) -> None:
        """Read the manifest once, so that its length is known and no row is launched of one that is broken."""
        reader = await self._open()
        assert self._copy is not None, "an open manifest has a copy"
        start = await asyncio.to_thread(reader.start)
        rows = reader.rows(start)
        fails = self._spec.broken_rows != batch_pb2.BROKEN_ROWS_REFUSE_ROW
        total = 0
        while True:
            read, is_over, error = await asyncio.to_thread(_count, rows, fails)
            total += read
            if error is not None:
                await self._fail(error)
            if is_over:
                break
            if (
                await self._driving.pool.fetchval(
                    _SQL["read_so_far"], self._id, self._term, total, self._driving.options.lease_s
                )
                is None
            ):
                return await self._look_again()
        async with self._driving.pool.acquire() as connection, connection.transaction():
            batch = await self._hold(connection)
            if batch["state"] == batch_pb2.BATCH_STATE_CHECKING:
                await connection.execute(
                    _SQL["checked"], self._id, total, self._copy.size, self._copy.sha256, start.offset, start.line
                )
        return await self._look_again()

    async def _look_again(self) -> None:
        async with self._driving.pool.acquire() as connection, connection.transaction():
            await self._hold(connection)

    async def _launch(self) -> int:
        """Launch a portion; how many rows were."""
        room = await self._room()
        if room <= 0:
            return 0
        self._lookups = self._look_up()
        planned = await self._plan(room)
        if not planned or not await self._driving.pressure.has_room(len(planned)):
            return 0
        prepared, refusals = await self._prepare(planned)
        async with self._driving.pool.acquire() as connection, connection.transaction():
            batch = await self._hold(connection)
            if batch["state"] != batch_pb2.BATCH_STATE_RUNNING or batch["paused"]:
                self._coming = None
                return 0
            created = await self._insert(connection, prepared, refusals)
            columns = [
                (
                    one.number,
                    one.attempt,
                    row_pb2.ROW_PHASE_REFUSED if one.number in refusals else row_pb2.ROW_PHASE_QUEUED,
                    one.item.key,
                    one.row.place.offset,
                    one.row.place.line,
                    *created.get(one.number, (None, None)),
                    _storable(refusals.get(one.number)),
                )
                for one in planned
            ]
            await connection.execute(_SQL["put_rows"], self._id, *zip(*columns, strict=True))
            again = sum(one.number < batch["next_row"] for one in planned)
            place = planned[-1].row.following
            advanced = (batch["next_row"], batch["next_offset"], batch["next_line"])
            if not again:
                advanced = (planned[-1].number + 1, place.offset, place.line)
            await connection.execute(_SQL["advance"], self._id, *advanced, again)
            self._batch = await self._hold(connection)
        self._driving.launcher.announcer.announce(
            (one.new.shard, created[one.number][0]) for one in prepared if one.number in created
        )
        self._tokens -= len(planned)
        return len(planned)

    async def _room(self) -> int:
        """How many rows may be launched now."""
        batch = self._batch
        if batch["retrying"] == 0 and batch["next_row"] >= batch["total"]:
            return 0
        alive = await self._driving.pool.fetchval(_SQL["live"], self._id)
        room = min(PORTION, (self._spec.alive_max or ALIVE_MAX_DEFAULT) - alive)
        rate = self._spec.rate_per_s
        if rate > 0:
            now = asyncio.get_running_loop().time()
            self._tokens = min(max(rate, 1.0), self._tokens + (now - self._filled_at) * rate)
            self._filled_at = now
            room = min(room, int(self._tokens))
        return room

    async def _plan(self, room: int) -> Sequence[_Planned]:
        """The next rows: those to be retried, and when there are none those that were never launched."""
        reader = await self._open()
        expected = await self._expected()
        batch = self._batch
        found: list[tuple[int, int, ManifestRow]] = []
        if batch["retrying"]:
            rows = await self._driving.pool.fetch(_SQL["to_retry"], self._id, room)
            places = [Place(row["file_offset"], row["line"]) for row in rows]
            read = await asyncio.to_thread(_read_at, reader, places)
            found = [(row["row"], row["attempt"], one) for row, one in zip(rows, read, strict=False)]
        else:
            place = Place(batch["next_offset"], batch["next_line"])
            if self._coming is None or self._coming[0] != place:
                self._coming = place, reader.rows(place)
            rows_read = await asyncio.to_thread(_take, self._coming[1], room)
            found = [(batch["next_row"] + number, 0, row) for number, row in enumerate(rows_read)]
            if rows_read:
                self._coming = rows_read[-1].following, self._coming[1]
        return [
            _Planned(number, attempt, row, row_item(row, number, batch["key_column"], expected, is_text=reader.is_text))
            for number, attempt, row in found
        ]

    async def _expected(self):
        settings = self._lookups.settings(item_pb2.LaunchItem())
        return (await self._lookups.decision(settings)).target.expected

    async def _prepare(self, planned: Sequence[_Planned]) -> tuple[Sequence[Prepared], dict[int, str]]:
        refusals = {one.number: one.item.refusal for one in planned if one.item.item is None}
        able = [one for one in planned if one.item.item is not None]
        items = [_named_once(one) for one in able]
        outcomes = [outcome_pb2.LaunchOutcome() for _ in items]

        def name(place: int) -> str:
            one = able[place]
            text = f"{self._batch['project']}/{self._batch['domain']}/{self._batch['name']}"
            return name_of(hashlib.sha256(f"batch {self._id} {text} {one.number} {one.attempt}".encode()).digest())

        prepared, _ = await self._driving.bulk.prepare(items, 0, len(items), self._lookups, outcomes, name)
        ready = {one.number for one in prepared}
        for place, one in enumerate(able):
            if place not in ready:
                refusals[one.number] = f"line {one.row.place.line}: {outcomes[place].message}"
        placed = [
            replace_batch(one, BatchPlace(self._id, able[one.number].number, able[one.number].attempt))
            for one in prepared
        ]
        return placed, refusals

    async def _insert(
        self,
        connection: "PoolConnectionProxy[asyncpg.Record]",
        prepared: Sequence[Prepared],
        refusals: dict[int, str],
    ) -> dict[int, tuple[int, str]]:
        """Insert executions; row ids and names by number of the row. What has a taken name is refused."""
        created: dict[int, tuple[int, str]] = {}
        names: set[str] = set()
        first: list[Prepared] = []
        for one in prepared:
            if one.new.id.name in names:
                refusals[one.number] = _taken(one)
            else:
                names.add(one.new.id.name)
                first.append(one)
        together = [one for one in first if not one.new.needs_transaction]
        keys = await insert_executions(connection, [one.new for one in together], self._driving.blobs.base)
        for one in together:
            key = keys.get(one.new.id)
            if key is not None:
                created[one.number] = key, one.new.id.name
        for one in first:
            if one.new.needs_transaction:
                try:
                    async with connection.transaction():
                        key = await self._driving.launcher.insert(connection, one.new)
                except ApiError as error:
                    refusals[one.number] = error.message
                    continue
                if key is not None:
                    created[one.number] = key, one.new.id.name
        for one in first:
            if one.number not in created and one.number not in refusals:
                refusals[one.number] = _taken(one)
        return created

    async def _abort_live(self) -> None:
        async with self._driving.pool.acquire() as connection, connection.transaction():
            batch = await self._hold(connection)
            cause = batch["message"] or f"batch [{batch['name']}] was aborted"
            await connection.fetchrow(_SQL["abort_live"], self._id, cause, batch["principal"], ABORTED_AT_ONCE)

    async def _collect(self) -> int:
        """Write results of rows that have ended, when there are enough of them or they have waited; how many."""
        pool, batch = self._driving.pool, self._batch
        now = asyncio.get_running_loop().time()
        if now - self._collected_at < self._driving.options.flush_s:  # outputs are not read before they are written
            count = await pool.fetchval(_SQL["count_ended"], self._id, COLLECTED_MAX)
            if count < COLLECTED_MAX:
                return 0
        rows = await pool.fetch(_SQL["ended"], self._id, COLLECTED_MAX)
        if not rows:
            return 0
        self._collected_at = now
        ended = [Ended.of(row, ERROR_LENGTH_MAX) for row in rows]
        data = await asyncio.to_thread(_result_lines, ended, batch["project"], batch["domain"])
        number = batch["parts"]
        uri = f"{results_uri(self._driving.blobs.base, batch)}/part-{number:06d}-{self._term}.jsonl"
        await self._driving.blobs.put(uri, data)
        counts = [sum(row_phase(one) == phase for one in ended) for phase in (4, 5, 6, 7, 8)]
        async with self._driving.pool.acquire() as connection, connection.transaction():
            if (await self._hold(connection))["parts"] != number:
                raise LostBatchError
            await connection.execute(
                _SQL["write_rows"],
                self._id,
                [one.row for one in ended],
                [row_phase(one) for one in ended],
                [one.error for one in ended],
                [one.ended_at for one in ended],
            )
            await connection.execute(_SQL["write_part"], self._id, number, uri, len(ended), *counts)
            self._batch = await self._hold(connection)
        return len(ended)

    async def _end_if_over(self) -> bool:
        await self._look_again()
        batch = self._batch
        done = batch["succeeded"] + batch["failed"] + batch["timed_out"] + batch["aborted"] + batch["refused"]
        begun = batch["next_row"] - batch["retrying"]
        if done < begun:
            return False
        is_aborting = batch["state"] == batch_pb2.BATCH_STATE_ABORTING
        if batch["state"] == batch_pb2.BATCH_STATE_CHECKING or (not is_aborting and done < batch["total"]):
            return False
        parts = await self._driving.pool.fetch(_SQL["all_parts"], self._id)
        index = {
            "batch": {"project": batch["project"], "domain": batch["domain"], "name": batch["name"]},
            "state": "ABORTED" if is_aborting else "COMPLETED",
            "counts": {
                name: batch[name] for name in ("total", "succeeded", "failed", "timed_out", "aborted", "refused")
            },
            "parts": [{"uri": part["uri"], "results": part["results"]} for part in parts],
        }
        await self._driving.blobs.put(f"{results_uri(self._driving.blobs.base, batch)}/index.json", orjson.dumps(index))
        async with self._driving.pool.acquire() as connection, connection.transaction():
            now = await self._hold(connection)
            if now["state"] != batch["state"] or now["retrying"] != batch["retrying"]:
                return False
            ended = batch_pb2.BATCH_STATE_ABORTED if is_aborting else batch_pb2.BATCH_STATE_COMPLETED
            await connection.execute(_SQL["end"], self._id, ended)
        return True

    async def _fail(self, message: str) -> NoReturn:
        await fail_batch(self._driving.pool, self._batch, message)
        raise LostBatchError


async def fail_batch(pool: asyncpg.Pool, claimed: asyncpg.Record, message: str) -> None:
    """End the batch of a claimed row, unless it is another driver's. What runs goes on."""
    await pool.execute(_SQL["fail"], claimed["id"], claimed["term"], message[:ERROR_LENGTH_MAX].replace("\0", ""))


def _result_lines(ended: Sequence[Ended], project: str, domain: str) -> bytes:
    return b"".join(result_line(one, project, domain) + b"\n" for one in ended)


def _storable(error: str | None) -> str | None:
    """Text that tells what a row says, as a column takes it."""
    return None if error is None else error[:ERROR_LENGTH_MAX].replace("\0", "")


def _taken(one: Prepared) -> str:
    return f"execution [{one.new.id}] already exists"


def _named_once(one: _Planned) -> item_pb2.LaunchItem:
    """The item of a row; a name of its own is that of the first attempt."""
    assert one.item.item is not None, "rows without an item are refused"
    if one.attempt:
        one.item.item.ClearField("name")
    return one.item.item


def replace_batch(one: Prepared, place: BatchPlace) -> Prepared:
    """The same, as a row of a batch; its number becomes that of the row."""
    return Prepared(place.row, one.key, one.new._replace(batch=place))


def results_uri(base: str, batch: asyncpg.Record) -> str:
    """Folder of a batch's results."""
    return f"{base}/metadata/batches/{batch['project']}/{batch['domain']}/{batch['name']}/results"


def _take(rows: Iterator[ManifestRow], count: int) -> list[ManifestRow]:
    """The next rows: at most `count`, and no more of them than a portion has bytes."""
    taken: list[ManifestRow] = []
    size = 0
    for row in itertools.islice(rows, count):
        taken.append(row)
        size += row.size
        if size >= PORTION_BYTES_MAX:
            break
    return taken


def _count(rows: Iterator[ManifestRow], fails: bool) -> tuple[int, bool, str | None]:
    """Read some rows; how many, whether there are no more, and what is wrong with the first broken one if that is to
    fail."""
    count = size = 0
    for row in rows:
        if fails and row.error is not None:
            return count, False, row.error
        count += 1
        size += row.size
        if count == CHECKED_AT_ONCE or size >= CHECKED_BYTES_AT_ONCE:
            return count, False, None
    return count, True, None


def _read_at(reader: RowReader, places: Sequence[Place]) -> list[ManifestRow]:
    """The rows at some places, in their order, as far as a portion goes; neighbours are read in one go."""
    return _take(_rows_at(reader, places), len(places))


def _rows_at(reader: RowReader, places: Sequence[Place]) -> Iterator[ManifestRow]:
    rows: Iterator[ManifestRow] = iter(())
    at: Place | None = None
    for place in places:
        if at != place:
            rows = reader.rows(place)
        row = next(rows)
        yield row
        at = row.following
