"""The runtime for benchmarks."""

import asyncio

from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.ports.runtime import Ended, RuntimeEvent
from wingbeat_propeller.ports.tasks import ContainerRequest, InstantRequest
from wingbeat_propeller.runtimes.instant import InstantRuntime


async def test_one_batch_in_the_next_turn() -> None:
    """A launch returns first, then all its attempts end in one batch."""
    failure = Failure(ErrorKind.USER, "X", "no")
    runtime = InstantRuntime(outputs=b"out", failures={"c": failure})
    batches: list[list[RuntimeEvent]] = []
    runtime.subscribe(lambda events: batches.append(list(events)))
    requests = [ContainerRequest(name, "i", ["x"], {}) for name in ("a", "c")]
    await runtime.launch([*requests, InstantRequest("b", outputs=b"own")])
    assert batches == []
    await asyncio.sleep(0)
    (batch,) = batches
    ends = [event for event in batch if isinstance(event, Ended)]
    assert [(end.name, end.failure, end.outputs) for end in ends] == [
        ("a", None, b"out"),
        ("c", failure, None),
        ("b", None, b"own"),
    ]
    assert await runtime.adopt(["a"]) == ()
