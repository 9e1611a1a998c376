"""Which executions are taken up, and when: new ones as they are launched, and those of shards that come from another
process. `uptake` knows how.

Notifications only wake; the database says what there is. One that names executions is answered by reading these, which
costs next to nothing; a look at all shards costs milliseconds. A slow poll covers lost notifications. When the journal
or memory is full, executions wait in the database; but those of a tenant that has few in memory are let in even so,
lest one tenant's crowd keeps another's out.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from wingbeat_propeller.core.effects import Launch
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.rows import ExecutionRecord
from wingbeat_propeller.engine import uptake
from wingbeat_propeller.engine.blob_retry import BlobStoreFailedError
from wingbeat_propeller.engine.live import LiveExecution, LiveExecutions
from wingbeat_propeller.ports.executions import NO_TENANT, ExecutionStore, NewExecutions, Room
from wingbeatidl.query.v1 import why_pb2

_log = structlog.get_logger(__name__)

PAGE = 500
"""Executions read at once."""
TURN = 64
"""Executions begun before other work gets its turn."""
TOLD_MAX = 500
"""Executions named by notifications that are remembered until the next look; when there are more, it is at all."""
FULL_POLL_S = 0.05
"""How soon to look again after there was no room."""


@dataclass(frozen=True, slots=True)
class IntakeOptions:
    """Limits of intake; see EngineOptions."""

    poll_s: float
    live_max: int
    tenant_live_min: int
    backlog_max: int


class Sink(uptake.Sink, Protocol):
    """The driver of executions, as far as intake knows it."""

    def drop(self, live: LiveExecution) -> None:
        """Hand an execution over."""
        ...

    async def settled(self, dropped: Sequence[LiveExecution]) -> None:
        """Nothing is done any more for executions that were dropped."""
        ...

    async def adopt(self, attempts: Sequence[tuple[LiveExecution, Launch]]) -> None:
        """Attempts under way before a restart."""
        ...


class Intake:
    """Keeps memory in step with the shards this process owns."""

    def __init__(
        self,
        options: IntakeOptions,
        *,
        store: ExecutionStore,
        live: LiveExecutions,
        uptake: uptake.Uptake,
        sink: Sink,
    ) -> None:
        self._options = options
        self._store = store
        self._live = live
        self._uptake = uptake
        self._sink = sink
        self._shards: set[int] = set()
        self._to_load: set[int] = set()
        self._to_adopt: list[tuple[LiveExecution, Launch]] = []
        """Attempts of executions that were rebuilt, until the dispatcher has them."""
        self._wake = asyncio.Event()
        self._passing = asyncio.Lock()
        """Held while shards and executions change, so that none is let go of while it is taken up."""
        self._reasons: set[str] = {"new", "abort"}
        self._told: list[tuple[int, int]] = []
        """New executions that notifications have named, by shard and row id."""
        self._is_behind = False
        """Whether some were left in the database at the last look: then nobody overtakes them."""
        self._after = NO_TENANT
        """The tenant behind which the next look begins, so that each has its turn however many there are."""

    def wake(self, reason: str, payload: str = "") -> None:
        """Something of kind `reason` ("new", "abort") may have happened; `payload` is the notification's."""
        told = _told(payload) if reason == "new" else ()
        if told and len(self._told) + len(told) <= TOLD_MAX:
            self._told += told
        else:
            self._reasons.add(reason)
        self._wake.set()

    def acquired(self, shards: frozenset[int]) -> None:
        """These shards are ours now; what is under way in them is loaded before anything new."""
        self._to_load |= shards
        self._wake.set()

    async def released(self, shards: frozenset[int]) -> None:
        """Let go of shards: their executions are at rest once nothing is done for their attempts and everything decided
        is durable.

        Waits for a pass under way, which may be about to take up executions of these very shards.
        """
        async with self._passing:
            self._shards -= shards
            self._to_load -= shards
            dropped = self._live.in_shards(shards)
            for live in dropped:
                self._sink.drop(live)
        await self._sink.settled(dropped)
        await self._sink.journal.drained()

    def condition(self, shard: int) -> why_pb2.Engine:
        """Why an execution of a shard that has not ended is not in memory."""
        options = self._options
        condition = why_pb2.Engine.CONDITION_ABOUT_TO_BEGIN
        if shard in self._to_load:
            condition = why_pb2.Engine.CONDITION_LOADING
        elif shard not in self._shards:
            condition = why_pb2.Engine.CONDITION_SHARD_MOVING
        elif not self._has_room():
            condition = why_pb2.Engine.CONDITION_FULL
        return why_pb2.Engine(
            condition=condition,
            live_executions=len(self._live),
            live_executions_max=options.live_max,
            backlog=self._sink.journal.backlog,
            backlog_max=options.backlog_max,
        )

    async def run(self) -> None:
        """Take up work until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._options.poll_s):
                    await self._wake.wait()
                reasons, self._reasons = self._reasons, set()
            except TimeoutError:
                reasons, self._reasons = self._reasons | {"new", "abort"}, set()
            self._wake.clear()
            try:
                async with self._passing:
                    await self._work(reasons)
            except OSError as error:
                _log.warning("database does not answer, trying again", error=str(error))
                self._reasons |= reasons | {"new"}
                await asyncio.sleep(0.2)

    async def _work(self, reasons: set[str]) -> None:
        told, self._told = self._told, []
        await self._adopt()
        if self._to_load:
            reasons |= {"new", "abort"}
            await self._take_over(frozenset(self._to_load))
        if "abort" in reasons and self._shards:
            for key, cause in await self._store.abort_requests(sorted(self._shards)):
                live = self._live.get(ExecutionKey(key))
                if live is None:
                    reasons |= {"new"}  # it has not begun
                elif not live.state.ended:
                    self._sink.abort(live, cause)
        if "new" in reasons or (told and not await self._take_told(told)):
            await self._take_new()

    async def _take_told(self, told: Sequence[tuple[int, int]]) -> bool:
        """Begin executions that were named; False when there is not room for all of them, or others are before them:
        then it is for a look at all to say who is next."""
        if self._is_behind or not self._has_backlog() or len(self._live) + len(told) > self._options.live_max:
            return False
        # Without those taken up meanwhile: what is read here may be older than what became of them.
        known = self._live.undurable
        keys = [key for shard, key in told if shard in self._shards and ExecutionKey(key) not in known]
        if keys:
            await self._begin_all(await self._store.told_executions(sorted(self._shards), keys))
        return True

    async def _take_new(self) -> None:
        """Round after round over the tenants, some of them at each look, until nothing more can be taken up."""
        self._is_behind = False
        while self._shards and self._has_backlog():
            any_taken = any_left = False
            begin = self._after
            has_wrapped = begin == NO_TENANT
            while True:
                found = await self._look()
                await self._begin_all(found.records)
                any_taken |= bool(found.records)
                any_left |= found.any_left
                self._after = found.after or NO_TENANT
                if found.after is None:
                    if has_wrapped:
                        break
                    has_wrapped = True
                elif has_wrapped and NO_TENANT < begin <= found.after:
                    break
                if not self._has_backlog():
                    any_left = True
                    break
            if not any_left:
                return
            if not any_taken:
                break  # there is no room for what is left
        if self._shards:
            self._is_behind = True
            asyncio.get_running_loop().call_later(FULL_POLL_S, self.wake, "new")

    async def _look(self) -> NewExecutions:
        live_max = self._options.live_max
        free = max(0, live_max - len(self._live))
        # Those that others wait for have as much room again, and then come one by one all the same: else a full memory
        # could wait for what it keeps out.
        awaited = max(1, 2 * live_max - len(self._live))
        return await self._store.new_executions(
            sorted(self._shards),
            known=list(self._live.undurable),
            limit=PAGE,
            room=Room(free, self._options.tenant_live_min, awaited, self._live.by_tenant),
            after=self._after,
        )

    def _has_backlog(self) -> bool:
        """Whether the journal takes more."""
        return self._sink.journal.backlog < self._options.backlog_max

    def _has_room(self) -> bool:
        return len(self._live) < self._options.live_max and self._has_backlog()

    async def _begin_all(self, records: Sequence[ExecutionRecord]) -> None:
        for number, record in enumerate(records):
            if record.shard in self._shards and record.execution not in self._live:
                self._live.undurable.add(record.execution)
                try:
                    await self._uptake.begin(record)
                except OSError:
                    self._live.undurable.discard(record.execution)  # not begun: the next look must find it
                    raise
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)

    async def _take_over(self, shards: frozenset[int]) -> None:
        after = 0
        missed: BlobStoreFailedError | None = None
        while True:
            records = await self._store.live_executions(sorted(shards), after=after, limit=PAGE)
            # Reads first: once an execution is rebuilt, no outage may come between it and the adoption of its attempts.
            programs = [(one, await self._uptake.program(one)) for one in records if one.execution not in self._live]
            for record, program in programs:
                if program is None:
                    continue
                try:
                    self._to_adopt += await self._uptake.rebuild(record, program)
                except BlobStoreFailedError as error:
                    missed = error
            await self._adopt()
            after = records[-1].execution if records else after
            if len(records) < PAGE:
                break
        if missed is not None:
            raise OSError(str(missed)) from missed  # those that were left out are taken up when the store answers
        self._to_load -= shards
        self._shards |= shards

    async def _adopt(self) -> None:
        """Hand on the attempts of what was rebuilt; what an outage keeps back stays for the next pass."""
        attempts = [(live, launch) for live, launch in self._to_adopt if self._live.drives(live)]
        if attempts:
            await self._sink.adopt(attempts)
        self._to_adopt = []


def _told(payload: str) -> list[tuple[int, int]]:
    """Executions that a notification names; none when it names something else."""
    try:
        return [(int(shard), int(key)) for shard, _, key in (name.partition(":") for name in payload.split())]
    except ValueError:
        return []
