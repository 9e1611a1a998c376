"""Client programs that `test_everything_killed` kills and starts again: what they know they read from their files.

    python -m tests.e2e.faulty_clients launch ENDPOINT FOLDER SEED
    python -m tests.e2e.faulty_clients watch ENDPOINT FOLDER

`launch` sends all items with their keys, whatever an earlier run has sent, half of them in calls and half in streams,
and ends when each is acknowledged. `watch` holds all watchers; each goes on from the last cursor in its file, one
line of which is a message of the stream.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import grpc.aio
from tests.e2e.client import DOMAIN, PROJECT

from wingbeat import AsyncClient, Launch
from wingbeat.connection import Patience
from wingbeatidl.launch.v1 import item_pb2, launch_pb2, launch_pb2_grpc
from wingbeatidl.launch.v1.outcome_pb2 import LAUNCH_STATUS_CREATED, LAUNCH_STATUS_EXISTING
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2

ITEMS = 2000
WORKFLOW = "kills.wf"
VERSION = "v1"
BATCH = "kills"
NAMED = 100
"""Items with names of their own, which one watcher asks for."""
PORTION = 25
PATIENCE = Patience(call_s=120.0, unreachable_s=60.0, stream_s=120.0)

_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED)
_EVERY_LEVEL = (transition_pb2.LEVEL_EXECUTION, transition_pb2.LEVEL_NODE, transition_pb2.LEVEL_ATTEMPT)


def name_of(number: int) -> str:
    """The execution's name that an item asks for; empty: none."""
    return f"k{number}" if number < NAMED else ""


def labels_of(number: int) -> dict[str, str]:
    """Labels of an item."""
    return {"third": str(number % 3)}


def watches() -> Sequence[watch_pb2.WatchTransitionsRequest]:
    """What the ten watchers ask for, from the oldest transition on."""

    def asked(
        levels: Sequence[int] = (transition_pb2.LEVEL_EXECUTION,), *, with_outputs: bool = False, **filters: object
    ) -> watch_pb2.WatchTransitionsRequest:
        return watch_pb2.WatchTransitionsRequest(
            filter=watch_pb2.TransitionFilter(project=PROJECT, domain=DOMAIN, **filters),  # pyright: ignore[reportArgumentType]
            levels=levels,
            start=watch_pb2.START_OLDEST,
            with_outputs=with_outputs,
        )

    task = transition_pb2.ENTITY_KIND_TASK
    workflow = transition_pb2.ENTITY_KIND_WORKFLOW
    return [
        asked(),
        asked(_EVERY_LEVEL),
        asked(batches=[BATCH]),
        asked(_EVERY_LEVEL, batches=[BATCH], with_outputs=True),
        asked((transition_pb2.LEVEL_EXECUTION, transition_pb2.LEVEL_NODE), labels={"third": "1"}),
        asked(execution_phases=[identity_pb2.EXECUTION_PHASE_SUCCEEDED]),
        asked(_EVERY_LEVEL, executions=[name_of(number) for number in range(NAMED)], with_outputs=True),
        asked((transition_pb2.LEVEL_NODE,), entities=[watch_pb2.EntityFilter(kind=workflow, name=WORKFLOW)]),
        asked((transition_pb2.LEVEL_ATTEMPT,), entities=[watch_pb2.EntityFilter(kind=task, name="hello_world.greet")]),
        watch_pb2.WatchTransitionsRequest(levels=_EVERY_LEVEL, start=watch_pb2.START_OLDEST),
    ]


def told(one: transition_pb2.Transition) -> tuple[int, int, str, str, int, int]:
    """What tells transitions apart: entry, level, execution, node, attempt and phase."""
    phase = getattr(one, one.WhichOneof("phase") or "execution_phase")
    return one.entry, one.level, one.execution.name, one.node.node_id, one.attempt, phase


