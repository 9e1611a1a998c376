"""Lineage as the journal's commit writes it: with the rows of the nodes, once, and never in their way."""

import asyncpg
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
    """A cache hit leaves an edge to the node that made the entry, as far as its execution is still there, and of maps
    also which elements took which."""
    first, second = await insert_executions(pool, 2)
    name = await pool.fetchval("SELECT name FROM executions WHERE id = $1", first)
    effects = effects_of(*(node_row(second, node, NodePhase.SUCCEEDED) for node in ("n0", "n1", "n2")))

    def cached(node: str, execution: str = name, **elements: int) -> LineageRow:
        token = f"p:d:{execution}"
        return LineageRow(LineageKind.CACHED, second, node, token=token, source_node_id="m0", **elements)

    effects.lineage += [
        cached("n0"),
        cached("n1", "gone", first=0, source_first=0),
        cached("n2", first=0, run_length=3, source_first=2),
        cached("n2", first=4, source_first=-1),
    ]
    await journal.write(effects)
    edges = await pool.fetch("SELECT * FROM lineage_edges ORDER BY node_id")
    assert [tuple(row) for row in edges] == [
        (second, "n0", LineageKind.CACHED, first, "m0"),
        (second, "n2", LineageKind.CACHED, first, "m0"),
    ]
    elements = await pool.fetch("SELECT * FROM lineage_elements ORDER BY first")
    assert [tuple(row) for row in elements] == [
        (second, "n2", 0, 3, first, "m0", 2),
        (second, "n2", 4, 1, first, "m0", -1),
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
