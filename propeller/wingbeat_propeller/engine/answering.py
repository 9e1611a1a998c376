"""Serves what an engine serves: EngineService, by which the servers of the installation ask this process about the
executions it drives, and services of its runtimes.

The address is chosen when `run` begins and announced with the process's lease, so that a server finds the process by
the shard of an execution. Nothing depends on it: a server that gets no answer reads the rows. So a port that cannot be
had is a warning, and the end of the engine ends calls under way at once. gRPC is loaded here and not before, since an
engine that nobody asks should not wait for it when it starts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import structlog

from wingbeat_propeller.ports.journal import LeaseLostError
from wingbeatidl.engine.v1 import engine_pb2

_log = structlog.get_logger(__name__)

EXPLAIN = "/wingbeatidl.engine.v1.EngineService/Explain"
CALLS_MAX = 64 + 256
"""Calls at once, streams of workers included; more are refused."""
MESSAGE_BYTES_MAX = 64 << 20
_RETRY_S = 1.0

Explain = Callable[[engine_pb2.ExplainRequest], engine_pb2.ExplainResponse]


SECURE = "https://"
"""Before the address of an engine that speaks TLS."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a port shows to its clients, as PEM."""

    certificate: bytes
    """With those between it and its root."""
    key: bytes = field(repr=False)


async def answer_servers(
    explain: Explain,
    *,
    host: str,
    announce: Callable[[str], Awaitable[None]],
    services: Sequence[Callable[[ModuleType], Any]] = (),
    tls: ServerTls | None = None,
) -> None:
    """Serve on a free port of `host` until cancelled; `announce` makes the address known. It may raise OSError, and is
    tried again then. `services` are served as well: each makes its handler, given the module `grpc`. With `tls` the
    address begins with SECURE."""
    grpc = await asyncio.to_thread(_load_grpc)

    async def handle(request: engine_pb2.ExplainRequest, _context: object) -> engine_pb2.ExplainResponse:
        return explain(request)

    handler = grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=engine_pb2.ExplainRequest.FromString,
        response_serializer=engine_pb2.ExplainResponse.SerializeToString,
    )
    service, _, method = EXPLAIN[1:].partition("/")
    server = grpc.aio.server(
        maximum_concurrent_rpcs=CALLS_MAX,
        options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ],
    )
    own = grpc.method_handlers_generic_handler(service, {method: handler})
    server.add_generic_rpc_handlers((own, *(make(grpc) for make in services)))
    try:
        if tls is None:
            port = server.add_insecure_port(f"{host}:0")
        else:
            credentials = grpc.ssl_server_credentials([(tls.key, tls.certificate)])
            port = server.add_secure_port(f"{host}:0", credentials)
    except RuntimeError as error:
        _log.warning("questions about executions are answered from the rows alone", host=host, error=str(error))
        return
    await server.start()
    try:
        await _announce(announce, f"{SECURE if tls else ''}{host}:{port}")
        await server.wait_for_termination()
    finally:
        await server.stop(None)


async def _announce(announce: Callable[[str], Awaitable[None]], address: str) -> None:
    while True:
        try:
            await announce(address)
        except LeaseLostError:
            return  # the engine is about to end
        except OSError as error:
            _log.warning("address not announced, trying again", address=address, error=str(error))
            await asyncio.sleep(_RETRY_S)
        else:
            _log.info("answers servers", address=address)
            return


def _load_grpc():
    import grpc
    import grpc.aio

    return grpc
