"""What every execution store must do; subclass with a fixture `database` that yields an empty EngineDatabase."""

import pytest
from tests.conformance.engine_database import NOW, EngineDatabase, effects_of, node_row
from tests.conformance.journal import running

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase
from wingbeat_propeller.core.rows import ExecutionRow
from wingbeat_propeller.ports.executions import Room
from wingbeat_propeller.ports.tasks import AttemptOrigin


class ExecutionStoreContract:
    """The contract of `ports.ExecutionStore`."""

    async def test_new_executions_by_shard_oldest_first(self, database: EngineDatabase) -> None:
        """Only executions of the asked shards that nobody began and the caller does not know, up to the limit."""
        mine = await database.insert_executions([f"mine{number}" for number in range(5)], shard=3)
        await database.insert_executions(["a", "b"], shard=4)
        async with running(database) as run:
            row = ExecutionRow(mine[1], ExecutionPhase.RUNNING, NOW, started_at=NOW)
            await run.write(Effects(mine[1], execution_row=row))
        found = await database.store().new_executions([3, 9], known=[mine[0]], limit=2, room=Room(100))
        assert [record.execution for record in found.records] == mine[2:4]
        assert (found.after, found.any_left) == (None, True)
        record = found.records[0]
        assert (record.shard, record.config, record.inputs, record.phase, record.nodes) == (3, b"cfg", b"in", 0, ())
        assert (record.project, record.domain, record.name, record.abort_cause) == ("p", "d", "mine2", None)

    async def test_executions_that_were_told_of(self, database: EngineDatabase) -> None:
        """Those named that nobody has begun, of the asked shards, in the order of their launch; not what must be ended,
        which a look at everything finds."""
        mine = await database.insert_executions([f"mine{number}" for number in range(5)], shard=3)
        elsewhere = await database.insert_executions(["a"], shard=4)
        await database.request_abort(mine[0], "typo")
        async with running(database) as run:
            row = ExecutionRow(mine[1], ExecutionPhase.RUNNING, NOW, started_at=NOW)
            await run.write(Effects(mine[1], execution_row=row))
        told = await database.store().told_executions([3, 9], [mine[3], *mine[:3], *elsewhere, 9999])
        assert [record.execution for record in told] == [mine[2], mine[3]]
        looked = await database.store().new_executions([3], known=[], limit=9, room=Room(9))
        assert told[0] == next(record for record in looked.records if record.execution == mine[2])

    async def test_an_execution_aborted_before_it_began_is_new(self, database: EngineDatabase) -> None:
        """Somebody has to end it: it is taken up with the cause as a new one, and only as a new one, until it has
        begun."""
        [execution] = await database.insert_executions(["e"])
        await database.request_abort(execution, "typo")
        store = database.store()
        [record] = (await store.new_executions([0], known=[], limit=10, room=Room(0))).records
        assert (record.execution, record.phase, record.abort_cause) == (execution, ExecutionPhase.ABORTING, "typo")
        assert await store.abort_requests([0]) == [(execution, "typo")]
        assert await store.live_executions([0], after=0, limit=10) == []
        async with running(database) as run:
            row = ExecutionRow(execution, ExecutionPhase.RUNNING, NOW, started_at=NOW)
            await run.write(Effects(execution, execution_row=row))
        assert not (await store.new_executions([0], known=[], limit=10, room=Room(100))).records
        [record] = await store.live_executions([0], after=0, limit=10)
        assert (record.execution, record.abort_cause) == (execution, "typo")

    async def test_live_executions_come_with_their_nodes(self, database: EngineDatabase) -> None:
        """After a take-over the engine reads back exactly what was journaled, page by page, without ended executions
        and those of other shards."""
        executions = await database.insert_executions(["a", "b", "c", "d"])
        [elsewhere] = await database.insert_executions(["e"], shard=1)
        failure = Failure(ErrorKind.USER, "Oops", "no")
        written: list[Effects] = []
        for execution in [*executions[:3], elsewhere]:
            effects = effects_of(
                node_row(execution, "later", NodePhase.FAILING, seq=1, failure=failure),
                node_row(execution, "first", NodePhase.SUCCEEDED, seq=0, inputs=b"i", outputs=b"o"),
            )
            effects.execution_row = ExecutionRow(execution, ExecutionPhase.RUNNING, NOW, started_at=NOW)
            written.append(effects)
        ended = written[2]
        assert ended.execution_row is not None
        ended.execution_row.ended_at = NOW + 1
        async with running(database) as run:
            await run.write(*written)
        store = database.store()
        [first] = await store.live_executions([0], after=0, limit=1)
        assert first.nodes == tuple(reversed(written[0].nodes))
        assert first.started_at == NOW
        rest = await store.live_executions([0], after=first.execution, limit=10)
        assert [record.execution for record in rest] == [executions[1]]

    async def test_abort_requests_end_with_the_execution(self, database: EngineDatabase) -> None:
        """Only of the asked shards, and only while there is something to abort."""
        [execution] = await database.insert_executions(["e"])
        await database.insert_executions(["other"])
        await database.request_abort(execution, "")
        store = database.store()
        assert await store.abort_requests([1]) == []
        assert await store.abort_requests([0]) == [(execution, "")]
        async with running(database) as run:
            row = ExecutionRow(execution, ExecutionPhase.ABORTED, NOW, ended_at=NOW)
            await run.write(Effects(execution, execution_row=row))
        assert await store.abort_requests([0]) == []

    async def test_workflow_closures_by_id(self, database: EngineDatabase) -> None:
        """The stored bytes, or a lookup error."""
        workflow = await database.insert_workflow(b"bytes")
        store = database.store()
        assert await store.workflow_closure(workflow) == b"bytes"
        with pytest.raises(LookupError):
            await store.workflow_closure(workflow + 1)

    async def test_attempts_are_unwanted_when_nobody_waits(self, database: EngineDatabase) -> None:
        """Those of nodes under way are wanted, and later ones; those of ended nodes, of earlier attempts, of ended
        executions and of nodes and executions that do not exist are not."""
        live, ended = await database.insert_executions(["live", "ended"])
        effects = effects_of(
            node_row(live, "n0", NodePhase.RUNNING, attempt=1), node_row(live, "n1", NodePhase.FAILED, ended_at=NOW)
        )
        effects.execution_row = ExecutionRow(live, ExecutionPhase.RUNNING, NOW, started_at=NOW)
        over = effects_of(node_row(ended, "n0", NodePhase.RUNNING))
        over.execution_row = ExecutionRow(ended, ExecutionPhase.FAILED, NOW, started_at=NOW, ended_at=NOW)
        async with running(database) as run:
            await run.write(effects, over)
        attempts = {
            "current": AttemptOrigin("p", "d", "live", "n0", 1),
            "later": AttemptOrigin("p", "d", "live", "n0", 2),
            "earlier": AttemptOrigin("p", "d", "live", "n0", 0),
            "ended node": AttemptOrigin("p", "d", "live", "n1", 0),
            "no node": AttemptOrigin("p", "d", "live", "n2", 0),
            "ended execution": AttemptOrigin("p", "d", "ended", "n0", 0),
            "no execution": AttemptOrigin("p", "other", "live", "n0", 1),
        }
        unwanted = await database.store().unwanted(attempts)
        assert set(unwanted) == set(attempts) - {"current", "later"}
