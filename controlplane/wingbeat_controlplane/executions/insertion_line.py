"""Executions of calls that come at the same time, inserted together.

A row alone costs a statement, a commit and a way there and back, which many rows share as well. So what comes while a
statement is under way waits for the next one; a launch that finds none under way goes at once and by itself.

Nobody suffers for a neighbour. A row whose name others may choose, too, can have to wait for the end of another
transaction, so those who go together wait for that briefly, and then each by itself; likewise when the database refuses
a row of theirs. And what takes long, for whichever reason, does not hold up what comes after it.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg

from wingbeat_controlplane.executions.insertion import insert_executions
from wingbeat_controlplane.executions.names import ExecutionName
from wingbeat_controlplane.executions.new_execution import NewExecution
from wingbeat_propeller.postgres.outages import is_outage

PATIENCE_S = 0.1
"""How long a statement is waited for before the next one goes beside it."""
TOGETHER_MAX = 500
"""Executions in one statement."""
TOGETHER_BYTES_MAX = 4 << 20
"""And the bytes of their inputs and settings, about."""

_LOCK_WAIT = "SET LOCAL lock_timeout = '100ms'"


class _Waiting(NamedTuple):
    new: NewExecution
    key: "asyncio.Future[int | None]"


class InsertionLine:
    """Inserts executions that need no transaction of their own. Belongs to one event loop."""

    def __init__(self, pool: asyncpg.Pool, base: str) -> None:
        self._pool = pool
        self._base = base
        self._line: deque[_Waiting] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()

    async def insert(self, new: NewExecution) -> int | None:
        """Its row id once it is durable, None when its name is taken. Raises what `insert_executions` raises."""
        key: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._line.append(_Waiting(new, key))
        if self._writer is None:
            self._writer = asyncio.create_task(self._work_off(), name="insert executions")
        return await key

    async def drained(self) -> None:
        """Wait for what is in line or under way."""
        while self._writer is not None or self._writes:
            await asyncio.wait([*self._writes, *([] if self._writer is None else [self._writer])])

    async def _work_off(self) -> None:
        try:
            while together := self._take():
                write = asyncio.create_task(self._write(together), name="insert executions together")
                self._writes.add(write)
                write.add_done_callback(self._writes.discard)
                await asyncio.wait([write], timeout=PATIENCE_S)
        finally:
            self._writer = None

    def _take(self) -> Sequence[_Waiting]:
        """The next of the line that go together: each name once, and nobody whose caller has gone."""
        taken: dict[ExecutionName, _Waiting] = {}
        size = 0
        while self._line and len(taken) < TOGETHER_MAX:
            first = self._line[0]
            if not first.key.done():
                size += _size(first.new)
                if taken and (size > TOGETHER_BYTES_MAX or first.new.id in taken):
                    break
                taken[first.new.id] = first
            self._line.popleft()
        return list(taken.values())

    async def _write(self, together: Sequence[_Waiting]) -> None:
        try:
            created = await self._insert([one.new for one in together])
        except BaseException as error:
            if len(together) > 1 and _may_go_alone(error):
                async with asyncio.TaskGroup() as group:
                    for one in together:
                        group.create_task(self._write([one]), name="insert an execution")
                return
            for one in together:
                if not one.key.done():
                    one.key.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for one in together:
                if not one.key.done():
                    one.key.set_result(created.get(one.new.id))

    async def _insert(self, new: Sequence[NewExecution]) -> Mapping[ExecutionName, int]:
        if len(new) == 1:
            return await insert_executions(self._pool, new, self._base)
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_LOCK_WAIT)
            return await insert_executions(connection, new, self._base)


def _size(new: NewExecution) -> int:
    return len(new.inputs) + len(new.user_inputs) + new.decision.spec.ByteSize()


def _may_go_alone(error: BaseException) -> bool:
    """Whether the error is that of one of several, and nothing of them was kept."""
    if isinstance(error, asyncpg.LockNotAvailableError | asyncpg.TransactionRollbackError):
        return True
    return isinstance(error, Exception) and not is_outage(error)
