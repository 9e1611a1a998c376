"""How fast the engine drives workflows when tasks take no time: the real engine, journal, leases and intake over a real
Postgres with fsync on, and a runtime that ends every attempt at once.

    python -m loadtests.engine --executions 1000 --nodes 10 --shape diamond [--live]
    python -m loadtests.engine --shape map --elements 100000

All executions are launched before the clock starts; it runs from the first rows submitted to the last execution
durably ended. `nodes_per_s` counts task nodes; `transitions_per_s` counts rows of the log. Latencies are from the end
of an attempt to the launch of what follows it, the commit between them included (for a fan, where nothing follows, to
the commit). `--live` paces the load: attempts take `--task-s` seconds on average, so that all executions are alive at
once and latency is that of a process with room; throughput is then what was asked for, not what is possible.

A `map` is one execution of one array node; its elements count as nodes.

`ceiling_nodes_per_s` is the bare journal in the same run (see ceiling.py), `ratio` the engine's share of it.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg
import structlog
import uvloop

from loadtests.ceiling import WrittenRows, ceiling_s, written_rows
from loadtests.database import (
    TemporaryDatabase,
    insert_executions,
    register_workflow,
    store_inputs,
    temporary_database,
)
from loadtests.instant_engine import instant_engine
from loadtests.shapes import Shape, compiled_workflow, inputs_of
from wingbeat_propeller.core.effects import Effects
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.engine.collector import relax_collector
from wingbeat_propeller.postgres.pool import create_pool


@dataclass(frozen=True, slots=True)
class Options:
    """What to run."""

    executions: int
    nodes: int
    shape: Shape
    task_s: float
    """Mean time an attempt takes; zero for as fast as possible."""


@dataclass(frozen=True, slots=True)
class EngineRun:
    """What the run of the engine showed."""

    took_s: float
    cpu_s: float
    """Processor time of this process."""
    postgres_cpu_s: float
    latencies_s: Sequence[float]
    durable_s: Sequence[float]
    rows: WrittenRows
    patterns: Effects
    stored_bytes: int
    logged_bytes: int
    rss_mib: float


class Disk(NamedTuple):
    """Bytes of the database with its indexes, and of the write-ahead log ever written."""

    stored: int
    logged: int

    @classmethod
    async def of(cls, pool: asyncpg.Pool) -> "Disk":
        """As it is now."""
        row = await pool.fetchrow(
            "SELECT pg_database_size(current_database()), pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
        )
        assert row is not None
        return cls(*row)


async def measure(options: Options) -> dict[str, object]:
    """Run the engine, then the ceiling, on one database; returns what is printed.

    Raises RuntimeError when an execution did not succeed.
    """
    closure = compiled_workflow(options.shape, options.nodes)
    async with temporary_database() as database:
        pool = await create_pool(database.dsn, size_max=6, application_name="loadtest")
        workflow = await register_workflow(pool, closure)
        inputs = await store_inputs(database, inputs_of(options.shape, options.nodes))
        await insert_executions(pool, workflow, [f"e{number}" for number in range(options.executions)], inputs)
        _say(f"{options.executions} executions of {options.shape} with {options.nodes} nodes")
        run = await _run_engine(options, pool, database)
        await _check(pool, options)
        _say(f"engine: {run.took_s:.2f} s; now the bare journal with {run.rows.total} rows")
        await insert_executions(pool, workflow, [f"c{number}" for number in range(options.executions)], inputs)
        fresh = [row["id"] for row in await pool.fetch("SELECT id FROM executions WHERE phase = 0 ORDER BY id")]
        bare_s = await ceiling_s(pool, database.dsn, run.rows, run.patterns, fresh, nodes=options.nodes)
        pool.terminate()
    return _report(options, run, bare_s)


async def _run_engine(options: Options, pool: asyncpg.Pool, database: TemporaryDatabase) -> EngineRun:
    before, disk = written_rows(), await Disk.of(pool)
    cpu = time.process_time()
    postgres_cpu = database.cpu_s()
    async with instant_engine(
        pool,
        database,
        executions=options.executions,
        live_max=max(options.executions, 20_000),
        task_s=options.task_s,
    ) as engine:
        await engine.ended()
        cpu = time.process_time() - cpu
        postgres_cpu = database.cpu_s() - postgres_cpu
    after, grown = written_rows(), await Disk.of(pool)
    return EngineRun(
        took_s=engine.journal.took_s,
        cpu_s=cpu,
        postgres_cpu_s=postgres_cpu,
        latencies_s=engine.runtime.transition_s or engine.durable_s,
        durable_s=engine.durable_s,
        rows=after - before,
        patterns=engine.journal.patterns,
        stored_bytes=grown.stored - disk.stored,
        logged_bytes=grown.logged - disk.logged,
        rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


async def _check(pool: asyncpg.Pool, options: Options) -> None:
    phases = Counter(row["phase"] for row in await pool.fetch("SELECT phase FROM executions"))
    if phases != {ExecutionPhase.SUCCEEDED: options.executions}:
        raise RuntimeError(f"not every execution succeeded; executions by phase: {dict(phases)}")


def _report(options: Options, run: EngineRun, bare_s: float) -> dict[str, object]:
    nodes = options.executions * options.nodes
    nodes_per_s = nodes / run.took_s
    ceiling = nodes / bare_s
    return {
        "executions": options.executions,
        "nodes": options.nodes,
        "shape": options.shape,
        "task_s": options.task_s,
        "seconds": round(run.took_s, 3),
        "nodes_per_s": round(nodes_per_s),
        "transitions_per_s": round(run.rows.transitions / run.took_s),
        **_percentiles("", run.latencies_s),
        **_percentiles("durable_", run.durable_s),
        "rss_mib": round(run.rss_mib),
        "engine_cpu_us_per_node": round(run.cpu_s / nodes * 1e6),
        "postgres_cpu_us_per_node": round(run.postgres_cpu_s / nodes * 1e6),
        "stored_bytes_per_node": round(run.stored_bytes / nodes),
        "logged_bytes_per_node": round(run.logged_bytes / nodes),
        "rows": run.rows.total,
        "rows_per_commit": round(run.rows.total / max(run.rows.commits, 1)),
        "ceiling_nodes_per_s": round(ceiling),
        "ratio": round(nodes_per_s / ceiling, 3),
    }


def _percentiles(prefix: str, seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else [*seconds, 0.0] * 50
    return {f"{prefix}p50_ms": round(cuts[49] * 1000, 2), f"{prefix}p99_ms": round(cuts[98] * 1000, 2)}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m loadtests.engine", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--executions", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=10, help="task nodes of each execution")
    parser.add_argument("--shape", type=Shape, choices=list(Shape), default=Shape.DIAMOND)
    parser.add_argument("--elements", type=int, default=100_000, help="with the shape map: elements of the one array")
    parser.add_argument("--live", action="store_true", help="keep all executions alive at once under a paced load")
    parser.add_argument("--task-s", type=float, default=10.0, help="with --live: mean seconds that an attempt takes")
    given = parser.parse_args()
    if given.shape is Shape.MAP:
        return Options(1, given.elements, given.shape, 0.0)
    return Options(given.executions, given.nodes, given.shape, given.task_s if given.live else 0.0)


def main() -> None:
    """Measure and print."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    relax_collector()  # as the role does
    print(json.dumps(uvloop.run(measure(_options()))))


if __name__ == "__main__":
    main()
