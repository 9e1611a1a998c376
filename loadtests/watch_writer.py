"""A writer of the watch measurement: an engine's journal without an engine, at a steady rate.

    python -m loadtests.watch_writer DSN RATE SECONDS FIRST COUNT FOLDER

Writes a node's row and its transition each time, through the journal that engines use, for executions with row ids
FIRST to FIRST + COUNT - 1 in turn. In the end it prints one JSON line: for each transition the execution, the number of
the node, and when it was submitted and when the journal said that it is durable, by the clock that all processes share.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.phases import NodePhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.rows import NodeRow, Transition
from wingbeat_propeller.postgres.journal import PostgresJournal
from wingbeat_propeller.postgres.leases import PostgresLeases
from wingbeat_propeller.postgres.pool import create_pool

_TICK_S = 0.004


async def write(dsn: str, rate: float, seconds: float, first: int, count: int, folder: str) -> list[object]:
    """Write; [execution, node, submitted, durable] of each."""
    pool = await create_pool(dsn, size_max=1, application_name="load writer")
    term = await PostgresLeases(pool).join("load writer", 3600)

    def refuse(effects: Effects, error: Exception) -> None:
        raise RuntimeError(f"rows of {effects.execution} were refused") from error

    journal = PostgresJournal(dsn, term=term, blobs=FolderBlobs(Path(folder)), rejected=refuse)
    running = asyncio.create_task(journal.run(), name="journal")
    done: list[object] = []
    began = time.monotonic()
    submitted = 0
    while submitted < rate * seconds:
        due = min(round(rate * (time.monotonic() - began)), round(rate * seconds))
        for number in range(submitted, due):
            _submit(journal, ExecutionKey(first + number % count), number, done)
        submitted = due
        await asyncio.sleep(_TICK_S)
    await journal.drained()
    running.cancel()
    await asyncio.wait([running])
    await pool.close()
    return done


def _submit(journal: PostgresJournal, key: ExecutionKey, number: int, done: list[object]) -> None:
    now = time.time()
    node = f"n{number}"
    effects = Effects(key)
    row = NodeRow(
        key, node, number % 30_000, node, None, None, node, NodeKind.TASK, 0, NodePhase.SUCCEEDED, 0, 0, now, now
    )
    effects.nodes.append(row)
    effects.transitions.append(Transition(key, node, 0, NodePhase.SUCCEEDED, now))
    at = time.monotonic()
    journal.submit(effects, lambda _: done.append((int(key), number, at, time.monotonic())))


def main() -> None:
    """Write and print."""
    dsn, rate, seconds, first, count, folder = sys.argv[1:]
    print(json.dumps(asyncio.run(write(dsn, float(rate), float(seconds), int(first), int(count), folder))))


if __name__ == "__main__":
    main()
