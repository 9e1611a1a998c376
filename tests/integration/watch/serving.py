"""The server's part for watchers, as the role `server` puts it together."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from wingbeat_controlplane.executions.watch.log import LOG_SETTINGS
from wingbeat_controlplane.executions.watch.waiting import Waits
from wingbeat_controlplane.executions.watch.watching import Watching, WatchOptions
from wingbeat_controlplane.gateway.application import GatewayOptions, GatewayParts, create_gateway
from wingbeat_controlplane.gateway.http_server import HttpServer
from wingbeat_controlplane.services.local_calls import LocalCalls
from wingbeat_controlplane.services.rpcs import rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_controlplane.services.watch import WatchServicer
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.postgres.pool import create_pool
from wingbeatidl.watch.v1 import watch_pb2


@dataclass
class WatchServer:
    """A running server."""

    address: str
    url: str
    watching: Watching
    stop: Callable[[], object]


@asynccontextmanager
async def watch_server(
    dsn: str, pool: asyncpg.Pool, folder: Path, options: WatchOptions | None = None, *, port: int = 0
) -> AsyncIterator[WatchServer]:
    """gRPC and HTTP, as the role `server` puts them together. `port` is one that somebody holds; 0: any free one."""
    options = options or WatchOptions()
    log_pool = await create_pool(dsn, size_max=4, application_name="watch", server_settings=LOG_SETTINGS)
    watching = Watching(log_pool, options)
    service = watch_pb2.DESCRIPTOR.services_by_name["WatchService"]
    rpcs = rpcs_of(service, WatchServicer(watching, Waits(pool, watching)))
    grpc_server = GrpcServer(rpcs, GrpcOptions(reuse_port=bool(port)))
    port = grpc_server.bind(f"127.0.0.1:{port}")
    application = create_gateway(
        GatewayOptions(version="1"),
        GatewayParts(rpc=LocalCalls(rpcs), services=[], blobs=FolderBlobs(folder), watch=watching.watch),
    )
    http_server = HttpServer(application, host="127.0.0.1", port=0, reuse_port=False)
    following = asyncio.create_task(watching.run())
    serving = asyncio.create_task(http_server.run(1))
    await grpc_server.start()

    def stop() -> None:
        watching.stop()

    try:
        yield WatchServer(f"127.0.0.1:{port}", f"http://127.0.0.1:{http_server.port}", watching, stop)
    finally:
        watching.stop()
        http_server.stop()
        await grpc_server.stop(1)
        await serving
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        log_pool.terminate()
