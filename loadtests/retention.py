"""Whether the database stays as large as it is while executions come and go under a policy of 30 days.

    python -m loadtests.retention [--executions 1000000] [--cycles 3] [--nodes 2] [--rest 1.0]

Fills a database with executions of the last 30 days, then, `cycles` times, lets 30 days pass: as many new executions
come, a tenth at a time, while the pruner of the server takes those that are too old by then, and a client lists
executions all the while. Prints JSON.

    size_bytes                  of the database: before the first cycle, and after each
    growth                      the last one by the first cycle's: 1 when it stays flat. The first cycle itself leaves
                                room for rows that wait for their vacuum
    list_p50_ms, list_p99_ms    ListExecutions of 100 of a project, newest first, while pruning
    quiet_list_p99_ms           the same before
    pruned_per_s                with the rests
    list_cpu_p50_ms, list_cpu_p99_ms    processor time of this process during a list, its share of the pruner included
    fill_s, prune_s             how long the fillings and the prunings took

What is known so far goes to stderr after each tenth of a cycle.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog
from flyteidl.admin import common_pb2

from loadtests.database import temporary_database
from loadtests.filling import DOMAIN, PROJECTS, fill_executions
from wingbeat_controlplane.executions.data import DataReader
from wingbeat_controlplane.executions.execution_reads import ExecutionReads
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.projects import ProjectStore
from wingbeat_controlplane.retention.policies import PolicyStore
from wingbeat_controlplane.retention.policy import Policy
from wingbeat_controlplane.retention.pruner import Pruner, PrunerOptions
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.blobs.signing import ServedUrlSigner
from wingbeat_propeller.postgres.pool import create_pool

DAYS = 30
_STEPS = 10


class Lister:
    """Lists executions over and over and keeps how long it took."""

    def __init__(self, reads: ExecutionReads) -> None:
        self._reads = reads
        self.times_ms: list[float] = []
        self.cpu_ms: list[float] = []

    async def run(self) -> None:
        """Until cancelled."""
        number = 0
        while True:
            request = common_pb2.ResourceListRequest(limit=100)
            request.id.project, request.id.domain = PROJECTS[number % len(PROJECTS)], DOMAIN
            request.sort_by.key, request.sort_by.direction = "created_at", common_pb2.Sort.DESCENDING
            began, cpu_began = time.perf_counter(), time.thread_time()
            await self._reads.list(request)
            self.times_ms.append((time.perf_counter() - began) * 1000)
            self.cpu_ms.append((time.thread_time() - cpu_began) * 1000)
            number += 1
            await asyncio.sleep(0.02)


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)


async def measure(executions: int, cycles: int, nodes: int, rest: float) -> dict[str, object]:
    """Run the cycles; returns what is printed."""
    async with temporary_database() as database:
        pool = await create_pool(database.dsn, size_max=4, application_name="loadtest")
        started = time.perf_counter()
        now = datetime.now(UTC)
        begin = now - timedelta(days=DAYS)
        await fill_executions(pool, executions, nodes=nodes, begin=begin, end=now)
        blobs = FolderBlobs(database.folder / "blobs")
        options = ExecutionOptions()
        signer = ServedUrlSigner(base=blobs.base, http_base_url="", key=b"0" * 32)
        data = DataReader(blobs, signer, inline_bytes_max=1, single_bytes_max=1, link_life_s=1)
        reads = ExecutionReads(pool, blobs, data, options)
        quiet, busy = Lister(reads), Lister(reads)
        await _listing(quiet, asyncio.sleep(3))

        policies = PolicyStore(pool, ProjectStore(pool, RegistryOptions()), Policy(executions_days=DAYS))
        pruner = Pruner(database.dsn, policies, PrunerOptions(rest=rest, vacuum_rows_min=min(20_000, executions // 20)))
        sizes = [await _size(pool)]
        pruned, fill_s, prune_s = 0, time.perf_counter() - started, 0.0

        def result() -> dict[str, object]:
            return {
                "executions": executions,
                "size_bytes": sizes,
                "growth": round(sizes[-1] / sizes[min(1, len(sizes) - 1)], 3),
                "pruned": pruned,
                "pruned_per_s": round(pruned / max(prune_s, 0.001)),
                "list_p50_ms": _quantile(busy.times_ms, 0.5),
                "list_p99_ms": _quantile(busy.times_ms, 0.99),
                "list_cpu_p50_ms": _quantile(busy.cpu_ms, 0.5),
                "list_cpu_p99_ms": _quantile(busy.cpu_ms, 0.99),
                "lists": len(busy.times_ms),
                "quiet_list_p99_ms": _quantile(quiet.times_ms, 0.99),
                "fill_s": round(fill_s),
                "prune_s": round(prune_s),
            }

        for cycle in range(cycles):
            for step in range(_STEPS):
                first = executions * (cycle + 1) + executions * step // _STEPS
                last = executions * (cycle + 1) + executions * (step + 1) // _STEPS
                later = now + timedelta(days=DAYS / _STEPS)
                began = time.perf_counter()
                await fill_executions(pool, last - first, first=first, nodes=nodes, begin=now, end=later, settle=False)
                fill_s += time.perf_counter() - began
                now = later
                began = time.perf_counter()

                async def prune(instant: datetime = now) -> None:
                    nonlocal pruned
                    pruned += await pruner.prune(instant) or 0

                await _listing(busy, prune())
                prune_s += time.perf_counter() - began
                so_far = {"cycle": cycle, "step": step, "size": await _size(pool), **result()}
                print(json.dumps(so_far), file=sys.stderr, flush=True)
            sizes.append(await _size(pool))
        left = await pool.fetchval("SELECT count(*) FROM executions")
        await pool.close()
        return {"cycles": cycles, "left": left, **result()}


async def _listing(lister: Lister, work: Awaitable[object]) -> None:
    listing = asyncio.create_task(lister.run(), name="lister")
    try:
        await work
    finally:
        listing.cancel()
        with suppress(asyncio.CancelledError):
            await listing


async def _size(pool: asyncpg.Pool) -> int:
    size: int = await pool.fetchval("SELECT pg_database_size(current_database())")
    return size


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--rest", type=float, default=1.0, help="rest after a batch, by the time it took")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    result = asyncio.run(measure(options.executions, options.cycles, options.nodes, options.rest))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
