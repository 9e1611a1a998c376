# ruff: noqa: N802 - rpcs carry the names of the protos
"""Unary launches at a steady rate while many executions are alive.

    python -m loadtests.launch [--rate 200] [--seconds 20] [--live 2000]

Starts `wingbeat up` on a temporary folder, launches `live` executions that wait at a gate, and then, at `rate` a second
whatever the answers take, executions of three `echo` nodes that run to their end meanwhile. The time of a launch counts
from the moment it was due until it was answered. In the end every execution must have ended exactly once.

    unary_per_s, unary_p50_ms, unary_p99_ms   launches as their caller sees them
    ended_s                                   from the last launch until all launched executions had ended

`floor_p50_ms` and `floor_p99_ms` are the machine's own in the same run, at the same rate and with the same executions
alive: a call that does nothing but insert a row (see launch_floor.py). `ratio` is floor_p99_ms by unary_p99_ms.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Protocol, cast

import asyncpg
import grpc
from flyteidl.admin import execution_pb2, launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2
from flyteidl.core import workflow_pb2 as core_workflow_pb2
from flyteidl.service.admin_pb2_grpc import AdminServiceStub

from loadtests.installation import DOMAIN, PROJECT, ROOT, database, installation
from loadtests.launch_floor import METHOD
from wingbeat_propeller.core.phases import ExecutionPhase

_CALLS_AT_ONCE = 32
_END_S_MAX = 120.0
_POLL_S = 0.1
_INTEGER = types_pb2.LiteralType(simple=types_pb2.INTEGER)


class Admin(Protocol):
    """What is used of AdminService over grpc.aio; its generated stub carries no types."""

    def CreateTask(self, request: task_pb2.TaskCreateRequest) -> Awaitable[task_pb2.TaskCreateResponse]: ...
    def CreateWorkflow(
        self, request: workflow_pb2.WorkflowCreateRequest
    ) -> Awaitable[workflow_pb2.WorkflowCreateResponse]: ...
    def CreateLaunchPlan(
        self, request: launch_plan_pb2.LaunchPlanCreateRequest
    ) -> Awaitable[launch_plan_pb2.LaunchPlanCreateResponse]: ...
    def CreateExecution(
        self, request: execution_pb2.ExecutionCreateRequest
    ) -> Awaitable[execution_pb2.ExecutionCreateResponse]: ...


async def register(admin: Admin) -> None:
    """A workflow that waits for an hour, and one of three echo nodes."""
    hold = core_workflow_pb2.WorkflowTemplate(id=_identifier(identifier_pb2.WORKFLOW, "load.hold"))
    gate = hold.nodes.add(id="n0", metadata=core_workflow_pb2.NodeMetadata(name="hold"))
    gate.gate_node.sleep.duration.FromTimedelta(timedelta(hours=1))
    await _register(admin, hold)
    echo = tasks_pb2.TaskTemplate(
        id=_identifier(identifier_pb2.TASK, "load.echo"),
        type="echo",
        interface=interface_pb2.TypedInterface(inputs=_variables("x"), outputs=_variables("o0")),
        metadata=tasks_pb2.TaskMetadata(runtime=tasks_pb2.RuntimeMetadata(version="1.16.31", flavor="python")),
    )
    await admin.CreateTask(task_pb2.TaskCreateRequest(id=echo.id, spec=task_pb2.TaskSpec(template=echo)))
    move = core_workflow_pb2.WorkflowTemplate(
        id=_identifier(identifier_pb2.WORKFLOW, "load.move"),
        interface=interface_pb2.TypedInterface(inputs=_variables("x"), outputs=_variables("o0")),
    )
    for number in range(3):
        node = move.nodes.add(id=f"n{number}", metadata=core_workflow_pb2.NodeMetadata(name=f"n{number}"))
        node.task_node.reference_id.CopyFrom(echo.id)
        node.inputs.add(var="x", binding=_promise(f"n{number - 1}", "o0") if number else _promise("", "x"))
    move.outputs.add(var="o0", binding=_promise("n2", "o0"))
    await _register(admin, move)


async def launch(admin: Admin, plan: str, name: str) -> None:
    """Start one execution."""
    inputs = {} if plan == "load.hold" else {"x": _answer()}
    await admin.CreateExecution(
        execution_pb2.ExecutionCreateRequest(
            project=PROJECT,
            domain=DOMAIN,
            name=name,
            spec=execution_pb2.ExecutionSpec(launch_plan=_identifier(identifier_pb2.LAUNCH_PLAN, plan)),
            inputs=literals_pb2.LiteralMap(literals=inputs),
        )
    )


async def paced(call: Callable[[int], Awaitable[object]], *, rate: float, count: int) -> Sequence[float]:
    """Make `count` calls, `rate` a second, without waiting for answers; seconds from when each was due."""
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.1

    async def one(number: int) -> float:
        due = start + number / rate
        await asyncio.sleep(due - loop.time())
        await call(number)
        return loop.time() - due

    return await asyncio.gather(*(one(number) for number in range(count)))


async def measure(rate: float, seconds: float, live: int) -> dict[str, object]:
    """Launch and compare; returns what is printed. Raises RuntimeError when an execution did not end as it should."""
    folder = Path(tempfile.mkdtemp(prefix="wingbeat-launch-"))
    try:
        with installation(folder / "data") as endpoint:
            dsn = database(folder / "data")
            connection = await asyncpg.connect(dsn)
            async with grpc.aio.insecure_channel(endpoint) as channel:
                admin = cast("Admin", AdminServiceStub(channel))
                await register(admin)
                await _hold(admin, connection, live)
                count = round(rate * seconds)
                latencies = await paced(
                    lambda number: launch(admin, "load.move", f"move-{number}"), rate=rate, count=count
                )
                began = time.perf_counter()
                await _until(connection, "move-%", ExecutionPhase.SUCCEEDED, count)
                ended_s = time.perf_counter() - began
            with _floor(dsn) as port:
                async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                    insert = cast("Callable[[bytes], Awaitable[bytes]]", channel.unary_unary(METHOD))
                    await insert(b"warm")
                    floor = await paced(lambda _number: insert(bytes(200)), rate=rate, count=count)
            alive = await connection.fetchval("SELECT count(*) FROM executions WHERE ended_at IS NULL")
            await connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if alive != live:
        raise RuntimeError(f"{alive} executions are alive, not the {live} that wait")
    unary, bare = _percentiles(latencies), _percentiles(floor)
    return {
        "rate": rate,
        "launched": count,
        "live": live,
        "unary_per_s": round(count / (count / rate + max(latencies)), 1),
        "unary_p50_ms": unary[0],
        "unary_p99_ms": unary[1],
        "ended_s": round(ended_s, 2),
        "floor_p50_ms": bare[0],
        "floor_p99_ms": bare[1],
        "ratio": round(bare[1] / unary[1], 3),
    }


async def _hold(admin: Admin, connection: asyncpg.Connection, live: int) -> None:
    """Have that many executions wait at their gates."""
    gate = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def one(number: int) -> None:
        async with gate:
            await launch(admin, "load.hold", f"hold-{number}")

    await asyncio.gather(*(one(number) for number in range(live)))
    await _until(connection, "hold-%", ExecutionPhase.RUNNING, live)


async def _until(connection: asyncpg.Connection, names: str, phase: ExecutionPhase, count: int) -> None:
    """Wait until `count` executions, and no others of these names, are in a phase. Raises RuntimeError."""
    deadline = time.perf_counter() + _END_S_MAX
    while True:
        rows = await connection.fetch(
            "SELECT phase, count(*) AS number FROM executions WHERE name LIKE $1 GROUP BY phase", names
        )
        phases = Counter({row["phase"]: row["number"] for row in rows})
        if phases == {phase: count}:
            return
        if time.perf_counter() > deadline:
            raise RuntimeError(f"executions {names} by phase: {dict(phases)}, not {count} {phase.name}")
        await asyncio.sleep(_POLL_S)


@contextmanager
def _floor(dsn: str) -> Generator[int]:
    """The floor's server for the time of the block; its port."""
    command = [sys.executable, "-m", "loadtests.launch_floor", dsn]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def _register(admin: Admin, template: core_workflow_pb2.WorkflowTemplate) -> None:
    await admin.CreateWorkflow(
        workflow_pb2.WorkflowCreateRequest(id=template.id, spec=workflow_pb2.WorkflowSpec(template=template))
    )
    plan = _identifier(identifier_pb2.LAUNCH_PLAN, template.id.name)
    spec = launch_plan_pb2.LaunchPlanSpec(workflow_id=template.id)
    await admin.CreateLaunchPlan(launch_plan_pb2.LaunchPlanCreateRequest(id=plan, spec=spec))


def _identifier(kind: identifier_pb2.ResourceType, name: str) -> identifier_pb2.Identifier:
    return identifier_pb2.Identifier(resource_type=kind, project=PROJECT, domain=DOMAIN, name=name, version="load")


def _variables(*names: str) -> interface_pb2.VariableMap:
    return interface_pb2.VariableMap(variables={name: interface_pb2.Variable(type=_INTEGER) for name in names})


def _promise(node: str, var: str) -> literals_pb2.BindingData:
    return literals_pb2.BindingData(promise=types_pb2.OutputReference(node_id=node, var=var))


def _answer() -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=42)))


def _percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(seconds, n=100)
    return round(cuts[49] * 1000, 2), round(cuts[98] * 1000, 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.launch", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--live", type=int, default=2_000)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.rate, given.seconds, given.live))))


if __name__ == "__main__":
    main()
