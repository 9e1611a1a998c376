"""What every reader of source executions must do; subclass with a fixture `database` that yields an empty
EngineDatabase."""

import dataclasses

from tests.conformance.engine_database import NOW, EngineDatabase, effects_of, node_row
from tests.conformance.journal import running

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.phases import NodePhase, TaskPhase
from wingbeat_propeller.core.rows import ElementRow
from wingbeat_propeller.ports.sources import SourceExecution


def _element(execution: ExecutionKey, index: int, attempt: int, phase: TaskPhase, array: str = "n0") -> ElementRow:
    return ElementRow(
        execution, array, index, attempt, phase, attempt, NOW, NOW + 1, NOW + 2, outputs=b"o", details=b"d"
    )


class SourcesContract:
    """The contract of `ports.Sources`."""

    async def test_an_execution_by_its_row_id(self, database: EngineDatabase) -> None:
        """With what is needed to compare it; None for one that is gone."""
        [execution] = await database.insert_executions(["e"])
        found = await database.sources().execution(execution)
        assert found is not None
        assert found == SourceExecution(execution, "e", found.workflow_id, b"cfg")
        assert await database.sources().execution(execution + 1) is None

    async def test_nodes_of_several_executions(self, database: EngineDatabase) -> None:
        """Those that exist, with every field as it was journaled."""
        one, other = await database.insert_executions(["one", "other"])
        node = node_row(one, "n0", NodePhase.SUCCEEDED, inputs=b"i", outputs=b"o", ended_at=NOW + 1)
        node = dataclasses.replace(node, memo=b"2", inherited="mem://old", cache_status=2, flags=2, details=b"\x08\x01")
        written = effects_of(node, node_row(one, "n1", NodePhase.FAILED))
        async with running(database) as run:
            await run.write(written, effects_of(node_row(other, "n0", NodePhase.RUNNING)))
        found = await database.sources().nodes([(one, "n0"), (other, "n0"), (other, "n1"), (one, "n7")])
        assert set(found) == {(one, "n0"), (other, "n0")}
        assert found[one, "n0"] == node
        assert await database.sources().nodes([]) == {}

    async def test_elements_that_succeeded(self, database: EngineDatabase) -> None:
        """Of that array and above that index, in order, page by page, with their outputs and details."""
        [execution] = await database.insert_executions(["e"])
        effects = Effects(execution)
        effects.elements += [
            _element(execution, 0, 0, TaskPhase.SUCCEEDED),
            _element(execution, 1, 0, TaskPhase.RETRYABLE_FAILED),
            _element(execution, 1, 1, TaskPhase.SUCCEEDED),
            _element(execution, 2, 0, TaskPhase.FAILED),
            _element(execution, 3, 0, TaskPhase.RUNNING),
            _element(execution, 10, 0, TaskPhase.SUCCEEDED),
            _element(execution, 0, 0, TaskPhase.SUCCEEDED, array="n1"),
        ]
        async with running(database) as run:
            await run.write(effects)
        sources = database.sources()
        found = await sources.elements(execution, "n0", after=-1, limit=2)
        assert list(found) == [effects.elements[0], effects.elements[2]]
        found = await sources.elements(execution, "n0", after=1, limit=2)
        assert [(row.element, row.attempt) for row in found] == [(10, 0)]
        assert not await sources.elements(execution, "n0", after=10, limit=2)
        assert not await sources.elements(execution + 1, "n0", after=-1, limit=2)

    async def test_the_last_attempt_of_an_element(self, database: EngineDatabase) -> None:
        """Whatever became of it; None for one that had not begun."""
        [execution] = await database.insert_executions(["e"])
        effects = Effects(execution)
        effects.elements += [
            _element(execution, 1, 0, TaskPhase.RETRYABLE_FAILED),
            _element(execution, 1, 1, TaskPhase.FAILED),
            _element(execution, 2, 5, TaskPhase.FAILED),
        ]
        async with running(database) as run:
            await run.write(effects)
        sources = database.sources()
        assert [await sources.last_attempt(execution, "n0", element) for element in (0, 1, 2)] == [None, 1, 5]
