"""Prunes executions and cache entries after their time, in the background of the server.

Each server process runs one; a lock of a session of its own lets one of them work, and falls with its connection
however that ends. A round looks at each project and domain that has something to go, oldest first, a small batch at a
time (see rows.py), and rests between batches as long as they took, so that the database serves others meanwhile. What
an earlier process left half done, erasures too, is finished first. Locked tables, a full disk or no database only
delay: the round is given up and the next one goes on. Tables with many dead rows are vacuumed after a round, which
makes their space usable again without growing them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
import structlog
from prometheus_client import Counter, Gauge

from wingbeat_controlplane.retention.eraser import Eraser
from wingbeat_controlplane.retention.locked_session import locked_session
from wingbeat_controlplane.retention.policies import PolicyStore
from wingbeat_controlplane.retention.policy import Due, due
from wingbeat_controlplane.retention.rows import SQL, Retired, finish, remove_rows, retire_aged, retired_of
from wingbeat_propeller.ports.blob_pages import BlobPages
from wingbeat_propeller.postgres.outages import outages_as_oserror

_log = structlog.get_logger(__name__)

_PRUNED = Counter("wingbeat_retention_pruned_executions", "Executions pruned after their time")
_ROWS = Counter("wingbeat_retention_deleted_rows", "Rows deleted with executions that were pruned")
_ENTRIES = Counter("wingbeat_retention_pruned_cache_entries", "Entries of the cache pruned after their time")
_FAILED = Counter("wingbeat_retention_rounds_given_up", "Rounds of pruning that an outage ended")
_ACTIVE = Gauge("wingbeat_retention_active", "Whether this process is the one that prunes")

LOCK: Final = 0x77696E70
"""Advisory lock of the one that prunes."""
_TABLES = (
    "executions",
    "execution_tags",
    "execution_search",
    "node_executions",
    "task_executions",
    "array_elements",
    "retired_executions",
    "cache_artifacts",
    "cache_tags",
    "cache_outputs",
)
_EPOCH = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PrunerOptions:
    """How pruning goes about it."""

    interval_s: float = 60.0
    """Between rounds."""
    batch: int = 200
    """Executions at once."""
    rest: float = 1.0
    """Rest after a batch, as a multiple of the time it took."""
    lock_timeout_s: float = 2.0
    """How long a statement waits for a lock."""
    statement_timeout_s: float = 60.0
    vacuum_rows_min: int = 20_000
    """Dead rows for which a table is vacuumed, if they are a twentieth of it as well."""


class Pruner:
    """Prunes; see the module."""

    def __init__(
        self,
        dsn: str,
        policies: PolicyStore,
        options: PrunerOptions | None = None,
        *,
        eraser: Eraser | None = None,
        blobs: BlobPages | None = None,
    ) -> None:
        self._dsn = dsn
        self._blobs = blobs
        self._policies = policies
        self._eraser = eraser
        self._options = options or PrunerOptions()

    async def run(self) -> None:
        """Prune at once and then every `interval_s`, until cancelled."""
        while True:
            if self._eraser is not None:
                await self._try("erasure", self._eraser.resume)
            await self._try("pruning", lambda: self.prune(datetime.now(UTC)))
            await asyncio.sleep(self._options.interval_s)

    async def _try(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        """A blob store that does not answer keeps erasures back, not the pruning of rows, and the other way round."""
        try:
            await work()
        except OSError as error:
            _FAILED.inc()
            _log.warning(f"{what} given up for now", error=str(error))

    async def prune(self, now: datetime) -> int | None:
        """One round; returns how many executions went, None when another process is at it. Raises OSError."""
        with outages_as_oserror():
            async with locked_session(
                self._dsn, LOCK, application_name="wingbeat retention", settings=self._session_settings()
            ) as connection:
                if connection is None:
                    return None
                with _ACTIVE.track_inprogress():
                    count = await self._finish_earlier(connection)
                    for scope in await self._due(connection, now):
                        count += await self._prune(connection, scope)
                        if scope.cache_before is not None:
                            where = (scope.project, scope.domain, scope.cache_before)
                            await self._prune_cache(connection, "delete_cached_aged", *where)
                    if days := self._policies.default.cache_days:
                        await self._prune_cache(connection, "delete_outputs_aged", now - timedelta(days=days))
                    if count:
                        _log.info("executions pruned", count=count)
                        await self._vacuum(connection)
                    return count

    def _session_settings(self) -> Mapping[str, str]:
        options = self._options
        return {
            "lock_timeout": f"{int(options.lock_timeout_s * 1000)}",
            "statement_timeout": f"{int(options.statement_timeout_s * 1000)}",
            # A crash that loses the last deletions brings their rows back, to be deleted once more. So nobody else
            # waits for the disk behind the pruner.
            "synchronous_commit": "off",
            "vacuum_cost_delay": "2",
        }

    async def _due(self, connection: asyncpg.Connection, now: datetime) -> Sequence[Due]:
        overrides = await self._policies.all()
        default = self._policies.default
        if not overrides and not default.executions_days and not default.cache_days:
            return ()
        rows = [*await connection.fetch(SQL["scopes"]), *await connection.fetch(SQL["cache_scopes"])]
        scopes = dict.fromkeys((row["project"], row["domain"]) for row in rows)
        return due(list(scopes), overrides, default, now)

    async def _finish_earlier(self, connection: asyncpg.Connection) -> int:
        """Go on with what was left half done."""
        count = 0
        while rows := await connection.fetch(SQL["retired"], False, self._options.batch):
            await self._remove(connection, [retired_of(row) for row in rows])
            count += len(rows)
        return count

    async def _prune(self, connection: asyncpg.Connection, scope: Due) -> int:
        before = scope.executions_before
        since, count = _EPOCH, 0
        while before is not None:
            began = asyncio.get_running_loop().time()
            retired = await retire_aged(
                connection, scope.project, scope.domain, before, since=since, limit=self._options.batch
            )
            if not retired:
                break
            await self._remove(connection, retired)
            # What is older has gone or is kept, and its place in the index need not be looked through again.
            since = max(execution.created_at for execution in retired)
            count += len(retired)
            await self._rest(began)
        return count

    async def _prune_cache(self, connection: asyncpg.Connection, name: str, *where: object) -> None:
        """Entries go first, then what they kept in the blob store; what is left there is garbage, to be collected."""
        while True:
            began = asyncio.get_running_loop().time()
            async with connection.transaction():
                # Their blobs go next: an entry must not come back without its blob.
                await connection.execute("SET LOCAL synchronous_commit = on")
                rows = await connection.fetch(SQL[name], *where, self._options.batch)
            uris = [row["uri"] for row in rows if row["uri"] is not None]
            if uris and self._blobs is not None:
                await self._blobs.delete_all(uris)
            _ENTRIES.inc(len(rows))
            if len(rows) < self._options.batch:
                return
            await self._rest(began)

    async def _remove(self, connection: asyncpg.Connection, retired: Sequence[Retired]) -> None:
        _ROWS.inc(await remove_rows(connection, retired))
        await finish(connection, retired)
        _PRUNED.inc(len(retired))

    async def _vacuum(self, connection: asyncpg.Connection) -> None:
        found = await connection.fetch(SQL["vacuum_worth"], list(_TABLES), self._options.vacuum_rows_min)
        await connection.execute("SET statement_timeout = 0")
        for row in found:
            # TRUNCATE would lock readers out.
            await connection.execute(f'VACUUM (SKIP_LOCKED, TRUNCATE false, PARALLEL 0) "{row["name"]}"')

    async def _rest(self, began: float) -> None:
        """Leave the database to others for a while."""
        await asyncio.sleep((asyncio.get_running_loop().time() - began) * self._options.rest)
