"""The way from an engine to the simulated Postgres: pool and connections with the surface of asyncpg that the package
`postgres` uses, over calls that take time, fail, lose their answers or take effect late.

What has been sent takes effect even when its sender dies meanwhile, or does not, as the seed says: a server does not
notice the death of a client that it has stopped listening to.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import asyncpg

from tests.simulation.database import SimulatedDatabase
from tests.simulation.faults import Fate, Faults
from tests.simulation.sql_text import Row
from wingbeat_controlplane.errors import ApiError


class Client(Protocol):
    """The process that a connection belongs to."""

    alive: bool

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: object) -> object:
        """Run a callback in that process."""
        ...


class Outside(Protocol):
    """The world around: where a server's own work runs."""

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: object) -> object:
        """Run a callback in no engine's process."""
        ...


class SimulatedServer:
    """One Postgres server. `applied` hears of each statement that has taken effect, with the client and block text."""

    def __init__(self, database: SimulatedDatabase, faults: Faults, outside: Outside) -> None:
        self.database = database
        self.faults = faults
        self._outside = outside
        self._listeners: list[SimulatedConnection] = []
        self.applied: Callable[[Client, str], None] = lambda _client, _sql: None
        self.failed: Callable[[BaseException], None] = _raise
        database.notified = self._notify

    def pool(self, client: Client) -> "SimulatedPool":
        """A pool of `client`'s."""
        return SimulatedPool(self, client)

    async def connect(self, client: Client) -> "SimulatedConnection":
        """A connection of `client`'s. Raises OSError."""
        connection = SimulatedConnection(self, client)
        await self.call(connection, "SELECT 1", ())
        return connection

    async def perform(self, client: Client, effect: Callable[[], Any]) -> Any:
        """A transaction of `client`'s that is no statement of ours, but `effect`; its result. Raises as statements do,
        and whatever `effect` raises."""
        [answer] = await self.call(SimulatedConnection(self, client), effect, ())
        return answer

    async def call(
        self, connection: "SimulatedConnection", sql: str | Callable[[], Any], args: Sequence[Any]
    ) -> list[Any]:
        """Send a statement and wait for its answer."""
        if connection.closed:
            raise asyncpg.InterfaceError("connection is closed")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Row]] = loop.create_future()
        passage = self.faults.statement(loop.time())
        if passage.fate is Fate.LATE:
            # What a dead connection has asked for goes on until it would answer: as long as a statement takes.
            self._outside.call_later(passage.there_s, self._lose, connection, answer)
        self._outside.call_later(
            passage.there_s + (passage.back_s if passage.fate is Fate.LATE else 0.0),
            self._apply, connection, sql, args, answer, passage.fate, passage.back_s,
        )  # fmt: skip
        return await answer

    def _apply(
        self,
        connection: "SimulatedConnection",
        sql: str | Callable[[], Any],
        args: Sequence[Any],
        answer: "asyncio.Future[list[Any]]",
        fate: Fate,
        back_s: float,
    ) -> None:
        client = connection.client
        if (not client.alive or answer.cancelled()) and self.faults.uniform(0.0, 1.0) < 0.5:
            return  # it never left the client's machine
        if fate is Fate.REFUSED:
            self._outside.call_later(back_s, _fail, answer, asyncpg.CannotConnectNowError("the database starts up"))
            return
        try:
            rows = self.database.run(sql, args) if isinstance(sql, str) else [sql()]
        except (asyncpg.PostgresError, ApiError) as error:
            self._outside.call_later(back_s, _fail, answer, error)
            return
        except Exception as error:  # noqa: BLE001 - an invariant is broken, or the simulator is: both end the world
            self.failed(error)
            return
        if isinstance(sql, str):
            self.applied(client, sql)
        if fate is Fate.DONE:
            self._outside.call_later(back_s, _answer, answer, rows)
        elif fate is Fate.LOST:
            self._outside.call_later(back_s, self._lose, connection, answer)

    def _lose(self, connection: "SimulatedConnection", answer: "asyncio.Future[list[Row]]") -> None:
        connection.lose()
        _fail(answer, asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))

    # ---- notifications ----

    def listen(self, connection: "SimulatedConnection") -> None:
        """Send notifications there from now on."""
        self._listeners.append(connection)

    def unlisten(self, connection: "SimulatedConnection") -> None:
        """Send nothing there any more."""
        if connection in self._listeners:
            self._listeners.remove(connection)

    def _notify(self, channel: str, payload: str) -> None:
        for connection in list(self._listeners):
            if not connection.client.alive:
                self._listeners.remove(connection)
            elif self.faults.happens(self.faults.plan.notifications_lost * 0.3):
                connection.lose()
            elif not self.faults.happens(self.faults.plan.notifications_lost):
                connection.client.call_later(self.faults.uniform(0.0, 0.01), connection.notify, channel, payload)


