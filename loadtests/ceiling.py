"""The machine's own ceiling: the rows of a run written again with nothing around them.

Two connections write, in full batches and as fast as they can, as many rows of each table as the engine's journal
made durable (after coalescing), patterned on rows of the run, by the same statement. No engine, no events, no encoding
of rows: what remains is asyncpg, Postgres and the disk.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import asyncpg
from prometheus_client import REGISTRY

from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.rows import ExecutionRow, Transition
from wingbeat_propeller.postgres.journal import connect_journal
from wingbeat_propeller.postgres.journal_batch import BatchRecords, batch_records, plain_commit
from wingbeat_propeller.postgres.journal_lane import JournalOptions
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_propeller.postgres", "journal.sql")
_LANES = 2


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """Rows that a journal made durable, by table, and in how many commits."""

    executions: int
    nodes: int
    tasks: int
    elements: int
    transitions: int
    commits: int

    @property
    def total(self) -> int:
        """All rows."""
        return self.executions + self.nodes + self.tasks + self.elements + self.transitions

    def __sub__(self, before: "WrittenRows") -> "WrittenRows":
        return WrittenRows(
            self.executions - before.executions,
            self.nodes - before.nodes,
            self.tasks - before.tasks,
            self.elements - before.elements,
            self.transitions - before.transitions,
            self.commits - before.commits,
        )


def written_rows() -> WrittenRows:
    """What this process's journals wrote so far, by their own metrics."""

    def rows(table: str) -> int:
        return int(REGISTRY.get_sample_value("wingbeat_journal_rows_total", {"table": table}) or 0)

    commits = int(REGISTRY.get_sample_value("wingbeat_journal_commit_seconds_count") or 0)
    return WrittenRows(
        rows("executions"),
        rows("node_executions"),
        rows("task_executions"),
        rows("array_elements"),
        rows("transitions"),
        commits,
    )


async def ceiling_s(
    pool: asyncpg.Pool, dsn: str, rows: WrittenRows, patterns: Effects, ids: Sequence[int], *, nodes: int
) -> float:
    """Seconds that the bare journal takes for `rows`, of executions with `nodes` task nodes each.

    `ids` are executions that exist and have no other rows yet, as many as the run had; `patterns` has a row of each
    table.
    """
    term = await PostgresLeases(pool).join("ceiling", 3600)
    per_lane = [
        _batches(rows, patterns, [ExecutionKey(key) for key in ids[lane::_LANES]], lane=lane, nodes=nodes)
        for lane in range(min(_LANES, len(ids)))
    ]
    connections = [await connect_journal(dsn) for _ in per_lane]
    try:
        for lane, connection in enumerate(connections):
            await connection.fetchval(_SQL["open_lane"], term, lane)
        whole = [await connection.prepare(_SQL["commit"]) for connection in connections]
        plain = [await connection.prepare(plain_commit(_SQL["commit"])) for connection in connections]

        async def write(lane: int) -> None:
            for number, batch in enumerate(per_lane[lane], start=1):
                commit = plain[lane] if batch.is_plain else whole[lane]
                await commit.fetchval(term, lane, number, *batch.parameters)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as lanes:
            for lane in range(len(per_lane)):
                lanes.create_task(write(lane), name=f"ceiling lane {lane}")
        return time.perf_counter() - began
    finally:
        for connection in connections:
            await connection.close()


def _batches(
    rows: WrittenRows, patterns: Effects, keys: Sequence[ExecutionKey], *, lane: int, nodes: int
) -> list[BatchRecords]:
    """One lane's half of `rows`, the tables mixed evenly over full batches.

    A table's rows go round the same keys as often as the run wrote versions of them: inserts first, then updates.
    """
    execution_row = patterns.execution_row
    assert execution_row is not None, "no execution has ended"
    executions = len(keys)
    distinct = {rows.executions: executions, rows.nodes: executions * (nodes + 2), rows.tasks: executions * nodes}
    count = max(
        -(-rows.total // (_LANES * JournalOptions().batch_rows_max)),
        *(-(-written // (_LANES * keys_of_table)) for written, keys_of_table in distinct.items()),
    )

    def part(written: int, number: int) -> range:
        mine = written // _LANES + (lane < written % _LANES)
        return range(mine * number // count, mine * (number + 1) // count)

    batches: list[BatchRecords] = []
    for number in range(count):
        effects = Effects(keys[0])
        effects.nodes = [
            replace(patterns.nodes[0], execution=keys[i % executions], node_id=f"n{i // executions % (nodes + 2)}")
            for i in part(rows.nodes, number)
        ]
        effects.tasks = [
            replace(patterns.tasks[0], execution=keys[i % executions], node_id=f"n{i // executions % nodes}")
            for i in part(rows.tasks, number)
        ]
        effects.elements = [
            patterns.elements[0]._replace(execution=keys[i % executions], element=i // executions)
            for i in part(rows.elements, number)
        ]
        effects.transitions = [
            Transition(keys[i % executions], f"n{i // executions % nodes}", 0, 3, execution_row.updated_at)
            for i in part(rows.transitions, number)
        ]
        ends = [_end(replace(execution_row, execution=keys[i % executions])) for i in part(rows.executions, number)]
        batches.append(batch_records([effects, *ends], base=""))
    return batches


def _end(row: ExecutionRow) -> Effects:
    effects = Effects(row.execution)
    effects.execution_row = row
    return effects
