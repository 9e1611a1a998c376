"""What every journal must do; subclass with a fixture `database` that yields an empty EngineDatabase."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from tests.conformance.engine_database import NOW, EngineDatabase, effects_of, node_row, task_row

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.phases import ExecutionPhase, NodePhase, TaskPhase
from wingbeat_propeller.core.rows import ExecutionRow, Transition
from wingbeat_propeller.ports.journal import Journal, LeaseLostError

_LEASE_S = 60.0


@dataclass(slots=True)
class Run:
    """A running journal and what it reported."""

    term: int
    journal: Journal
    task: "asyncio.Task[None]"
    rejected: list[tuple[Effects, Exception]]
    committed: list[Effects] = field(default_factory=list[Effects])

    async def write(self, *effects: Effects) -> None:
        """Submit and wait until the journal is done with them."""
        for one in effects:
            self.journal.submit(one, self.committed.append)
        await self.journal.drained()


@asynccontextmanager
async def running(
    database: EngineDatabase, *, term: int | None = None, lanes: int = 2, batch_rows_max: int = 4_000
) -> AsyncIterator[Run]:
    """A journal of a fresh term, or of `term`, that is cancelled in the end."""
    own = await database.leases().join("journal", _LEASE_S) if term is None else term
    rejected: list[tuple[Effects, Exception]] = []
    journal = database.journal(
        own, lambda effects, error: rejected.append((effects, error)), lanes=lanes, batch_rows_max=batch_rows_max
    )
    run = Run(own, journal, asyncio.create_task(journal.run()), rejected)
    try:
        yield run
    finally:
        run.task.cancel()
        await asyncio.wait([run.task])
        if not run.task.cancelled():
            run.task.exception()


class JournalContract:
    """The contract of `ports.Journal`."""

    async def test_rows_are_durable_when_the_callback_runs(self, database: EngineDatabase) -> None:
        """A callback finds its rows in the database, with every field as it was submitted."""
        [execution] = await database.insert_executions(["e"])
        async with running(database) as run:
            row = node_row(execution, "n0", NodePhase.RUNNING, seq=3, inputs=b"in")
            effects = effects_of(row, tasks=[task_row(execution, "n0", TaskPhase.RUNNING)])
            effects.execution_row = ExecutionRow(execution, ExecutionPhase.RUNNING, NOW + 1, started_at=NOW)
            await run.write(effects)
            assert run.committed == [effects]
            [node] = await database.nodes(execution)
            assert (node["node_id"], node["seq"], node["phase"], node["attempt"]) == ("n0", 3, NodePhase.RUNNING, 0)
            assert (node["inputs"], node["outputs"], node["created_at"]) == (b"in", None, NOW)
            assert node["ended_at"] is None
            [attempt] = await database.attempts(execution)
            assert (attempt["name"], attempt["phase"]) == ("e-n0-0", TaskPhase.RUNNING)
            stored = await database.execution(execution)
            assert (stored["phase"], stored["started_at"]) == (ExecutionPhase.RUNNING, NOW)
            assert await database.transitions(execution) == [("n0", 0, NodePhase.RUNNING)]
            assert run.journal.backlog == 0

    @pytest.mark.parametrize("apart", [False, True])
    async def test_none_leaves_stored_values(self, database: EngineDatabase, *, apart: bool) -> None:
        """Inputs written once survive later versions that do not repeat them, in one batch and in several; errors go
        when the node runs again."""
        [execution] = await database.insert_executions(["e"])
        failure = Failure(ErrorKind.USER, "Oops", "no")
        versions = [
            effects_of(node_row(execution, "n0", NodePhase.QUEUED, inputs=b"in")),
            effects_of(node_row(execution, "n0", NodePhase.FAILING, failure=failure)),
            effects_of(node_row(execution, "n0", NodePhase.SUCCEEDED, outputs=b"out", ended_at=NOW)),
        ]
        async with running(database) as run:
            if apart:
                for version in versions:
                    await run.write(version)
            else:
                await run.write(*versions)
        [node] = await database.nodes(execution)
        assert (node["phase"], node["inputs"], node["outputs"]) == (NodePhase.SUCCEEDED, b"in", b"out")
        assert (node["error"], node["ended_at"]) == (None, NOW)
        assert [phase for _, _, phase in await database.transitions(execution)] == [1, 4, 3]

    async def test_order_is_kept_under_load(self, database: EngineDatabase) -> None:
        """With batches much smaller than what is submitted, callbacks and transitions of each execution keep their
        order, and every transition is there once."""
        executions = await database.insert_executions([f"e{number}" for number in range(10)])
        async with running(database, batch_rows_max=50) as run:
            for number in range(50):
                for execution in executions:
                    effects = effects_of(node_row(execution, f"n{number % 5}", NodePhase.RUNNING))
                    effects.transitions = [Transition(execution, "n", number, NodePhase.RUNNING, NOW)]
                    run.journal.submit(effects, run.committed.append)
            await run.journal.drained()
            for execution in executions:
                own = [effects.transitions[0].attempt for effects in run.committed if effects.execution == execution]
                assert own == list(range(50))
                assert [attempt for _, attempt, _ in await database.transitions(execution)] == list(range(50))

    async def test_aborting_is_not_undone(self, database: EngineDatabase) -> None:
        """Progress written after a request to abort does not hide it; the final phase does end it."""
        [execution] = await database.insert_executions(["e"])
        await database.request_abort(execution, "enough")
        async with running(database) as run:
            await run.write(Effects(execution, execution_row=ExecutionRow(execution, ExecutionPhase.RUNNING, NOW, NOW)))
            assert (await database.execution(execution))["phase"] == ExecutionPhase.ABORTING
            failure = Failure(ErrorKind.USER, "Aborted\0", "stop")
            row = ExecutionRow(execution, ExecutionPhase.ABORTED, NOW, NOW, ended_at=NOW + 2, failure=failure)
            await run.write(Effects(execution, execution_row=row))
        ended = await database.execution(execution)
        assert (ended["phase"], ended["error_code"], ended["error_kind"]) == (
            ExecutionPhase.ABORTED,
            "Aborted",
            ErrorKind.USER,
        )
        assert ended["ended_at"] == NOW + 2

    async def test_an_ended_term_writes_nothing(self, database: EngineDatabase) -> None:
        """When the term is gone the journal ends with LeaseLostError, calls nothing back and leaves no row."""
        [execution] = await database.insert_executions(["e"])
        async with running(database) as run:
            await run.write(effects_of(node_row(execution, "n0", NodePhase.QUEUED)))
            await database.end_term(run.term)
            run.committed.clear()
            with pytest.raises(LeaseLostError):
                await run.write(effects_of(node_row(execution, "n0", NodePhase.SUCCEEDED)))
            with pytest.raises(LeaseLostError):
                await run.task
            assert run.committed == []
        [node] = await database.nodes(execution)
        assert node["phase"] == NodePhase.QUEUED
        assert len(await database.transitions(execution)) == 1

    async def test_a_term_that_ended_before_writes_nothing(self, database: EngineDatabase) -> None:
        """A journal that is opened after its term has ended fails at once."""
        term = await database.leases().join("late", _LEASE_S)
        await database.end_term(term)
        async with running(database, term=term) as run:
            with pytest.raises(LeaseLostError):
                await run.task

    async def test_a_lost_answer_writes_nothing_twice(self, database: EngineDatabase) -> None:
        """A batch whose commit succeeded while its answer was lost is recognised: no transition is doubled, and every
        callback runs once."""
        executions = await database.insert_executions([f"e{number}" for number in range(4)])
        async with running(database, lanes=1) as run:
            await run.write(effects_of(node_row(executions[0], "n0", NodePhase.QUEUED)))
            for _ in range(3):
                database.cut()
                await run.write(*(effects_of(node_row(one, "n0", NodePhase.RUNNING)) for one in executions))
            logged = [len(await database.transitions(execution)) for execution in executions]
            assert logged == [4, 3, 3, 3]
            assert len(run.committed) == 1 + 3 * len(executions)

    async def test_a_refused_row_is_isolated(self, database: EngineDatabase) -> None:
        """A value that the database refuses ends its own effects only, with the reason; the rest of the batch
        commits."""
        executions = await database.insert_executions([f"e{number}" for number in range(30)])
        bad = executions[17]
        async with running(database) as run:
            await run.write(
                *(
                    effects_of(node_row(one, "n0", NodePhase.QUEUED, node_name="a\0b" if one == bad else "fine"))
                    for one in executions
                )
            )
            assert [effects.execution for effects, _ in run.rejected] == [bad]
            assert {effects.execution for effects in run.committed} == set(executions) - {bad}
        assert [len(await database.nodes(one)) for one in executions].count(0) == 1
        assert await database.nodes(bad) == []
        assert await database.transitions(bad) == []

    async def test_a_raising_callback_stops_nobody_else(self, database: EngineDatabase) -> None:
        """An error in one callback is reported for its effects; later callbacks run."""
        executions = await database.insert_executions(["e0", "e1", "e2"])

        def fail(effects: Effects) -> None:
            raise RuntimeError("callback")

        async with running(database) as run:
            for number, execution in enumerate(executions):
                effects = effects_of(node_row(execution, "n0", NodePhase.QUEUED))
                run.journal.submit(effects, fail if number == 1 else run.committed.append)
            await run.journal.drained()
            assert len(run.committed) == 2
            assert [effects.execution for effects, _ in run.rejected] == [executions[1]]

    async def test_a_cancel_flushes(self, database: EngineDatabase) -> None:
        """What was submitted before a cancel is durable after it."""
        executions = await database.insert_executions([f"e{number}" for number in range(100)])
        async with running(database, batch_rows_max=10) as run:
            await run.write(effects_of(node_row(executions[0], "n0", NodePhase.QUEUED)))
            for execution in executions:
                run.journal.submit(effects_of(node_row(execution, "n1", NodePhase.QUEUED)), run.committed.append)
            run.task.cancel()
            await asyncio.wait([run.task])
            assert run.task.cancelled()
            assert len(run.committed) == 101
        assert sum([len(await database.nodes(execution)) for execution in executions]) == 101

    async def test_a_lane_goes_on_with_its_numbers(self, database: EngineDatabase) -> None:
        """A second journal of the same term does not take its own first batches for repeated ones."""
        executions = await database.insert_executions(["e0", "e1"])
        async with running(database) as first:
            await first.write(*(effects_of(node_row(one, "n0", NodePhase.QUEUED)) for one in executions))
        async with running(database, term=first.term) as second:
            await second.write(*(effects_of(node_row(one, "n0", NodePhase.RUNNING)) for one in executions))
        phases = [(await database.nodes(execution))[0]["phase"] for execution in executions]
        assert phases == [NodePhase.RUNNING, NodePhase.RUNNING]