class SimulatedConnection:
    """The methods of asyncpg.Connection that are used."""

    def __init__(self, server: SimulatedServer, client: Client) -> None:
        self.client = client
        self.closed = False
        self._server = server
        self._terminated: list[Callable[[object], None]] = []
        self._channels: dict[str, Callable[[object, int, str, object], None]] = {}

    async def fetch(self, sql: str, *args: Any, timeout: float | None = None) -> list[Row]:
        """All rows."""
        return await self._server.call(self, sql, args)

    async def fetchrow(self, sql: str, *args: Any, timeout: float | None = None) -> Row | None:
        """The first row."""
        rows = await self._server.call(self, sql, args)
        return rows[0] if rows else None

    async def fetchval(self, sql: str, *args: Any, timeout: float | None = None) -> Any:
        """The first value of the first row."""
        rows = await self._server.call(self, sql, args)
        return next(iter(rows[0].values())) if rows else None

    async def execute(self, sql: str, *args: Any, timeout: float | None = None) -> str:
        """Its rows are dropped."""
        await self._server.call(self, sql, args)
        return "OK"

    async def prepare(self, sql: str) -> "SimulatedStatement":
        """A statement to run again and again."""
        await self._server.call(self, "SELECT 1", ())
        return SimulatedStatement(self, sql)

    def terminate(self) -> None:
        """Close without ado."""
        self.closed = True
        self._server.unlisten(self)

    def add_termination_listener(self, callback: Callable[[object], None]) -> None:
        """Tell `callback` of the connection's end."""
        self._terminated.append(callback)

    async def add_listener(self, channel: str, callback: Callable[[object, int, str, object], None]) -> None:
        """LISTEN."""
        await self._server.call(self, "SELECT 1", ())
        self._channels[channel] = callback
        self._server.unlisten(self)
        self._server.listen(self)

    def notify(self, channel: str, payload: str) -> None:
        """A notification has arrived."""
        if not self.closed and channel in self._channels:
            self._channels[channel](self, 0, channel, payload)

    def lose(self) -> None:
        """The connection breaks; the client finds out a little later."""
        self.terminate()
        for callback in self._terminated:
            self.client.call_later(0.001, callback, self)


class SimulatedStatement:
    """A prepared statement."""

    def __init__(self, connection: SimulatedConnection, sql: str) -> None:
        self._connection = connection
        self._sql = sql

    async def fetchval(self, *args: Any, timeout: float | None = None) -> Any:
        """The first value of the first row."""
        return await self._connection.fetchval(self._sql, *args)


class SimulatedPool:
    """The methods of asyncpg.Pool that are used: every call takes a connection of its own."""

    def __init__(self, server: SimulatedServer, client: Client) -> None:
        self._server = server
        self._client = client

    async def fetch(self, sql: str, *args: Any) -> list[Row]:
        """All rows."""
        return await SimulatedConnection(self._server, self._client).fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        """The first row."""
        return await SimulatedConnection(self._server, self._client).fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first value of the first row."""
        return await SimulatedConnection(self._server, self._client).fetchval(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        """Its rows are dropped."""
        return await SimulatedConnection(self._server, self._client).execute(sql, *args)


def _answer(answer: "asyncio.Future[list[Row]]", rows: list[Row]) -> None:
    if not answer.done():
        answer.set_result(rows)


def _fail(answer: "asyncio.Future[list[Row]]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # nobody may be left to look at it


def _raise(error: BaseException) -> None:
    raise error
