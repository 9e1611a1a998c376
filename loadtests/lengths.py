"""Whether a node costs the same in a long workflow as in a short one.

    python -m loadtests.lengths [--live 50] [--short 10] [--long 1000] [--turns 3] [--shape chain]

One engine process drives, with the instant runtime over a real Postgres, `live` executions of `long` nodes, `turns`
times, and in between, with as many alive, executions of `short` nodes until both were as many nodes. So commits are
alike, what the machine does beside meets both, and what is left is the length.

    chain_10_us_per_node, chain_1000_...    processor time of the engine process, by task node
    chain_10_wall_us_per_node, ...          by the clock, from the first rows submitted to the last execution's end
    ratio, wall_ratio                       long by short: about 1 when a node costs the same. What each execution costs
                                            by itself (reading it, its first and last row) a short one spreads over few
                                            nodes, so it is a bit below 1; `execution_us` is an estimate of that
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from itertools import count

import asyncpg
import structlog
import uvloop

from loadtests.database import insert_executions, register_workflow, temporary_database
from loadtests.instant_engine import InstantEngine, instant_engine
from loadtests.shapes import Shape, compiled_workflow
from wingbeat_propeller.engine.collector import relax_collector
from wingbeat_propeller.postgres.pool import create_pool


@dataclass(slots=True)
class Cost:
    """Seconds that nodes took."""

    nodes: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0

    @property
    def cpu_us_per_node(self) -> float:
        """Processor time of a node."""
        return self.cpu_s / self.nodes * 1e6

    @property
    def wall_us_per_node(self) -> float:
        """The same by the clock."""
        return self.wall_s / self.nodes * 1e6


class Rounds:
    """Runs executions in rounds on one engine."""

    def __init__(self, pool: asyncpg.Pool, engine: InstantEngine, live: int) -> None:
        self._pool = pool
        self._engine = engine
        self._live = live
        self._numbers = count()

    async def run(self, workflow: int, nodes: int, cost: Cost) -> None:
        """Launch `live` executions of a workflow at once, wait for them, add what they cost."""
        names = [f"e{next(self._numbers)}" for _ in range(self._live)]
        await insert_executions(self._pool, workflow, names)
        self._engine.journal.expect(self._live)
        cpu = time.process_time()
        await self._pool.execute("SELECT pg_notify('wingbeat_new', '')")
        await self._engine.ended()
        cost.cpu_s += time.process_time() - cpu
        cost.wall_s += self._engine.journal.took_s
        cost.nodes += self._live * nodes


async def measure(shape: Shape, live: int, short: int, long: int, turns: int) -> dict[str, object]:
    """Run both lengths in turn; returns what is printed."""
    async with temporary_database() as database:
        pool = await create_pool(database.dsn, size_max=6, application_name="loadtest")
        short_workflow = await register_workflow(pool, compiled_workflow(shape, short))
        long_workflow = await register_workflow(pool, compiled_workflow(shape, long))
        async with instant_engine(pool, database, executions=live) as engine:
            rounds = Rounds(pool, engine, live)
            for workflow, nodes in ((short_workflow, short), (long_workflow, long)):
                await rounds.run(workflow, nodes, Cost())  # plans are made, pages are warm
            short_cost, long_cost = Cost(), Cost()
            for _ in range(turns):
                while short_cost.nodes < long_cost.nodes + live * long // 2:
                    await rounds.run(short_workflow, short, short_cost)
                await rounds.run(long_workflow, long, long_cost)
            while short_cost.nodes < long_cost.nodes:
                await rounds.run(short_workflow, short, short_cost)
        pool.terminate()
    saved_us = short_cost.cpu_us_per_node - long_cost.cpu_us_per_node
    return {
        "shape": shape,
        "live": live,
        "nodes_of_each": long_cost.nodes,
        f"{shape}_{short}_us_per_node": round(short_cost.cpu_us_per_node, 1),
        f"{shape}_{long}_us_per_node": round(long_cost.cpu_us_per_node, 1),
        "ratio": round(long_cost.cpu_us_per_node / short_cost.cpu_us_per_node, 3),
        "execution_us": round(saved_us / (1 / short - 1 / long)),
        f"{shape}_{short}_wall_us_per_node": round(short_cost.wall_us_per_node, 1),
        f"{shape}_{long}_wall_us_per_node": round(long_cost.wall_us_per_node, 1),
        "wall_ratio": round(long_cost.wall_us_per_node / short_cost.wall_us_per_node, 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.lengths", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--shape", type=Shape, choices=[Shape.CHAIN, Shape.FAN, Shape.DIAMOND], default=Shape.CHAIN)
    parser.add_argument("--live", type=int, default=50)
    parser.add_argument("--short", type=int, default=10)
    parser.add_argument("--long", type=int, default=1_000)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    relax_collector()  # as the role does
    print(json.dumps(uvloop.run(measure(given.shape, given.live, given.short, given.long, given.turns))))


if __name__ == "__main__":
    main()
