"""How large an installation a load needs: arithmetic from measured costs.

    python -m loadtests.scale [--nodes-per-day 1000000 100000000] [--peak 5] [--costs FILE.json]

Prints what saturates first, how many processes of each kind, and what PostgreSQL has to do, for each load; the last
line is one JSON object. `Costs` are processor microseconds and bytes measured by the other load tests (each field says
which); a file with other figures, of another machine for instance, replaces them field by field.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

DAY_S: Final = 86_400
MIB: Final = 1 << 20
GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one core of the machine that docs/performance.md names."""

    engine_us_per_node: float = 65.0
    """loadtests.engine, chain, diamond and fan: `engine_cpu_us_per_node`."""
    postgres_us_per_node: float = 32.0
    """The same: `postgres_cpu_us_per_node`, in batches of hundreds of rows."""
    postgres_us_per_node_quiet: float = 255.0
    """loadtests.engine --live: the same where commits hold ten rows; what a load far below the limit costs."""
    engine_us_per_execution: float = 150.0
    """loadtests.lengths: `execution_us`."""
    server_us_per_launch: float = 1_700.0
    """loadtests.launch_cost, CreateExecution one by one: processor time of server and PostgreSQL. 0.6 ms where many
    come at once, 0.1 in bulk."""
    stored_bytes_per_node: float = 1_550.0
    """loadtests.engine, chains of 20 and of 1: `stored_bytes_per_node`, rows of nodes, attempts and transitions with
    their indexes."""
    stored_bytes_per_execution: float = 1_400.0
    """The same: what is left for the execution itself. Inputs and outputs come on top."""
    logged_bytes_per_node: float = 1_820.0
    """The same: `logged_bytes_per_node`, write-ahead log without full page images."""
    logged_bytes_per_execution: float = 2_850.0
    task_ms: float = 26.0
    """loadtests.tasks: processor time of one Python task forked from the zygote; in a warm worker 0.6 to 0.8."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a process or a database is to be driven; beyond it queues grow."""

    busy: float = 0.5
    """Of a core."""
    postgres_cores: int = 32
    postgres_wal_mib_per_s: float = 100.0
    """One volume with replicas that follow."""
    postgres_tib: float = 8.0
    """What is still vacuumed and backed up with ease."""
    engine_live_executions: int = 50_000
    """Of one process."""


@dataclass(frozen=True, slots=True)
class Load:
    """Evenly over the day, but for a peak."""

    nodes_per_day: float
    peak: float = 5.0
    """The busiest minutes by the average."""
    nodes_per_execution: float = 10.0
    execution_minutes: float = 10.0
    """How long an execution is alive."""
    retention_days: float = 30.0


@dataclass(frozen=True, slots=True)
class Need:
    """Of one load, over all cells."""

    nodes_per_s: float
    peak_nodes_per_s: float
    launches_per_s: float
    propellers: int
    servers: int
    postgres_cores: float
    wal_mib_per_s: float
    gib_per_day: float
    tib_kept: float
    live_executions: float
    task_cores: float
    cells: int
    first: str
    """What makes the number of cells, or would first if there were more load."""


def need(load: Load, costs: Costs, limits: Limits) -> Need:
    """What `load` takes. Two of every process are the least that survive the loss of one."""
    average = load.nodes_per_day / DAY_S
    peak = average * load.peak
    launches = peak / load.nodes_per_execution
    engine_us = costs.engine_us_per_node + costs.engine_us_per_execution / load.nodes_per_execution
    live = launches * load.execution_minutes * 60
    propellers = max(peak * engine_us / 1e6 / limits.busy, live / limits.engine_live_executions)
    servers = max(2, math.ceil(launches * costs.server_us_per_launch / 1e6 / limits.busy))
    postgres_us = _postgres_us(peak, costs)
    postgres_cores = peak * postgres_us / 1e6 / limits.busy
    logged = costs.logged_bytes_per_node + costs.logged_bytes_per_execution / load.nodes_per_execution
    stored = costs.stored_bytes_per_node + costs.stored_bytes_per_execution / load.nodes_per_execution
    wal, day = peak * logged / MIB, load.nodes_per_day * stored
    kept = day * load.retention_days / (1 << 40)
    shares = {
        "PostgreSQL's processors": postgres_cores / limits.postgres_cores,
        "write-ahead log": wal / limits.postgres_wal_mib_per_s,
        "size of the database": kept / limits.postgres_tib,
    }
    return Need(
        nodes_per_s=round(average, 1),
        peak_nodes_per_s=round(peak, 1),
        launches_per_s=round(launches, 1),
        propellers=max(2, math.ceil(propellers)),
        servers=servers,
        postgres_cores=round(postgres_cores, 2),
        wal_mib_per_s=round(wal, 2),
        gib_per_day=round(day / GIB, 2),
        tib_kept=round(kept, 3),
        live_executions=round(live),
        task_cores=round(peak * costs.task_ms / 1e3 / limits.busy, 1),
        cells=max(1, math.ceil(max(shares.values()))),
        first=max(shares, key=lambda name: shares[name]),
    )


def _postgres_us(nodes_per_s: float, costs: Costs) -> float:
    """Commits grow with the load: from ten rows at a thousand nodes a second to hundreds at ten thousand."""
    share = min(max((nodes_per_s - 1_000) / 9_000, 0.0), 1.0)
    return costs.postgres_us_per_node_quiet * (1 - share) + costs.postgres_us_per_node * share


def _lines(needs: Sequence[tuple[Load, Need]]) -> Sequence[str]:
    rows = [
        ("", *(f"{load.nodes_per_day:,.0f} nodes a day" for load, _ in needs)),
        *((field, *(str(getattr(found, field)) for _, found in needs)) for field in asdict(needs[0][1])),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes-per-day", type=float, nargs="+", default=[1e6, 1e8])
    parser.add_argument("--peak", type=float, default=5.0)
    parser.add_argument("--nodes-per-execution", type=float, default=10.0)
    parser.add_argument("--execution-minutes", type=float, default=10.0)
    parser.add_argument("--retention-days", type=float, default=30.0)
    parser.add_argument("--costs", type=Path)
    arguments = parser.parse_args()
    costs = Costs()
    if arguments.costs:
        costs = replace(costs, **json.loads(arguments.costs.read_text()))
    loads = [
        Load(
            nodes,
            arguments.peak,
            arguments.nodes_per_execution,
            arguments.execution_minutes,
            arguments.retention_days,
        )
        for nodes in arguments.nodes_per_day
    ]
    needs = [(load, need(load, costs, Limits())) for load in loads]
    print("\n".join(_lines(needs)))
    answer = [{"load": asdict(load), "need": asdict(found)} for load, found in needs]
    print(json.dumps({"costs": asdict(costs), "needs": answer}))


if __name__ == "__main__":
    main()
