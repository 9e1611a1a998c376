"""Which engines there are, as the server says: asked every second, and much more often while a stream is missing.

A server that does not answer changes nothing: the streams to the engines stand on their own.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping

import grpc
import grpc.aio

from wingbeatidl.worker.v1 import worker_pb2

LIST_ENGINES = "/wingbeatidl.worker.v1.WorkerDirectoryService/ListEngines"
POLL_S = 1.0
POLL_EAGERLY_S = 0.1
"""While an engine is missing."""
_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


async def watch_engines(channel: grpc.aio.Channel, is_settled: Callable[[], bool]) -> AsyncIterator[Mapping[int, str]]:
    """Addresses by term, again and again."""
    list_engines = channel.unary_unary(
        LIST_ENGINES,
        request_serializer=worker_pb2.ListEnginesRequest.SerializeToString,
        response_deserializer=worker_pb2.ListEnginesResponse.FromString,
    )
    said = ""
    while True:
        try:
            response = await list_engines(worker_pb2.ListEnginesRequest(), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            reason = error.details() or error.code().name
            if reason != said:
                _log.warning("the server does not answer: %s", reason)
            said = reason
        else:
            said = ""
            yield {engine.term: engine.address for engine in response.engines}
        await asyncio.sleep(POLL_S if is_settled() else POLL_EAGERLY_S)
