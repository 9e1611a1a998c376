"""Serves WorkerService: one coroutine for each stream of a worker, which ends with the stream or with the lease.

A worker that says what no worker may say is refused with a status; nothing it said before is undone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import structlog

from wingbeat_propeller.runtimes.worker.pool import TooManyWorkersError, WorkerPool
from wingbeat_propeller.runtimes.worker.session import Session
from wingbeatidl.worker.v1 import worker_pb2

SERVICE = "wingbeatidl.worker.v1.WorkerService"
NAME_CHARS_MAX = 256
ANNOUNCED_MAX = 1_000
"""Images, task types or labels that one worker may name."""

_log = structlog.get_logger(__name__)


def handlers(pool: WorkerPool, lease_s: float, grpc: ModuleType) -> Any:
    """What a gRPC server is given; `grpc` is loaded by the caller, since an engine starts without it."""

    async def work(
        requests: AsyncIterator[worker_pb2.WorkRequest], context: Any
    ) -> AsyncIterator[worker_pb2.WorkResponse]:
        hello = None
        with suppress(TimeoutError):
            async with asyncio.timeout(lease_s):
                hello = await anext(aiter(requests), None)
        problem = _problem(hello)
        if hello is None or problem:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
            return
        try:
            session, number, welcome = pool.connect(hello.hello)
        except TooManyWorkersError as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
            return
        pool.hear(session, hello)
        listening = asyncio.create_task(_listen(pool, session, number, requests), name=f"worker {session.name}")
        try:
            yield worker_pb2.WorkResponse(welcome=welcome)
            while not listening.done() and (message := await session.next_message(number, lease_s / 4)) is not None:
                yield message
        finally:
            listening.cancel()
            pool.disconnect(session, number)

    handler = grpc.stream_stream_rpc_method_handler(
        work,
        request_deserializer=worker_pb2.WorkRequest.FromString,
        response_serializer=worker_pb2.WorkResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"Work": handler})


async def _listen(
    pool: WorkerPool, session: Session, number: int, requests: AsyncIterator[worker_pb2.WorkRequest]
) -> None:
    try:
        async for request in requests:
            if session.stream != number:
                return  # a later stream of the same worker counts
            pool.hear(session, request)
    except Exception:  # noqa: BLE001 - one worker's stream must not end the engine
        _log.exception("the stream of a worker has failed", worker=session.name)
    finally:
        session.wake()


def _problem(first: worker_pb2.WorkRequest | None) -> str:
    """What is wrong with the first message of a stream; empty: nothing."""
    if first is None or not first.HasField("hello"):
        return "the first message of a stream must carry `hello`"
    hello = first.hello
    if not hello.worker_id or len(hello.worker_id) > NAME_CHARS_MAX or len(hello.name) > NAME_CHARS_MAX:
        return f"hello.worker_id and hello.name: a worker has an id, and neither has more than {NAME_CHARS_MAX} letters"
    if hello.slots < 1:
        return f"hello.slots: {hello.slots} is no number of slots; a worker has at least one"
    if max(len(hello.images), len(hello.task_types), len(hello.labels)) > ANNOUNCED_MAX:
        return f"hello: more than {ANNOUNCED_MAX} images, task types or labels"
    return ""
