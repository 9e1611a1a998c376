"""Answers one question in SQL under a role that can read the views and nothing else.

The role logs in by itself over a small pool of its own: a role that a mightier session had assumed could be given up
by the question. The question is the query of a cursor, so nothing but a query is taken, and one only. Its transaction
reads only. Questions about some projects run under a second role, whose views show what the row `sql_scopes` of its
connection names; the server writes that row over its own connection, before the question is asked. A session's
settings, locks and cursors end with the question, when the connection is reset. Time is limited by the server too, as a
question can lift the database's limit. A question whose plan counts on luck (see luck.py) and has none is begun once
more. A process that dies leaves a row of `sql_scopes`, which the next user of that number overwrites.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import cast

import asyncpg
import grpc
import structlog
from asyncpg.prepared_stmt import PreparedStatement
from prometheus_client import Counter, Gauge

from wingbeat_controlplane.errors import ApiError, failed_precondition, invalid_argument
from wingbeat_controlplane.sql.luck import counts_on_luck
from wingbeat_propeller.postgres.outages import DATABASE_ERRORS
from wingbeat_propeller.postgres.queries import load_queries

_log = structlog.get_logger(__name__)
_SQL = load_queries("wingbeat_controlplane.sql", "reader.sql")

_ASKED = Counter("wingbeat_sql_questions", "Questions in SQL", ["outcome"])
_REPLANNED = Counter("wingbeat_sql_questions_replanned", "Questions in SQL whose plan counted on luck and had none")
_RUNNING = Gauge("wingbeat_sql_questions_running", "Questions in SQL that have a connection")

READER = "wingbeat_reader"
PROJECT_READER = "wingbeat_project_reader"
_SCHEMAS = {READER: "wingbeat_views", PROJECT_READER: "wingbeat_project_views"}

_REFUSED_CLASSES = frozenset({"0A", "21", "22", "23", "24", "25", "26", "2F", "34", "38", "39", "42", "44", "54", "P0"})
"""SQLSTATE classes of what is wrong with the question."""

QUESTION_LENGTH_MAX = 100_000
_BATCH_ROWS = 500
_IDLE_S = 60
"""How long a caller may take to read what it was sent before its transaction is ended."""


@dataclass(frozen=True, slots=True)
class SqlOptions:
    """Limits of questions."""

    connections_max: int = 4
    """Questions at once, of each of the two roles; 0: none are answered."""
    wait_s: float = 5.0
    """How long a question waits for others to end."""
    timeout_s: float = 30.0
    """Longest time a question may take."""
    luck_s: float = 0.075
    """How long a plan that counts on luck may take for the first rows."""
    rows_max: int = 100_000
    """Most rows it may answer."""
    password: str = ""
    """Of both roles, where the database wants one."""


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of an answer: its name, and its type as the database names it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of an answer; `columns` with the first, `is_cut` when rows were left out after the last."""

    columns: Sequence[ResultColumn]
    rows: Sequence[Sequence[object]]
    is_cut: bool = False


