"""What caching costs the engine: the real engine, journal and catalog over a real Postgres with fsync on, and a runtime
that ends every attempt at once.

    python -m loadtests.cache --executions 1000 --nodes 10 --elements 100000

The same workflows run three times: not cacheable (`instant`), cacheable for the first time, when every node is looked
up, runs and is put (`populated`), and cacheable once more, when every node is a hit (`cached`). `cost_ratio` is the
processor time of this process, the engine's, for a cached node by that for an instant one; `cost_ratio_whole` counts
Postgres as well. Each execution has an input of its own, so entries are as many as executions.

Then a map of `elements` different items runs in the same three ways; `map_s` is that of the last one, all hits.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import structlog
import uvloop
from flyteidl.core import catalog_pb2, compiler_pb2, literals_pb2

from loadtests.database import TemporaryDatabase, insert_executions, register_workflow, store_inputs, temporary_database
from loadtests.instant_engine import InstantEngine, instant_engine
from loadtests.shapes import Shape, compiled_workflow, integer
from wingbeat_catalog.cache import PostgresCache
from wingbeat_catalog.options import create_catalog_pool
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.core.phases import ExecutionPhase
from wingbeat_propeller.engine.collector import relax_collector
from wingbeat_propeller.postgres.pool import create_pool


@dataclass(frozen=True, slots=True)
class Options:
    """What to run."""

    executions: int
    nodes: int
    shape: Shape
    elements: int


@dataclass(frozen=True, slots=True)
class Run:
    """What one of the runs took: in all, of this process's processor time, of Postgres's."""

    took_s: float
    cpu_s: float
    postgres_cpu_s: float


async def measure(options: Options) -> dict[str, object]:
    """Run everything on one database; returns what is printed. Raises RuntimeError when something did not succeed, or
    was not cached as it should have been."""
    async with temporary_database() as database:
        pool = await create_pool(database.dsn, size_max=6, application_name="loadtest")
        catalog_pool = await create_catalog_pool(database.dsn, size_max=4, application_name="loadtest cache")
        cache = PostgresCache(catalog_pool, database.dsn, FolderBlobs(database.folder / "blobs"))
        async with instant_engine(pool, database, executions=0, cache=cache) as engine:
            bench = _Bench(options, pool, database, engine)
            instant = await bench.workflows("instant", cacheable=False)
            populated = await bench.workflows("populated", cacheable=True)
            cached = await bench.workflows("cached", cacheable=True)
            await _check(pool, "node_executions", options.executions * options.nodes)
            map_instant = await bench.map("map-instant", cacheable=False)
            map_populated = await bench.map("map-populated", cacheable=True)
            mapped = await bench.map("map-cached", cacheable=True)
            await _check(pool, "array_elements", options.elements)
        catalog_pool.terminate()
        pool.terminate()
    nodes = options.executions * options.nodes
    return {
        "executions": options.executions,
        "nodes": options.nodes,
        "shape": options.shape,
        "instant_nodes_per_s": round(nodes / instant.took_s),
        "populated_nodes_per_s": round(nodes / populated.took_s),
        "cached_nodes_per_s": round(nodes / cached.took_s),
        "instant_cpu_us_per_node": round(instant.cpu_s / nodes * 1e6),
        "populated_cpu_us_per_node": round(populated.cpu_s / nodes * 1e6),
        "cached_cpu_us_per_node": round(cached.cpu_s / nodes * 1e6),
        "cost_ratio": round(cached.cpu_s / instant.cpu_s, 3),
        "cost_ratio_whole": round((cached.cpu_s + cached.postgres_cpu_s) / (instant.cpu_s + instant.postgres_cpu_s), 3),
        "map_elements": options.elements,
        "map_instant_s": round(map_instant.took_s, 2),
        "map_populated_s": round(map_populated.took_s, 2),
        "map_s": round(mapped.took_s, 2),
    }


class _Bench:
    def __init__(
        self, options: Options, pool: asyncpg.Pool, database: TemporaryDatabase, engine: InstantEngine
    ) -> None:
        self._options = options
        self._pool = pool
        self._database = database
        self._engine = engine
        self._workflows: dict[tuple[Shape, bool], int] = {}

    async def workflows(self, what: str, *, cacheable: bool) -> Run:
        """As many executions as asked for, each with its number as input."""
        count = self._options.executions
        workflow = await self._workflow(self._options.shape, cacheable=cacheable)
        names = [f"{what}-{number}" for number in range(count)]
        inputs = [_inputs(integer(number)).SerializeToString() for number in range(count)]
        return await self._run(what, workflow, names, inputs)

    async def map(self, what: str, *, cacheable: bool) -> Run:
        """One execution of one map task over numbers."""
        workflow = await self._workflow(Shape.MAP, cacheable=cacheable)
        items = literals_pb2.LiteralCollection(literals=[integer(number) for number in range(self._options.elements)])
        stored = await store_inputs(self._database, _inputs(literals_pb2.Literal(collection=items)))
        return await self._run(what, workflow, [what], [stored.data], stored.uri)

    async def _run(
        self, what: str, workflow: int, names: Sequence[str], inputs: Sequence[bytes | None], uri: str | None = None
    ) -> Run:
        self._engine.journal.expect(len(names))
        cpu, postgres_cpu = time.process_time(), self._database.cpu_s()
        async with self._pool.acquire() as connection, connection.transaction():
            await insert_executions(connection, workflow, list(names))
            await connection.execute(
                "UPDATE executions SET inputs = given.inputs, inputs_uri = $3"
                " FROM unnest($1::text[], $2::bytea[]) AS given (name, inputs) WHERE executions.name = given.name",
                names,
                inputs,
                uri,
            )
            await connection.execute("NOTIFY wingbeat_new")
        await self._engine.ended()
        run = Run(self._engine.journal.took_s, time.process_time() - cpu, self._database.cpu_s() - postgres_cpu)
        print(f"{what}: {run.took_s:.2f} s", file=sys.stderr, flush=True)
        return run

    async def _workflow(self, shape: Shape, *, cacheable: bool) -> int:
        key = (shape, cacheable)
        if key not in self._workflows:
            closure = compiled_workflow(shape, self._options.nodes)
            if cacheable:
                _make_cacheable(closure)
            self._workflows[key] = await register_workflow(self._pool, closure)
        return self._workflows[key]


def _make_cacheable(closure: compiler_pb2.CompiledWorkflowClosure) -> None:
    closure.primary.template.id.name += "-cached"
    for task in closure.tasks:
        task.template.metadata.discoverable = True
        task.template.metadata.discovery_version = "1"


def _inputs(value: literals_pb2.Literal) -> literals_pb2.LiteralMap:
    return literals_pb2.LiteralMap(literals={"x": value})


async def _check(pool: asyncpg.Pool, table: str, expected: int) -> None:
    """Everything has succeeded, and as many nodes or elements were populated, and hit, as there are."""
    phases = {row["phase"] for row in await pool.fetch("SELECT DISTINCT phase FROM executions")}
    if phases != {ExecutionPhase.SUCCEEDED}:
        raise RuntimeError(f"not every execution succeeded: {phases}")
    rows = await pool.fetch(f"SELECT cache_status FROM {table} WHERE cache_status > 0")
    found = Counter(row["cache_status"] for row in rows)
    if found[catalog_pb2.CACHE_HIT] < expected or found[catalog_pb2.CACHE_HIT] + found[3] != 2 * expected:
        raise RuntimeError(f"{table} do not say what the cache should have done: {dict(found)}")


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m loadtests.cache", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--executions", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=10, help="task nodes of each execution")
    parser.add_argument("--shape", type=Shape, choices=[Shape.FAN, Shape.CHAIN, Shape.DIAMOND], default=Shape.FAN)
    parser.add_argument("--elements", type=int, default=100_000, help="of the map task")
    given = parser.parse_args()
    return Options(given.executions, given.nodes, given.shape, given.elements)


def main() -> None:
    """Measure and print."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    relax_collector()  # as the role does
    print(json.dumps(uvloop.run(measure(_options()))))


if __name__ == "__main__":
    main()
