"""What one unary call costs the server and its database in processor time: CreateExecution, and GetExecution.

    python -m loadtests.launch_cost [--calls 4000] [--at-once 200] [--rate 200] [--rounds 3]

Starts `wingbeat up` without an engine, so that nothing but the calls is measured, and makes the calls from one client
in this process, `at_once` side by side. Of several rounds the cheapest counts: what else the machine does only adds to
a round. Microseconds of a call, of the server (`..._server_us`) and of PostgreSQL (`..._postgres_us`):

    named     launches with names
    unnamed   launches without, each with inputs of its own
    paced     launches with names, `rate` a second whatever the answers take
    get       reads of one execution
    floor     GetVersion, which does nothing: what gRPC takes

`statements_per_launch` says how many transactions the named launches side by side were.
"""

import argparse
import asyncio
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import cast

import asyncpg
import grpc
from flyteidl.admin import execution_pb2, version_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service.admin_pb2_grpc import AdminServiceStub

from loadtests.installation import DOMAIN, PROJECT, database, installation
from loadtests.launch import launch, paced
from loadtests.programs_of_launches import Admin, identifier, register
from loadtests.workers import processor_s

_WARM = 500
_ENVIRONMENT = {"WINGBEAT_PROPELLER__COUNT": "0", "WINGBEAT_LAUNCH__NOT_BEGUN_MAX": "0"}
_SERVICE = "/flyteidl.service.AdminService"


class _Calls:
    """The calls of one round, by number; names and inputs are those of no other round."""

    def __init__(self, channel: grpc.aio.Channel, round_number: int) -> None:
        self._admin = cast("Admin", AdminServiceStub(channel))
        self._round = round_number
        self._get = cast(
            "Callable[[execution_pb2.WorkflowExecutionGetRequest], Awaitable[bytes]]",
            channel.unary_unary(
                f"{_SERVICE}/GetExecution",
                request_serializer=execution_pb2.WorkflowExecutionGetRequest.SerializeToString,
            ),
        )
        self._version = cast(
            "Callable[[version_pb2.GetVersionRequest], Awaitable[bytes]]",
            channel.unary_unary(
                f"{_SERVICE}/GetVersion", request_serializer=version_pb2.GetVersionRequest.SerializeToString
            ),
        )

    async def named(self, kind: str, number: int) -> None:
        await launch(self._admin, "load.move", f"{kind}-{self._round}-{number}")

    async def unnamed(self, number: int) -> None:
        value = literals_pb2.Primitive(integer=self._round << 32 | number)
        inputs = {"x": literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=value))}
        plan = identifier(identifier_pb2.LAUNCH_PLAN, "load.move")
        await self._admin.CreateExecution(
            execution_pb2.ExecutionCreateRequest(
                project=PROJECT,
                domain=DOMAIN,
                spec=execution_pb2.ExecutionSpec(launch_plan=plan),
                inputs=literals_pb2.LiteralMap(literals=inputs),
            )
        )

    async def get(self, number: int) -> None:
        name = f"named-{self._round}-{number}"
        found = identifier_pb2.WorkflowExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=name)
        await self._get(execution_pb2.WorkflowExecutionGetRequest(id=found))

    async def floor(self, _number: int) -> None:
        await self._version(version_pb2.GetVersionRequest())


async def measure(calls: int, at_once: int, rate: float, rounds: int) -> Mapping[str, object]:
    """Make the calls; returns what is printed."""
    folder = Path(tempfile.mkdtemp(prefix="wingbeat-launch-cost-"))
    try:
        with installation(folder / "data", _ENVIRONMENT) as endpoint:
            async with grpc.aio.insecure_channel(endpoint) as channel:
                await register(cast("Admin", AdminServiceStub(channel)))
                await _side_by_side(partial(_Calls(channel, 0).named, "warm"), _WARM, at_once)
                best: dict[str, float] = {}
                for number in range(rounds):
                    for key, cost_us in (
                        await _round(folder / "data", _Calls(channel, number), calls, at_once, rate)
                    ).items():
                        best[key] = min(best.get(key, cost_us), cost_us)
            connection = await asyncpg.connect(database(folder / "data"))
            transactions = await connection.fetchval(
                "SELECT count(DISTINCT xmin::text) FROM executions WHERE name LIKE 'named-%'"
            )
            await connection.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    made = calls * rounds
    return {
        "calls": calls,
        "at_once": at_once,
        "rate": rate,
        "rounds": rounds,
        **best,
        "statements_per_launch": round(transactions / made, 3),
    }


async def _round(folder: Path, calls: _Calls, count: int, at_once: int, rate: float) -> Mapping[str, float]:
    side_by_side: Mapping[str, Callable[[int], Awaitable[object]]] = {
        "named": partial(calls.named, "named"),
        "unnamed": calls.unnamed,
        "get": calls.get,
        "floor": calls.floor,
    }
    costs: dict[str, float] = {}
    for kind, call in side_by_side.items():
        costs |= await _cost(folder, kind, count, _side_by_side(call, count, at_once))
    few = count // 4
    costs |= await _cost(folder, "paced", few, paced(partial(calls.named, "paced"), rate=rate, count=few))
    return costs


async def _cost(folder: Path, kind: str, count: int, work: Awaitable[object]) -> Mapping[str, float]:
    """Processor time of a call, in microseconds."""
    before = processor_s(folder)
    await work
    after = processor_s(folder)
    return {
        f"{kind}_{process}_us": round((after[process] - before[process]) * 1e6 / count, 1)
        for process in ("server", "postgres")
    }


async def _side_by_side(call: Callable[[int], Awaitable[object]], count: int, at_once: int) -> None:
    gate = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with gate:
            await call(number)

    await asyncio.gather(*(one(number) for number in range(count)))


def main() -> None:
    """Measure and print."""
    summary = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m loadtests.launch_cost", description=summary)
    parser.add_argument("--calls", type=int, default=4_000)
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.calls, given.at_once, given.rate, given.rounds))))


if __name__ == "__main__":
    main()
