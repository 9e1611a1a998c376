"""Erases executions with everything of theirs: rows, blobs, logs, cache entries and artifacts that they made.

Those that they launched go with them, as their data came from there. The order is that of rows.py: the row goes first,
with a note; then what batches keep (batch_remains.py), and blobs and logs, which the remaining rows tell; then those
rows; last the note. Whoever dies in between leaves the note, and `resume`, which the server's pruner calls, goes on.
Every step may be done twice.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import structlog
from flyteidl.admin import execution_pb2

from wingbeat_controlplane.errors import ApiError, failed_precondition, not_found
from wingbeat_controlplane.executions.terminate import Terminator
from wingbeat_controlplane.retention.batch_remains import BatchRemains, WholeBatch
from wingbeat_controlplane.retention.leavings import Leavings, Tally
from wingbeat_controlplane.retention.places import Places
from wingbeat_controlplane.retention.rows import SQL as ROWS_SQL
from wingbeat_controlplane.retention.rows import Retired, finish, remove_rows, retired_of
from wingbeat_propeller.postgres.outages import outages_as_oserror
from wingbeat_propeller.postgres.queries import load_queries

_log = structlog.get_logger(__name__)
_SQL = load_queries("wingbeat_controlplane.retention", "erasure.sql")

_PAGE = 100
_CHUNK = 5_000
"""Executions that are taken out together, so that their batches are gone through once."""
_SHOWN = 5
"""Executions named in a refusal."""


@dataclass(frozen=True, slots=True)
class ByName:
    """One execution."""

    project: str
    domain: str
    name: str


@dataclass(frozen=True, slots=True)
class ByLabel:
    """All with a label; an empty project or domain means all."""

    key: str
    value: str
    project: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class ByProject:
    """All of a project, or of one domain of it."""

    project: str
    domain: str = ""


Target = ByName | ByLabel | ByProject


@dataclass(frozen=True, slots=True)
class Erasure:
    """What went, or would go, with one execution."""

    execution: ByName
    rows: Mapping[str, int]
    tally: Tally
    is_running: bool = False


class Eraser:
    """Erases; see the module. Executions that are terminated for it have `end_timeout_s` to end."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        leavings: Leavings,
        batches: BatchRemains,
        terminator: Terminator,
        *,
        base: str,
        end_timeout_s: float = 120.0,
        poll_s: float = 0.5,
    ) -> None:
        self._pool = pool
        self._leavings = leavings
        self._batches = batches
        self._terminator = terminator
        self._base = base
        self._end_timeout_s = end_timeout_s
        self._poll_s = poll_s

    async def erase(
        self, target: Target, *, is_dry_run: bool = False, terminates: bool = False, principal: str = ""
    ) -> AsyncGenerator[Erasure | WholeBatch]:
        """Erase, or only tell what would go; one answer for each execution, after it is gone, and one for each batch
        that goes whole.

        Raises ApiError NOT_FOUND, and FAILED_PRECONDITION when some run, or do not end: then nothing was erased. Raises
        OSError when a store fails; what was begun is finished later.
        """
        keys = await self._keys(target)
        if is_dry_run:
            async for row, rows in self._found(keys):
                yield _erasure(row, rows, await self._leavings.visit(self._places(row), removes=False))
            async for batch in self._batches.going(keys):
                yield batch
        else:
            keys = await self._ended(target, keys, terminates=terminates, principal=principal)
            for start in range(0, len(keys), _CHUNK):
                async for gone in self._erase(keys[start : start + _CHUNK]):
                    yield gone
        if isinstance(target, ByProject):
            with outages_as_oserror():
                async for batch in self._batches.left_behind(target.project, target.domain, removes=not is_dry_run):
                    yield batch

    async def _erase(self, keys: Sequence[int]) -> AsyncGenerator[Erasure | WholeBatch]:
        going: list[tuple[asyncpg.Record, Mapping[str, int]]] = []
        async for row, rows in self._found(keys):
            await self._pool.execute(_SQL["retire"], row["execution_id"])
            going.append((row, rows))
        batches = await self._batches.remove()
        for row, rows in going:
            yield _erasure(row, rows, await self._finish(retired_of(row), self._places(row)))
        for batch in batches:
            yield batch

    async def _found(self, keys: Sequence[int]) -> AsyncGenerator[tuple[asyncpg.Record, Mapping[str, int]]]:
        """Executions and how many rows each has."""
        for start in range(0, len(keys), _PAGE):
            for row in await self._pool.fetch(_SQL["executions"], keys[start : start + _PAGE], self._base):
                yield row, await self._counts(retired_of(row))

    async def resume(self) -> int:
        """Finish what was begun; returns how many executions. Raises OSError."""
        count = 0
        with outages_as_oserror():
            await self._batches.remove()
            while rows := await self._pool.fetch(ROWS_SQL["retired"], True, _PAGE):
                for row in rows:
                    await self._finish(retired_of(row), self._places(row))
                    count += 1
        if count:
            _log.info("erasures finished that had been begun", count=count)
        return count

    async def _finish(self, retired: Retired, places: Places) -> Tally:
        tally = await self._leavings.visit(places, removes=True)
        name = (retired.project, retired.domain, retired.name)
        async with self._pool.acquire() as connection:
            await connection.execute(_SQL["delete_cached"], *name)
            await connection.execute(_SQL["delete_artifacts"], *name)
            await connection.execute(_SQL["delete_lineage"], retired.key)
            await remove_rows(connection, [retired])
            await finish(connection, [retired])
        return tally

    async def _keys(self, target: Target) -> list[int]:
        """Executions that are meant, and those that they launched, at any depth."""
        keys: dict[int, None] = {}
        new = await self._named(target)
        while new:
            keys |= dict.fromkeys(new)
            found: list[int] = []
            for start in range(0, len(new), _PAGE):
                rows = await self._pool.fetch(_SQL["launched"], new[start : start + _PAGE])
                found += [row["id"] for row in rows if row["id"] not in keys]
            new = found
        return list(keys)

    async def _named(self, target: Target) -> list[int]:
        if isinstance(target, ByName):
            key = await self._pool.fetchval(_SQL["find_execution"], target.project, target.domain, target.name)
            if key is None:
                raise not_found("execution", f"{target.project}/{target.domain}/{target.name}")
            return [key]
        if target.project and not await self._pool.fetchval(_SQL["is_project"], target.project):
            raise not_found("project", target.project)
        keys: list[int] = []
        after = 0
        while True:
            if isinstance(target, ByLabel):
                words = (target.key, target.value, target.project, target.domain)
                rows = await self._pool.fetch(_SQL["labelled"], *words, after, 10 * _PAGE)
            else:
                rows = await self._pool.fetch(_SQL["of_project"], target.project, target.domain, after, 10 * _PAGE)
            if not rows:
                return keys
            keys += [row["id"] for row in rows]
            after = keys[-1]

    async def _ended(self, target: Target, keys: Sequence[int], *, terminates: bool, principal: str) -> Sequence[int]:
        """All that are meant when none of them runs any more: while some ended they may have launched others."""
        deadline = asyncio.get_running_loop().time() + self._end_timeout_s
        while live := await self._live(keys):
            _require_endable(live, terminates=terminates)
            await self._terminate(live, principal)
            await self._wait_ended(live, deadline)
            keys = await self._keys(target)
        return keys

    async def _terminate(self, live: Sequence[asyncpg.Record], principal: str) -> None:
        for row in live:
            request = execution_pb2.ExecutionTerminateRequest(cause="erased")
            request.id.project, request.id.domain, request.id.name = row["project"], row["domain"], row["name"]
            try:
                await self._terminator.terminate(request, principal=principal)
            except ApiError as error:
                _log.info("ended before it was terminated", execution=row["name"], reason=error.message)

    async def _wait_ended(self, live: Sequence[asyncpg.Record], deadline: float) -> None:
        while live:
            if asyncio.get_running_loop().time() > deadline:
                raise failed_precondition(
                    f"{len(live)} executions were terminated and have not ended yet, for instance {live[0]['name']};"
                    " nothing was erased: try again"
                )
            await asyncio.sleep(self._poll_s)
            live = await self._live([row["id"] for row in live])

    async def _live(self, keys: Sequence[int]) -> list[asyncpg.Record]:
        found: list[asyncpg.Record] = []
        for start in range(0, len(keys), 10 * _PAGE):
            found += await self._pool.fetch(_SQL["live"], keys[start : start + 10 * _PAGE])
        return found

    async def _counts(self, retired: Retired) -> Mapping[str, int]:
        row = await self._pool.fetchrow(_SQL["counts"], retired.key, retired.project, retired.domain, retired.name)
        assert row is not None, "counting answers one row"
        return {table: count for table, count in row.items() if count}

    def _places(self, row: asyncpg.Record) -> Places:
        return Places.of(self._base, row["execution_id"], row["project"], row["domain"], row["name"], row["config"])


def _require_endable(live: Sequence[asyncpg.Record], *, terminates: bool) -> None:
    if batched := [row for row in live if not row["is_running"]]:
        raise failed_precondition(
            f"of a batch that is under way: {batched[0]['name']}; cancel the batch or wait for its end first"
        )
    if not terminates:
        shown = ", ".join(row["name"] for row in live[:_SHOWN])
        more = f" and {len(live) - _SHOWN} more" if len(live) > _SHOWN else ""
        raise failed_precondition(f"still running: {shown}{more}; terminate them first, or with the flag for it")


def _erasure(row: asyncpg.Record, rows: Mapping[str, int], tally: Tally) -> Erasure:
    if row["manifest"] is not None:
        tally.left_alone.append(row["manifest"])
    return Erasure(ByName(row["project"], row["domain"], row["name"]), rows, tally, row["is_live"])
