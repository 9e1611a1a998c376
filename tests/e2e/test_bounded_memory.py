"""What clients may do wrong costs a bounded amount of memory, and the answer says what was wrong.

Memory is what the processes have resident, looked at all the time; bounds are generous, but far below what keeping
everything would take.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import psutil
import pytest
from tests.e2e.client import DOMAIN, PROJECT, Client
from tests.e2e.installation import Installation
from tests.e2e.test_launch_kills import register_echo

from wingbeatidl.batch.v1 import batch_pb2, batch_pb2_grpc, manifest_pb2
from wingbeatidl.launch.v1 import item_pb2, launch_pb2, launch_pb2_grpc
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2, watch_pb2_grpc
from wingbeatidl.worker.v1 import worker_pb2, worker_pb2_grpc

MIB = 1 << 20
MANIFEST_BYTES = 100 * MIB
LOOK_S = 0.02
OPTIONS = [("grpc.max_send_message_length", 64 * MIB), ("grpc.max_receive_message_length", 64 * MIB)]
TEMPLATE = item_pb2.LaunchTemplate(target=item_pb2.Target(name="kills.wf", version="v1"))


@pytest.fixture(scope="module", autouse=True)
def _registered(installation: Installation) -> None:
    register_echo(installation.endpoint)


@contextmanager
def grows_by_at_most(installation: Installation, role: str, bytes_max: int) -> Iterator[None]:
    """Look at the memory of a process for the time of the block."""
    process = psutil.Process(installation.pid(role))
    before = process.memory_info().rss
    most = before
    over = threading.Event()

    def look() -> None:
        nonlocal most
        while not over.wait(LOOK_S):
            most = max(most, process.memory_info().rss)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
    assert process.is_running()
    grown = max(most, process.memory_info().rss) - before
    assert grown < bytes_max, f"{role} has grown by {grown / MIB:.0f} MiB"


async def _flood(write, message, sent_max: int) -> int:
    """Write until the transport takes no more; how many messages it took."""
    for sent in range(sent_max):
        writing = asyncio.create_task(write(message))
        if not (await asyncio.wait({writing}, timeout=3))[0]:
            writing.cancel()
            return sent
        if writing.exception() is not None:
            return sent
    return sent_max


def test_a_broken_row_in_the_middle_of_a_large_manifest(installation: Installation, client: Client) -> None:
    """100 MiB with one broken row: the batch ends with the number of its line, and nothing was launched."""
    path = installation.data_dir / "blobs" / "broken.jsonl"
    row = '{"x": 1, "@labels": {"pad": "' + "p" * 60 + '"}}\n'
    half = MANIFEST_BYTES // 2 // len(row)
    path.write_text(row * half + '{"x": \n' + row * half)
    name = batch_pb2.BatchIdentifier(project=PROJECT, domain=DOMAIN, name="broken")
    with grpc.insecure_channel(installation.endpoint) as channel, grows_by_at_most(installation, "server", 150 * MIB):
        stub = batch_pb2_grpc.BatchServiceStub(channel)
        stub.CreateBatch(
            batch_pb2.CreateBatchRequest(
                id=name,
                spec=batch_pb2.BatchSpec(template=TEMPLATE),
                manifest=manifest_pb2.Manifest(uri=str(path.resolve())),
            )
        )
        waiting = threading.Event()
        while not (batch := stub.GetBatch(batch_pb2.GetBatchRequest(id=name)).batch).HasField("ended_at"):
            waiting.wait(0.1)
    path.unlink()
    assert batch.state == batch_pb2.BATCH_STATE_FAILED
    assert f"line {half + 1} is no JSON" in batch.message
    assert batch.counts.succeeded + batch.counts.queued + batch.counts.running == 0


def test_a_hundred_thousand_items_in_one_call(installation: Installation) -> None:
    """They are refused, with the field."""
    items = [item_pb2.LaunchItem(inputs=item_pb2.Inputs(json='{"x": 1}'))] * 100_000
    request = launch_pb2.LaunchRequest(project=PROJECT, domain=DOMAIN, template=TEMPLATE, items=items)
    with (
        grpc.insecure_channel(installation.endpoint, options=OPTIONS) as channel,
        grows_by_at_most(installation, "server", 150 * MIB),
        pytest.raises(grpc.RpcError, match="100000 items are more than the 10000") as raised,
    ):
        launch_pb2_grpc.LaunchServiceStub(channel).Launch(request)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_acknowledgements_that_nobody_reads(installation: Installation) -> None:
    """A launch stream takes no more items when its acknowledgements are not taken."""
    refused = item_pb2.LaunchItem(name="No Name", inputs=item_pb2.Inputs(json='{"x": 1}'))
    message = launch_pb2.LaunchStreamRequest(items=[refused] * 1000)
    with grows_by_at_most(installation, "server", 150 * MIB):
        async with grpc.aio.insecure_channel(installation.endpoint, options=OPTIONS) as channel:
            call = launch_pb2_grpc.LaunchServiceStub(channel).LaunchStream()
            await call.write(launch_pb2.LaunchStreamRequest(project=PROJECT, domain=DOMAIN, template=TEMPLATE))
            assert await _flood(call.write, message, 2000) < 2000
            call.cancel()


async def test_transitions_that_nobody_reads(installation: Installation) -> None:
    """Forty watchers with everything that the log holds and will hold keep next to nothing."""
    everything = watch_pb2.WatchTransitionsRequest(
        levels=[transition_pb2.LEVEL_EXECUTION, transition_pb2.LEVEL_NODE, transition_pb2.LEVEL_ATTEMPT],
        start=watch_pb2.START_OLDEST,
        with_outputs=True,
    )
    items = [item_pb2.LaunchItem(inputs=item_pb2.Inputs(json='{"x": 1}'))] * 1000
    request = launch_pb2.LaunchRequest(project=PROJECT, domain=DOMAIN, template=TEMPLATE, items=items)
    with grows_by_at_most(installation, "server", 200 * MIB):
        async with grpc.aio.insecure_channel(installation.endpoint, options=OPTIONS) as channel:
            stub = watch_pb2_grpc.WatchServiceStub(channel)
            idle = [stub.WatchTransitions(everything) for _ in range(40)]
            answer = await launch_pb2_grpc.LaunchServiceStub(channel).Launch(request)
            executions = [outcome.execution for outcome in answer.outcomes]
            async for _ in stub.WaitExecutions(watch_pb2.WaitExecutionsRequest(executions=executions), timeout=120):
                pass
            for call in idle:
                call.cancel()


async def test_a_worker_that_lies_and_does_not_read(installation: Installation) -> None:
    """It says that it has a million slots, and asks without end for answers that it does not take: it is not heard."""
    async with grpc.aio.insecure_channel(installation.endpoint) as channel:
        directory = worker_pb2_grpc.WorkerDirectoryServiceStub(channel)
        [engine] = (await directory.ListEngines(worker_pb2.ListEnginesRequest())).engines
    held = [worker_pb2.Held(reference=worker_pb2.Reference(name=f"{'n' * 200}{one}", token=1)) for one in range(1000)]
    with grows_by_at_most(installation, "propeller-0", 200 * MIB):
        async with grpc.aio.insecure_channel(engine.address, options=OPTIONS) as channel:
            call = worker_pb2_grpc.WorkerServiceStub(channel).Work()
            # Of an image that nothing here has, so that it gets no tasks of other tests.
            hello = worker_pb2.Hello(worker_id="liar", name="liar", slots=1_000_000, images=["none"])
            await call.write(worker_pb2.WorkRequest(hello=hello))
            assert (await call.read()).welcome.slots == 1024
            assert await _flood(call.write, worker_pb2.WorkRequest(held=held), 5000) < 5000
            call.cancel()
