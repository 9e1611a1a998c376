"""Lineage as the journal's commit writes it: with the rows of the nodes, once, and never in their way."""

import asyncpg
from flyteidl.core import catalog_pb2
from flyteidl.event import event_pb2
from tests.integration.journal.conftest import JournalRun
from tests.integration.journal.rows import effects_of, insert_executions, node_row

from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.rows import LineageKind, LineageRow


async def test_all_kinds(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """Tokens, recovered nodes and outputs that are to become artifacts stand in their tables after the commit."""
    first, second = await insert_executions(pool, 2)
    effects = effects_of(node_row(second, "n0", NodePhase.SUCCEEDED))
    effects.lineage += [
        LineageRow(LineageKind.MADE, second, "n0", 0, "o0", "uri:s3://b/k"),
        LineageRow(LineageKind.RECOVERED, second, "n0", source_execution=first, source_node_id="m0"),
        LineageRow(LineageKind.RECOVERED, second, "n0", source_execution=first, source_node_id="m0"),
        LineageRow(LineageKind.ARTIFACTS, second, "n0", 3),
    ]
    await journal.write(effects)
    assert [tuple(row) for row in await pool.fetch("SELECT * FROM lineage_values")] == [
        (second, "n0", "o0", "uri:s3://b/k")
    ]
    assert [tuple(row) for row in await pool.fetch("SELECT * FROM lineage_edges")] == [
        (second, "n0", LineageKind.RECOVERED, first, "m0")
    ]
    outbox = await pool.fetch("SELECT execution_id, node_id, attempt FROM artifact_outbox")
    assert [tuple(row) for row in outbox] == [(second, "n0", 3)]


async def test_cached_nodes_name_their_source(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """A cache hit leaves an edge to the node that made the entry, as far as its execution is still there."""
    first, second = await insert_executions(pool, 2)
    name = await pool.fetchval("SELECT name FROM executions WHERE id = $1", first)
    rows = [node_row(second, node, NodePhase.SUCCEEDED) for node in ("n0", "n1")]
    for row, execution in zip(rows, (name, "gone"), strict=True):
        event = event_pb2.NodeExecutionEvent()
        source = event.task_node_metadata.catalog_key.source_task_execution.node_execution_id
        source.node_id = "m0"
        source.execution_id.project, source.execution_id.domain, source.execution_id.name = "p", "d", execution
        row.cache_status, row.details = catalog_pb2.CACHE_HIT, event.SerializeToString()
    await journal.write(effects_of(*rows))
    assert [tuple(row) for row in await pool.fetch("SELECT * FROM lineage_edges")] == [
        (second, "n0", LineageKind.CACHED, first, "m0")
    ]
    assert not journal.rejected


async def test_an_execution_that_is_gone_is_no_fault(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """Rows of an execution that was pruned meanwhile do not refuse the batch of others."""
    (execution,) = await insert_executions(pool, 1)
    gone = ExecutionKey(execution + 1_000)
    effects = effects_of(node_row(gone, "n0", NodePhase.SUCCEEDED))
    effects.lineage += [
        LineageRow(LineageKind.MADE, gone, "n0", 0, "o0", "uri:s3://b/k"),
        LineageRow(LineageKind.RECOVERED, gone, "n0", source_execution=execution, source_node_id="m0"),
        LineageRow(LineageKind.ARTIFACTS, gone, "n0"),
    ]
    await journal.write(effects, effects_of(node_row(execution, "n0", NodePhase.RUNNING)))
    assert not journal.rejected
    assert await pool.fetchval("SELECT count(*) FROM lineage_values") == 0


async def test_it_goes_with_the_execution(journal: JournalRun, pool: asyncpg.Pool) -> None:
    """Deleting an execution deletes what was noted of it."""
    (execution,) = await insert_executions(pool, 1)
    effects = effects_of(node_row(execution, "n0", NodePhase.SUCCEEDED))
    effects.lineage.append(LineageRow(LineageKind.MADE, execution, "n0", 0, "o0", "uri:s3://b/k"))
    await journal.write(effects)
    await pool.execute("DELETE FROM executions WHERE id = $1", execution)
    assert await pool.fetchval("SELECT count(*) FROM lineage_values") == 0
