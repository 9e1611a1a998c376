"""How long questions in SQL take among many executions.

    python -m loadtests.sql [--executions 1000000] [--asks 100] [--failed 0.02]

Fills a database with executions by SQL, with what a launch writes of labels and inputs, and asks `asks` times for each
of the ways by which executions are found, with other values each time, through the reader of the server: as one who
sees all projects, as one who sees one of ten (`project_...`), and with a condition that names one of ten (`where_...`).
Prints JSON; times in milliseconds.

    <way>_p50_ms, <way>_p99_ms      by input value, label, user and text of the error, of the ten newest that match;
                                    `common_...`: of very many, `absent_...`: of very many, all of another project,
                                    `..._by_time`: in the order of created_at, `searched_error`: by the function for it
    worst_p99_ms, project_..., where_...    the largest of these
    fill_s, database_bytes          what it took
    search_bytes                    of that, the table and indexes that the search adds
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import structlog

from loadtests.database import temporary_database
from loadtests.filling import PROJECTS, TEAMS, USERS, fill_executions
from wingbeat_controlplane.sql.reader import SqlOptions, SqlReader
from wingbeat_propeller.postgres.pool import create_pool

_NEWEST = "ORDER BY execution_id DESC LIMIT 10"
_NEWEST_BY_TIME = "ORDER BY created_at DESC LIMIT 10"
_PROJECT = PROJECTS[3]


@dataclass(frozen=True, slots=True)
class _Scope:
    """What a question is about: projects that the reader lets through (None: all), a condition of its own."""

    prefix: str
    projects: Sequence[str] | None = None
    condition: str = ""


SCOPES = (_Scope(""), _Scope("project_", [_PROJECT]), _Scope("where_", condition=f"project = '{_PROJECT}' AND "))


def _question(way: str, scope: _Scope, draw: random.Random, executions: int) -> str:
    number = draw.randrange(max(executions // 1000, 1)) * 1000 + 3  # it has failed, and is of the fourth project
    others = number + draw.randrange(1, len(PROJECTS))
    newest = _NEWEST_BY_TIME if way.endswith("_by_time") else _NEWEST
    match way.removesuffix("_by_time"):
        case "input":
            condition = f"""inputs @> '{{"seed": {number}}}'"""
        case "common_input":
            condition = f"""inputs @> '{{"model": "model-{number % 100}"}}'"""
        case "absent_input":
            condition = f"""inputs @> '{{"model": "model-{others % 100}"}}'"""
        case "label":
            condition = f"""labels @> '{{"run": "run-{number // 10}"}}'"""
        case "common_label":
            condition = f"""labels @> '{{"team": "team-{number % TEAMS}"}}'"""
        case "absent_label":
            condition = f"""labels @> '{{"team": "team-{others % TEAMS}"}}'"""
        case "user":
            condition = f"launched_by = 'user-{number % USERS}'"
        case "labels_view":
            condition = f"key = 'team' AND value = 'team-{number % TEAMS}'"
            return f"SELECT execution FROM labels WHERE {scope.condition}{condition} {newest}"
        case "searched_error":
            found = f"search_errors('%lost shard {number}:%')"
            return f"SELECT execution_id, name, error FROM {found} WHERE {scope.condition}true {newest}"
        case "common_error":
            condition = "error ILIKE '%is not finite%'"
        case _:
            condition = f"error ILIKE '%lost shard {number}:%'"
    shown = "execution_id, name, phase, labels, inputs, error"
    return f"SELECT {shown} FROM executions WHERE {scope.condition}{condition} {newest}"


WAYS = (
    "input",
    "common_input",
    "label",
    "common_label",
    "common_label_by_time",
    "labels_view",
    "user",
    "error",
    "common_error",
    "searched_error",
)
ABSENT = ("absent_input", "absent_label", "absent_label_by_time")
"""Of one project only."""


async def _time(reader: SqlReader, way: str, scope: _Scope, asks: int, executions: int) -> list[float]:
    draw = random.Random(f"{way}{scope.projects}")
    times: list[float] = []
    for number in range(asks + 1):
        question = _question(way, scope, draw, executions)
        began = time.perf_counter()
        found = 0
        async for batch in reader.ask(question, projects=scope.projects):
            found += len(batch.rows)
        assert (found == 0) == (way in ABSENT), f"{found} executions are found by {question}"
        if number:  # the first one opens the connection
            times.append((time.perf_counter() - began) * 1000)
    return times


async def measure(executions: int, asks: int, failed: float) -> dict[str, object]:
    """Fill and ask; returns what is printed."""
    async with temporary_database() as database:
        pool = await create_pool(database.dsn, size_max=4, application_name="loadtest")
        began = time.perf_counter()
        await fill_executions(pool, executions, failed=failed)
        result: dict[str, object] = {"executions": executions, "asks": asks}
        result["fill_s"] = round(time.perf_counter() - began, 1)
        reader = SqlReader(database.dsn, pool, SqlOptions())
        for scope in SCOPES:
            worst = 0.0
            for way in (*WAYS, *ABSENT) if scope.prefix else WAYS:
                times = sorted(await _time(reader, way, scope, asks, executions))
                p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
                result[f"{scope.prefix}{way}_p50_ms"] = round(statistics.median(times), 2)
                result[f"{scope.prefix}{way}_p99_ms"] = round(p99, 2)
                worst = max(worst, p99)
            result[f"{scope.prefix}worst_p99_ms"] = round(worst, 2)
        result |= await _sizes(pool)
        await reader.close()
        await pool.close()
        return result


async def _sizes(pool: asyncpg.Pool) -> dict[str, object]:
    row = await pool.fetchrow(
        "SELECT pg_database_size(current_database()) AS database_bytes,"
        " pg_total_relation_size('execution_search') AS search_bytes"
    )
    assert row is not None
    return dict(row)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--asks", type=int, default=100)
    parser.add_argument("--failed", type=float, default=0.02, help="share of executions that have failed")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    print(json.dumps(asyncio.run(measure(options.executions, options.asks, options.failed))))


if __name__ == "__main__":
    main()
