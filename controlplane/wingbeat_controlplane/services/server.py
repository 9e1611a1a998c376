"""The gRPC server: our rpcs, health and reflection, with limits that real clients live with.

flytekit pings every 30 s even without calls and accepts 32 KiB of metadata; the server permits both. A port that is
taken is an error and never shared with another server, but for the supervisor's own hold on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from wingbeat_controlplane.services.rpcs import AnyRpc, RpcHandler
from wingbeat_propeller.engine.answering import ServerTls

HEALTH_ALIAS = "flyteadmin"
"""The service name that probes of Flyte v1 installations ask for."""


@dataclass(frozen=True, slots=True)
class GrpcOptions:
    """Limits of the gRPC server."""

    max_message_bytes: int = 64 * 1024 * 1024
    """Largest request; answers have no limit here, clients set their own."""
    max_metadata_bytes: int = 64 * 1024
    max_concurrent_rpcs: int = 10_000
    """Calls beyond these are refused with RESOURCE_EXHAUSTED."""
    reuse_port: bool = False
    """For a process whose supervisor holds the port open for it, bound with SO_REUSEPORT, between its restarts."""
    tls: ServerTls | None = None
    """None: calls come in the clear."""


class _Health(Protocol):
    """The part of grpc_health's servicer that is used; the package has no types."""

    async def set(self, service: str, status: health_pb2.HealthCheckResponse.ServingStatus) -> None: ...
    async def enter_graceful_shutdown(self) -> None: ...


class GrpcServer:
    """A `grpc.aio` server with everything registered, not yet bound. Make it inside the running event loop."""

    def __init__(self, rpcs: Mapping[str, AnyRpc], options: GrpcOptions) -> None:
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", options.max_metadata_bytes),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.max_ping_strikes", 0),  # no client is sent away for its pings
                ("grpc.so_reuseport", int(options.reuse_port)),
            ),
            maximum_concurrent_rpcs=options.max_concurrent_rpcs,
        )
        self._tls = options.tls
        self._services = sorted({rpc.service for rpc in rpcs.values()})
        self._health = cast("_Health", cast("Any", health).aio.HealthServicer())
        self._server.add_generic_rpc_handlers((RpcHandler(rpcs),))
        cast("Any", health_pb2_grpc).add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )

    def bind(self, address: str) -> int:
        """Listen on `host:port` (port 0: a free one); returns the port. Raises RuntimeError if taken, or if certificate
        and key are none."""
        if self._tls is None:
            return self._server.add_insecure_port(address)
        credentials = grpc.ssl_server_credentials([(self._tls.key, self._tls.certificate)])
        return self._server.add_secure_port(address, credentials)

    async def start(self) -> None:
        """Serve; every service reports SERVING from now on."""
        for service in (*self._services, HEALTH_ALIAS):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Report NOT_SERVING, take no new calls, let running ones end for `grace_s` seconds, then cancel them."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