def read_lines(path: Path) -> list[dict]:
    """What a file of lines holds; a last line that was not written to its end is cut off."""
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != len(data):
        os.truncate(path, len(whole))
    return [json.loads(line) for line in whole.splitlines()]


def _append(path: Path, line: object) -> None:
    with path.open("ab") as file:
        file.write(json.dumps(line).encode() + b"\n")


# ---- launching ----


async def _launch(endpoint: str, folder: Path, seed: str) -> None:
    numbers = list(range(ITEMS))
    random.Random(seed).shuffle(numbers)
    acknowledged = folder / "acknowledged.jsonl"
    read_lines(acknowledged)
    async with AsyncClient(endpoint, project=PROJECT, domain=DOMAIN, patience=PATIENCE) as client:
        await asyncio.gather(
            _in_calls(client, numbers[::2], acknowledged), _in_streams(endpoint, numbers[1::2], acknowledged)
        )


async def _in_calls(client: AsyncClient, numbers: Sequence[int], acknowledged: Path) -> None:
    launches = [
        Launch(
            WORKFLOW,
            {"x": number},
            VERSION,
            name=name_of(number),
            key=f"key-{number}",
            labels=labels_of(number),
            priority=number % 7,
        )
        for number in numbers
    ]
    position = 0
    async for launched in client.launch_many(launches, items_max=PORTION):
        _append(acknowledged, {"number": numbers[position], "name": launched.require().name})
        position += 1


async def _in_streams(endpoint: str, numbers: Sequence[int], acknowledged: Path) -> None:
    """A stream after another, each with what was not acknowledged."""
    left = list(numbers)
    while left:
        try:
            async with grpc.aio.insecure_channel(endpoint) as channel:
                stub = launch_pb2_grpc.LaunchServiceStub(channel)
                sent = list(left)
                async for response in stub.LaunchStream(_messages(sent)):
                    for offset, outcome in enumerate(response.outcomes):
                        number = sent[response.first_item + offset]
                        if outcome.status not in (LAUNCH_STATUS_CREATED, LAUNCH_STATUS_EXISTING):
                            raise RuntimeError(f"{number}: {outcome}")
                        _append(acknowledged, {"number": number, "name": outcome.execution.name})
                        left.remove(number)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _AGAIN:
                raise
            await asyncio.sleep(0.05)


async def _messages(numbers: Sequence[int]) -> AsyncIterator[launch_pb2.LaunchStreamRequest]:
    target = item_pb2.Target(name=WORKFLOW, version=VERSION)
    yield launch_pb2.LaunchStreamRequest(
        project=PROJECT, domain=DOMAIN, template=item_pb2.LaunchTemplate(target=target)
    )
    for begin in range(0, len(numbers), PORTION):
        yield launch_pb2.LaunchStreamRequest(
            items=[
                item_pb2.LaunchItem(
                    inputs=item_pb2.Inputs(json=json.dumps({"x": number})),
                    name=name_of(number),
                    idempotency_key=f"stream-{number}",
                    labels=labels_of(number),
                )
                for number in numbers[begin : begin + PORTION]
            ]
        )


# ---- watching ----


async def _watch(endpoint: str, folder: Path) -> None:
    async with AsyncClient(endpoint, patience=PATIENCE) as client, asyncio.TaskGroup() as watchers:
        for number, request in enumerate(watches()):
            watchers.create_task(_watch_one(client, folder / f"watch-{number}.jsonl", request))


async def _watch_one(client: AsyncClient, path: Path, request: watch_pb2.WatchTransitionsRequest) -> None:
    before = read_lines(path)
    if before:
        request.cursor = before[-1]["cursor"]
    async for message in client.watch_raw(request, heartbeat_s=1.0):
        _append(path, {"cursor": message.cursor, "told": [told(one) for one in message.transitions]})


if __name__ == "__main__":
    role, endpoint, folder, *rest = sys.argv[1:]
    asyncio.run(_launch(endpoint, Path(folder), *rest) if role == "launch" else _watch(endpoint, Path(folder)))
