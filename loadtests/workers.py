"""Trivial Python tasks through warm workers, on a real installation, beside the workers' processes alone.

    python -m loadtests.workers [--tasks 1000] [--sequences 200] [--hellos 100] [--workers 1] [--slots 4]

Starts `wingbeat up --workers` on a temporary folder, registers `programs/trivial_workflows.py` with flytekit's own
`pyflyte register`, loads the code in every process once, and then measures:

    hello_p50_ms, hello_p99_ms   one execution of one task at a time, from the CreateExecution call until GetExecution
                                 says SUCCEEDED, polled every 2 ms
    fanout_s                     one execution of so many tasks that are all ready at once, likewise
    sequence_tasks_per_s         so many executions of five tasks in sequence, launched by calls side by side, from the
                                 first call until the last execution has ended, as the database says

The machine's own limit in the same run is what as many children reach that are fed by a bare loop, with no engine and
no database (see bare_child.py): `bare_hello_p50_ms`, `bare_tasks_per_s`. `ratio` is the fan-out's tasks/s by the
latter, `sequence_ratio` the sequences'; `hello_ratio` is the bare task's share of a hello. `cpu_ms` says what a task of
the sequences costs by process, in milliseconds of processor time.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import asyncpg
import grpc
import psutil
from flyteidl.admin import execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service.admin_pb2_grpc import AdminServiceStub

from loadtests.installation import DOMAIN, PROJECT, ROOT, database, installation, run_command
from loadtests.shapes import integer
from loadtests.tasks import Admin, launch, wait

_PROGRAMS = ROOT / "loadtests" / "programs"
_SEQUENCE = 5
_POLL_S = 0.002
_CALLS_AT_ONCE = 32
_RUN_S_MAX = 600.0


def hello_ms(admin: Admin, name: str) -> float:
    """Milliseconds of one execution of one task."""
    began = time.perf_counter()
    wait(admin, launch(admin, "one", name), _POLL_S)
    return (time.perf_counter() - began) * 1000


def fan_s(admin: Admin, name: str) -> float:
    """Seconds of one execution whose tasks are all ready at once."""
    began = time.perf_counter()
    wait(admin, launch(admin, "fan", name), 0.01)
    return time.perf_counter() - began


async def sequences_s(endpoint: str, dsn: str, prefix: str, count: int) -> float:
    """Seconds of so many executions of five tasks in sequence. Raises RuntimeError when one does not succeed."""
    connection = await asyncpg.connect(dsn)
    try:
        async with grpc.aio.insecure_channel(endpoint) as channel:
            create = channel.unary_unary(
                "/flyteidl.service.AdminService/CreateExecution",
                request_serializer=execution_pb2.ExecutionCreateRequest.SerializeToString,
                response_deserializer=execution_pb2.ExecutionCreateResponse.FromString,
            )
            await channel.channel_ready()
            began = time.perf_counter()
            calls = asyncio.Semaphore(_CALLS_AT_ONCE)

            async def begin(number: int) -> None:
                async with calls:
                    await create(_request(f"{prefix}-{number}"))

            await asyncio.gather(*(begin(number) for number in range(count)))
            while True:
                if await connection.fetchval("SELECT EXISTS (SELECT FROM executions WHERE ended_at IS NULL)"):
                    await asyncio.sleep(0.01)  # cheap: it is part of what is measured
                    continue
                row = await connection.fetchrow(
                    "SELECT count(*) FILTER (WHERE ended_at IS NOT NULL) AS ended, "
                    "count(*) FILTER (WHERE error IS NOT NULL) AS failed "
                    "FROM executions WHERE name LIKE $1",
                    f"{prefix}-%",
                )
                assert row is not None
                if row["failed"]:
                    raise RuntimeError(f"{row['failed']} executions have failed")
                if row["ended"] == count:
                    return time.perf_counter() - began
                if time.perf_counter() - began > _RUN_S_MAX:
                    raise RuntimeError(f"only {row['ended']} of {count} executions have ended")
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


def _request(name: str) -> execution_pb2.ExecutionCreateRequest:
    plan = identifier_pb2.Identifier(
        resource_type=identifier_pb2.LAUNCH_PLAN,
        project=PROJECT,
        domain=DOMAIN,
        name="trivial_workflows.sequence",
        version="load",
    )
    return execution_pb2.ExecutionCreateRequest(
        project=PROJECT,
        domain=DOMAIN,
        name=name,
        spec=execution_pb2.ExecutionSpec(launch_plan=plan),
        inputs=_inputs(),
    )


def bare_ms(folder: Path, runs: int, at_once: int) -> Sequence[float]:
    """What bare_child prints for the same task."""
    folder.mkdir()
    inputs = folder / "inputs.pb"
    inputs.write_bytes(_inputs().SerializeToString())
    said = run_command(
        *("python", "-m", "loadtests.bare_child", str(_PROGRAMS), "trivial", "increment", str(inputs)),
        *(str(folder), str(runs), str(at_once)),
    )
    times: Sequence[float] = json.loads(said.splitlines()[-1])
    return times


def processor_s(folder: Path) -> Mapping[str, float]:
    """Processor time so far by kind of process."""
    state = json.loads((folder / "state.json").read_text())
    spent: defaultdict[str, float] = defaultdict(float)
    for name, process in cast("Mapping[str, Mapping[str, int]]", state["processes"]).items():
        if name == "supervisor":
            continue
        root = psutil.Process(process["pid"])
        kind = name.rpartition("-")[0] or name
        spent[kind] += _spent_s(root)
        for one in root.children(recursive=True):
            spent["children" if kind == "worker" else kind] += _spent_s(one)
    return spent


def _spent_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    # Children that were replaced meanwhile count with who has waited for them.
    return times.user + times.system + times.children_user + times.children_system


def measure(tasks: int, sequences: int, hellos: int, workers: int, slots: int) -> dict[str, object]:
    """Start, register, run, compare; returns what is printed."""
    folder = Path(tempfile.mkdtemp(prefix="wingbeat-workers-"))
    data = folder / "data"
    at_once = workers * slots
    settings = {
        "WINGBEAT_WORKERS__COUNT": str(workers),
        "WINGBEAT_WORKERS__SLOTS": str(slots),
        "WINGBEAT_WORKERS__WITHOUT_WORKER": "wait",  # what is measured shall run in workers or not at all
        "WINGBEAT_REGISTRY__NODE_LIMIT": "0",
    }
    try:
        with installation(data, settings) as endpoint, grpc.insecure_channel(endpoint) as channel:
            admin = cast("Admin", AdminServiceStub(channel))
            run_command(
                *("pyflyte", "--config", str(data / "flyte-config.yaml"), "register", "--version", "load"),
                *("--project", PROJECT, "--domain", DOMAIN, str(_PROGRAMS / "trivial_workflows.py")),
                environment={"LOADTEST_TASKS": str(tasks)},
            )
            fan_s(admin, "fan-first")  # loads the code in every child
            hello = [hello_ms(admin, f"hello-{number}") for number in range(hellos)]
            bare_hello = bare_ms(folder / "hello", hellos, 1)
            [bare_before] = bare_ms(folder / "before", tasks, at_once)
            fan = fan_s(admin, "fan")
            before = processor_s(data)
            sequence = asyncio.run(sequences_s(endpoint, database(data), "sequence", sequences))
            after = processor_s(data)
            [bare_after] = bare_ms(folder / "after", tasks, at_once)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    bare_per_s = 2 * tasks / ((bare_before + bare_after) / 1000)
    done = sequences * _SEQUENCE
    return {
        "tasks": tasks,
        "workers": workers,
        "slots": slots,
        "hello_p50_ms": round(statistics.median(hello), 1),
        "hello_p99_ms": round(_percentile(hello, 99), 1),
        "bare_hello_p50_ms": round(statistics.median(bare_hello), 2),
        "hello_ratio": round(statistics.median(bare_hello) / statistics.median(hello), 3),
        "fanout_s": round(fan, 3),
        "fanout_tasks_per_s": round(tasks / fan, 1),
        "bare_tasks_per_s": round(bare_per_s, 1),
        "ratio": round(tasks / fan / bare_per_s, 3),
        "sequences": sequences,
        "sequence_tasks_per_s": round(done / sequence, 1),
        "sequence_ratio": round(done / sequence / bare_per_s, 3),
        "cpu_ms": {kind: round((after[kind] - before[kind]) * 1000 / done, 3) for kind in sorted(after)},
    }


def _inputs() -> literals_pb2.LiteralMap:
    return literals_pb2.LiteralMap(literals={"value": integer(1)})


def _percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.workers", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000, help="of the fan-out")
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--hellos", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--slots", type=int, default=4, help="of each worker")
    given = parser.parse_args()
    print(json.dumps(measure(given.tasks, given.sequences, given.hellos, given.workers, given.slots)))


if __name__ == "__main__":
    main()
