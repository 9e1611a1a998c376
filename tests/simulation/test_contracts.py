"""The simulated database below what reads and writes the real one keeps the same contracts as Postgres does."""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from unittest.mock import patch

import asyncpg
import pytest

from tests.conformance.engine_database import Rejected, StoredRow
from tests.conformance.execution_store import ExecutionStoreContract
from tests.conformance.journal import JournalContract
from tests.conformance.leases import LeasesContract
from tests.conformance.sources import SourcesContract
from tests.simulation.blobs import BASE
from tests.simulation.database import SimulatedDatabase
from tests.simulation.faults import Fate, FaultPlan, Faults, Passage
from tests.simulation.server import SimulatedConnection, SimulatedServer
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.postgres.executions import PostgresExecutionStore
from wingbeat_propeller.postgres.journal import PostgresJournal
from wingbeat_propeller.postgres.journal_lane import JournalOptions
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeat_propeller.postgres.sources import PostgresSources

NOW = 1_800_000_000.0


class _Loop:
    """The test's own loop, as the process of everybody."""

    alive = True

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: object) -> object:
        """See asyncio."""
        return asyncio.get_running_loop().call_later(delay_s, callback, *args)


class _Cuts(Faults):
    """No faults, but for answers that are cut off."""

    def __init__(self) -> None:
        super().__init__(random.Random(0), FaultPlan())
        self.count = 0

    def statement(self, now: float) -> Passage:
        """Lost, or at once."""
        lost = self.count > 0
        self.count -= lost
        return Passage(0.0, 0.0, Fate.LOST if lost else Fate.DONE)


class _NoBlobs:
    base = BASE


class SimulatedEngineDatabase:
    """Satisfies conformance.engine_database.EngineDatabase."""

    def __init__(self) -> None:
        self._faults = _Cuts()
        self._database = SimulatedDatabase(lambda: NOW)
        self._client = _Loop()
        self._server = SimulatedServer(self._database, self._faults, self._client)

    async def connect(self, _dsn: str, **_options: object) -> SimulatedConnection:
        """In the place of asyncpg.connect."""
        return await self._server.connect(self._client)

    def leases(self) -> PostgresLeases:
        return PostgresLeases(self._server.pool(self._client))

    def journal(self, term: int, rejected: Rejected, *, lanes: int = 2, batch_rows_max: int = 4_000) -> PostgresJournal:
        options = JournalOptions(lanes=lanes, batch_rows_max=batch_rows_max, backoff_s_min=0.001)
        return PostgresJournal("", term=term, blobs=_NoBlobs(), rejected=rejected, options=options)

    def store(self) -> PostgresExecutionStore:
        return PostgresExecutionStore(self._server.pool(self._client), "")

    def sources(self) -> PostgresSources:
        return PostgresSources(self._server.pool(self._client))

    async def insert_workflow(self, closure: bytes) -> int:
        return self._database.insert_workflow(closure)

    async def insert_executions(self, names: Sequence[str], *, shard: int = 0) -> list[ExecutionKey]:
        columns = {"project": "p", "domain": "d", "shard": shard, "workflow_id": 1, "config": b"cfg", "inputs": b"in"}
        return [ExecutionKey(self._database.insert_execution(name=name, **columns)) for name in names]

    async def request_abort(self, execution: ExecutionKey, cause: str) -> None:
        assert self._database.request_abort(execution, cause)

    async def expire(self, term: int) -> None:
        self._database.members[term].lease_expires_at = NOW - 1

    async def end_term(self, term: int) -> None:
        self._database.end_term(term)

    async def own(self, term: int, shards: Sequence[int]) -> None:
        for shard in shards:
            self._database.shards[shard] = term

    async def owned(self) -> Mapping[int, int]:
        return {shard: term for shard, term in enumerate(self._database.shards) if term is not None}

    def cut(self) -> None:
        self._faults.count += 1

    async def execution(self, execution: ExecutionKey) -> StoredRow:
        return self._database.executions[execution]

    async def nodes(self, execution: ExecutionKey) -> Sequence[StoredRow]:
        return sorted(self._database.nodes_of[execution], key=lambda row: row["node_id"])

    async def attempts(self, execution: ExecutionKey) -> Sequence[StoredRow]:
        rows = self._database.tables["task_executions"].values()
        mine = [row for row in rows if row["execution_id"] == execution]
        return sorted(mine, key=lambda row: (row["node_id"], row["attempt"]))

    async def transitions(self, execution: ExecutionKey) -> Sequence[tuple[str | None, int, int]]:
        rows = [row for row in self._database.transitions if row["execution_id"] == execution]
        return [(row["node_id"], row["attempt"], row["phase"]) for row in rows]


@pytest.fixture
def database() -> Iterator[SimulatedEngineDatabase]:
    """An empty one, which connections lead to."""
    made = SimulatedEngineDatabase()
    with patch.object(asyncpg, "connect", made.connect):
        yield made


class TestSimulatedJournal(JournalContract):
    """The real journal over the simulated database."""


class TestSimulatedLeases(LeasesContract):
    """The real leases over the simulated database."""


class TestSimulatedExecutionStore(ExecutionStoreContract):
    """The real execution store over the simulated database."""


class TestSimulatedSources(SourcesContract):
    """The real reader of executions that are recovered over the simulated database."""
