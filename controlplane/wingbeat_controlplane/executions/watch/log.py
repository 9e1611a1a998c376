"""The log of transitions as watchers read it: page by page, each what became visible since a cursor.

The order is that of transactions. A transaction gets its number with its first write, so whatever was caused by what
another one committed has a higher number, and so has a later batch of the same execution: of one execution, and from
cause to effect, the order is that of the commits. What committed late under a low number comes with the page that
sees it first.

A page may end within a transaction; the next one begins with the rest of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, NoReturn, cast

import asyncpg
import grpc
from google.rpc import error_details_pb2

from wingbeat_controlplane.errors import ApiError, bad_field
from wingbeat_controlplane.executions.log_snapshots import Snapshot, snapshot_of
from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.executions.watch.cursors import Cursor, CursorError, decode_cursor
from wingbeat_controlplane.executions.watch.fetching import fetch
from wingbeat_propeller.postgres.queries import load_queries

LOG_SETTINGS = {
    "jit": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""Of connections that read the log. Of a partition that is new and not analyzed yet the planner knows too little."""

ALL_PARTS = 8
"""More than the transitions that one entry can mean."""

_FIRST_TXID = 3
"""No transaction has a lower number."""
_SQL = load_queries(__package__ or "", "watch.sql")


class Entry(NamedTuple):
    """A row of the log; `node_id` None: about the execution itself."""

    seq: int
    txid: int
    execution_id: int
    node_id: str | None
    attempt: int
    phase: int
    at: datetime


@dataclass(frozen=True, slots=True)
class LogHead:
    """How the log stood at one moment."""

    snapshot: Snapshot
    read_at: datetime
    dropped_txid: int
    """The highest transaction of anything that was dropped; 0: nothing was."""
    log: int

    @property
    def now(self) -> Cursor:
        """After everything that is visible."""
        return Cursor(self.log, self.snapshot)

    @property
    def oldest(self) -> Cursor:
        """Before everything that the log is sure to hold."""
        return Cursor(self.log, Snapshot(self.dropped_txid + 1 if self.dropped_txid else _FIRST_TXID))


@dataclass(frozen=True, slots=True)
class Page:
    """Entries after `start`, and how far they reach."""

    start: Cursor
    entries: Sequence[Entry]
    head: LogHead
    end: Cursor
    is_last: bool
    """Nothing else was visible."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What to leave out in the database: nodes, and executions but those of these names, in a project and domain."""

    nodes: bool = True
    project: str = ""
    domain: str = ""
    executions: frozenset[str] = frozenset()


class TransitionLog:
    """Reads the log. `pool` has connections with LOG_SETTINGS."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def head(self) -> LogHead:
        """How it stands now."""
        return _head((await fetch(self._pool, _SQL["head"]))[0])

    async def start(self, text: str) -> Cursor:
        """The cursor in a caller's text. Raises ApiError INVALID_ARGUMENT, OUT_OF_RANGE."""
        try:
            cursor = decode_cursor(text)
        except CursorError as error:
            raise _not_a_cursor(str(error)) from error
        head = await self.head()
        if cursor.log != head.log or head.snapshot.is_before(cursor.whole):
            raise _not_a_cursor("the cursor is of another installation, or of a database that was restored since")
        _check_reach(cursor, head)
        return cursor

    async def page(self, start: Cursor, scope: Scope, limit: int) -> Page:
        """The entries after `start`, at most `limit`; the first is the one that `start` is within, if it is within one.

        Raises ApiError OUT_OF_RANGE when some may have been dropped.
        """
        executions_only = not scope.nodes
        if start.txid:
            # The entry itself comes again only if some of what it means was not told.
            first = start.seq + 1 if start.parts >= ALL_PARTS else start.seq
            arguments: tuple[object, ...] = (start.txid, first, limit, executions_only)
            rows = await fetch(self._pool, _SQL["rest_of_transaction"], *arguments)
            head, entries = _split(rows, start)
            if len(entries) < limit:
                end, is_last = Cursor(start.log, start.whole), False
            else:
                last = entries[-1]
                end, is_last = Cursor(start.log, start.snapshot, last.txid, last.seq, ALL_PARTS), False
            return Page(start, entries, head, end, is_last)
        snapshot = start.snapshot
        if scope.executions:
            names = (scope.project, scope.domain, list(scope.executions))
            arguments = (snapshot.record, limit, *names, executions_only)
            rows = await fetch(self._pool, _SQL["page_of_executions"], *arguments)
        else:
            arguments = (snapshot.xmin, snapshot.record, limit, executions_only)
            rows = await fetch(self._pool, _SQL["page"], *arguments)
        head, entries = _split(rows, start)
        is_last = len(entries) < limit
        if is_last:
            return Page(start, entries, head, head.now, is_last)
        last = entries[-1]
        return Page(start, entries, head, start.upto(head.snapshot, last.txid, last.seq, ALL_PARTS), is_last)


def _split(rows: Sequence[Row], start: Cursor) -> tuple[LogHead, list[Entry]]:
    head = next(_head(row) for row in rows if row["seq"] is None)
    _check_reach(start, head)
    return head, [Entry._make(tuple(cast("Iterable[Any]", row))[4:]) for row in rows if row["seq"] is not None]


def _head(row: Row) -> LogHead:
    return LogHead(snapshot_of(tuple(row["snapshot"])), row["read_at"], row["dropped_txid"] or 0, row["log_id"])


def _check_reach(cursor: Cursor, head: LogHead) -> None:
    if cursor.xmin <= head.dropped_txid:
        _refuse_past(head)


def _refuse_past(head: LogHead) -> NoReturn:
    oldest = head.oldest.encode()
    raise ApiError(
        grpc.StatusCode.OUT_OF_RANGE,
        f"the log of transitions does not reach back to the cursor; the oldest that can be gone on from is {oldest}",
        [error_details_pb2.ErrorInfo(reason="BEFORE_RETENTION", domain="wingbeat", metadata={"oldest": oldest})],
    )


def _not_a_cursor(reason: str) -> ApiError:
    return bad_field("cursor", f"invalid cursor: {reason}")