class SqlReader:
    """Asks the database; see the module. `pool` is the server's own."""

    def __init__(self, dsn: str, pool: asyncpg.Pool, options: SqlOptions) -> None:
        self._dsn = dsn
        self._pool = pool
        self._options = options
        self._readers: dict[str, asyncpg.Pool] = {}
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        for reader in self._readers.values():
            reader.terminate()

    async def ask(self, question: str, *, projects: Sequence[str] | None, row_limit: int = 0) -> AsyncGenerator[Batch]:
        """The rows of a question, in batches; there is always a first one. `projects`: what may be seen; None: all.

        Raises ApiError INVALID_ARGUMENT, FAILED_PRECONDITION, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED.
        """
        _check(question)
        limit = min(row_limit or self._options.rows_max, self._options.rows_max)
        role = READER if projects is None else PROJECT_READER
        deadline = asyncio.get_running_loop().time() + self._options.timeout_s
        outcome = "refused"
        try:
            async with AsyncExitStack() as stack:
                connection = await stack.enter_async_context(self._connection(role))
                await stack.enter_async_context(connection.transaction(readonly=True))
                await stack.enter_async_context(self._scope(connection, projects))
                await self._limit(connection, self._options.timeout_s)
                begun = await self._begin(connection, question.strip().rstrip(";"), _portion(limit), deadline)
                async for batch in _rows(begun, limit, deadline):
                    yield batch
            outcome = "answered"
        except DATABASE_ERRORS as error:
            raise _refusal(error, self._options.timeout_s) from error
        finally:
            _ASKED.labels(outcome).inc()

    async def _begin(self, connection: asyncpg.Connection, question: str, count: int, deadline: float) -> "_Begun":
        """Open the cursor and fetch the first `count` rows."""
        plan = await connection.fetchval(_SQL["plan"].replace("{question}", question), timeout=_left(deadline))
        if counts_on_luck(json.loads(plan)[0]["Plan"]):
            try:
                async with connection.transaction():
                    await self._limit(connection, min(self._options.luck_s, _left(deadline)))
                    begun = await _first_rows(connection, question, count, deadline)
                    await self._limit(connection, self._options.timeout_s)
                    return begun
            except asyncpg.QueryCanceledError:
                _REPLANNED.inc()
            await connection.fetch(_SQL["without_luck"])
        return await _first_rows(connection, question, count, deadline)

    async def _limit(self, connection: asyncpg.Connection, seconds: float) -> None:
        await connection.fetch(_SQL["limits"], f"{max(1, int(seconds * 1000))}ms")

    @asynccontextmanager
    async def _connection(self, role: str) -> AsyncGenerator[asyncpg.Connection]:
        reader = await self._reader(role)
        try:
            connection = await reader.acquire(timeout=self._options.wait_s)
        except TimeoutError as error:
            raise ApiError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._options.connections_max} questions are being answered; try again later",
            ) from error
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
            raise failed_precondition(
                f"the database does not let the role {role} in ({error}): docs/sql.md says how to set it up"
            ) from error
        try:
            with _RUNNING.track_inprogress():
                yield cast("asyncpg.Connection", connection)
        finally:
            await reader.release(connection, timeout=self._options.wait_s)

    async def _reader(self, role: str) -> asyncpg.Pool:
        if not self._options.connections_max:
            raise failed_precondition("this installation answers no SQL: sql.connections_max is 0")
        async with self._opening:
            if role not in self._readers:
                # asyncpg's own reset, unlike that of our other pools: locks, settings and cursors end with a question.
                self._readers[role] = await asyncpg.create_pool(
                    self._dsn,
                    user=role,
                    password=self._options.password or None,
                    min_size=0,
                    max_size=self._options.connections_max,
                    statement_cache_size=0,
                    max_inactive_connection_lifetime=60,
                    command_timeout=self._options.timeout_s,
                    server_settings={
                        "application_name": "wingbeat sql",
                        "timezone": "UTC",
                        "jit": "off",
                        "search_path": _SCHEMAS[role],
                        "default_transaction_read_only": "on",
                        "idle_in_transaction_session_timeout": f"{_IDLE_S}s",
                        "cursor_tuple_fraction": "1",
                    },
                )
        return self._readers[role]

    @asynccontextmanager
    async def _scope(self, connection: asyncpg.Connection, projects: Sequence[str] | None) -> AsyncGenerator[None]:
        if projects is None:
            yield
            return
        pid: int = await connection.fetchval(_SQL["pid"])
        await self._pool.execute(_SQL["scope"], pid, list(projects))
        try:
            yield
        finally:
            await self._pool.execute(_SQL["forget_scope"], pid)


@dataclass(frozen=True, slots=True)
class _Begun:
    """An open cursor: how to fetch more of it, and its first rows."""

    fetch: "PreparedStatement[asyncpg.Record]"
    rows: Sequence[asyncpg.Record]


def _portion(limit: int) -> int:
    """How many rows are fetched at once; one more than the limit tells whether there are more."""
    return min(_BATCH_ROWS, limit + 1)


async def _first_rows(connection: asyncpg.Connection, question: str, count: int, deadline: float) -> _Begun:
    # Prepared, so that it is one statement; declared, so that it is a query.
    await connection.fetch(_SQL["columns"].replace("{question}", question), timeout=_left(deadline))
    fetch = await connection.prepare(_SQL["rows"].format(count=count))
    return _Begun(fetch, await fetch.fetch(timeout=_left(deadline)))


async def _rows(begun: _Begun, limit: int, deadline: float) -> AsyncGenerator[Batch]:
    columns = [ResultColumn(attribute.name, attribute.type.name) for attribute in begun.fetch.get_attributes()]
    rows = begun.rows
    left = limit
    while True:
        is_cut = len(rows) > left
        yield Batch(columns, [tuple(row.values()) for row in rows[:left]], is_cut)
        columns = []
        left -= len(rows)
        if is_cut or len(rows) < _portion(limit):
            return
        rows = await begun.fetch.fetch(timeout=_left(deadline))


def _left(deadline: float) -> float:
    left = deadline - asyncio.get_running_loop().time()
    if left <= 0:
        raise TimeoutError
    return left


def _check(question: str) -> None:
    if not question.strip():
        raise invalid_argument("there is no question: say `select ...`")
    if len(question) > QUESTION_LENGTH_MAX:
        raise invalid_argument(f"a question has at most {QUESTION_LENGTH_MAX} characters, this one {len(question)}")
    if "\0" in question:
        raise invalid_argument("text with a NUL character cannot be asked for")


def _refusal(error: Exception, timeout_s: float) -> Exception:
    """The same as an answer for the caller, or as it is when it is none of his business."""
    if isinstance(error, (TimeoutError, asyncpg.QueryCanceledError)):
        return ApiError(grpc.StatusCode.DEADLINE_EXCEEDED, f"the question took longer than {timeout_s:g} seconds")
    if isinstance(error, asyncpg.PostgresError):
        state = (error.sqlstate or "")[:2]
        sentence = str(error)
        if hint := getattr(error, "hint", None):
            sentence = f"{sentence} ({hint})"
        if state in _REFUSED_CLASSES:
            return invalid_argument(sentence)
        if state == "53":
            return ApiError(grpc.StatusCode.RESOURCE_EXHAUSTED, sentence)
    _log.warning("a question failed", error=repr(error))
    return error
