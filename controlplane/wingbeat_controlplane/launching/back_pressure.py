"""Whether the engines keep up: how many executions wait to be begun, and what callers are told when it is too many.

The number is read from the database when it is asked for and older than a moment; what this process has launched since
is added to it. So a server may pass the limit by what the others launch in that moment, and by no more.
"""

import asyncio
from collections.abc import Callable

import asyncpg
import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

from wingbeat_controlplane.errors import ApiError
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.launching", "back_pressure.sql")

AGE_MAX_S = 0.5
"""How old a reading may be."""
SINGLE_FACTOR = 10
"""Launches one by one are refused so much later: clients of Flyte repeat a refused call at once and then fail."""
SINGLE_AGE_MAX_S = 5.0
"""How old a reading may be that decides about them; counting so many takes a while."""
RETRY_S_MIN = 1.0
RETRY_S_MAX = 30.0
WAIT_S_MAX = 60.0
"""How long a stream is held back before it is ended."""


class BackPressure:
    """Watches the executions that have not begun; `not_begun_max` of them may be, 0: any number."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        not_begun_max: int,
        *,
        age_max_s: float = AGE_MAX_S,
        rule: str = "setting launch.not_begun_max",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._pool = pool
        self._max = not_begun_max
        self._age_max_s = age_max_s
        self._rule = rule
        self._clock = clock
        self._reading = 0
        self._read_at = float("-inf")
        self._launched = 0
        self._refused = 0
        self._lock = asyncio.Lock()

    async def check(self, coming: int) -> None:
        """Let `coming` more executions be launched, or raise ApiError RESOURCE_EXHAUSTED with RetryInfo, which grows as
        refusals follow one another."""
        if await self.has_room(coming):
            self._refused = 0
            self._launched += coming
            return
        self._refused += 1
        retry_s = min(RETRY_S_MIN * 2 ** min(self._refused // 8, 10), RETRY_S_MAX)
        raise ApiError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"{self._reading + self._launched} executions wait to be begun, and no more than {self._max} may"
            f" ({self._rule}); try again in {retry_s:g} s",
            [error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=int(retry_s)))],
        )

    async def has_room(self, coming: int) -> bool:
        """Whether `coming` more executions may be launched now. Some may always when nothing waits."""
        if not self._max:
            return True
        async with self._lock:
            now = asyncio.get_running_loop().time() if self._clock is None else self._clock()
            if now - self._read_at > self._age_max_s:
                self._launched = 0
                self._reading = int(await self._pool.fetchval(_SQL["count_not_begun"], self._max + 1))
                self._read_at = now
        waiting = self._reading + self._launched
        return waiting == 0 or waiting + coming <= self._max


def single_pressure(pool: asyncpg.Pool, not_begun_max: int) -> BackPressure:
    """For launches one by one."""
    rule = f"{SINGLE_FACTOR} times the setting launch.not_begun_max"
    return BackPressure(pool, SINGLE_FACTOR * not_begun_max, age_max_s=SINGLE_AGE_MAX_S, rule=rule)
