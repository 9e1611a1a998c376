"""The HTTP side of the server as one ASGI application: REST, probes, signed blobs, task logs, event streams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.descriptor import ServiceDescriptor
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from wingbeat_controlplane.gateway.blob_bodies import blob_routes
from wingbeat_controlplane.gateway.console_links import console_routes
from wingbeat_controlplane.gateway.event_stream import Watch, event_routes
from wingbeat_controlplane.gateway.header_limit import HeaderLimit
from wingbeat_controlplane.gateway.openapi import describe
from wingbeat_controlplane.gateway.probes import Check, probe_routes
from wingbeat_controlplane.gateway.routes import RouteTable, routes_of
from wingbeat_controlplane.gateway.rpc import Rpc
from wingbeat_controlplane.gateway.task_logs import LogFile, log_routes
from wingbeat_controlplane.gateway.traffic import Traffic
from wingbeat_controlplane.gateway.transcoding import Transcoder
from wingbeat_propeller.blobs.signing import ServedUrlSigner
from wingbeat_propeller.ports.blobs import Blobs

_METHODS = ["GET", "POST", "DELETE", "HEAD", "PUT", "PATCH"]
_ALLOWED_HEADERS = [
    "Content-Type",
    "Last-Event-ID",
    "Content-MD5",
    "Authorization",
    "flyte-authorization",
    "X-Request-Id",
]


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """`cors_origins`: web origins whose pages may call with credentials; `*` echoes whichever asks.

    Bounds are in bytes: of a REST body, of path and query together, of all headers.
    """

    version: str
    cors_origins: Sequence[str] = ("*",)
    body_bytes_max: int = 64 << 20
    path_bytes_max: int = 32 << 10
    header_bytes_max: int = 64 << 10


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """What the gateway stands on. `signer` is None when no URLs are served for blobs, `log_file` for no local tasks,
    `watch` for no event streams.

    `services` are those whose routes are offered; `checks` say by name whether a part can work.
    """

    rpc: Rpc
    services: Sequence[ServiceDescriptor]
    blobs: Blobs
    signer: ServedUrlSigner | None = None
    log_file: LogFile | None = None
    checks: Mapping[str, Check] = field(default_factory=dict[str, Check])
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    watch: Watch | None = None


def create_gateway(options: GatewayOptions, parts: GatewayParts) -> Starlette:
    """The application. Raises ValueError when the services' HTTP options contradict each other."""
    table = RouteTable(routes_of(parts.services))
    description = describe(table, version=options.version)

    async def openapi(_: Request) -> Response:
        return Response(description, media_type="application/json")

    routes: list[BaseRoute] = [*probe_routes(parts.checks, parts.registry), Route("/api/v1/openapi", openapi)]
    routes.extend(console_routes())
    if parts.signer is not None:
        routes.extend(blob_routes(parts.blobs, parts.signer))
    if parts.log_file is not None:
        routes.extend(log_routes(parts.log_file))
    if parts.watch is not None:
        routes.extend(event_routes(parts.watch))
    transcoder = Transcoder(table, parts.rpc, Traffic(parts.registry), body_bytes_max=options.body_bytes_max)
    routes.append(Mount("/", app=transcoder))
    return Starlette(routes=routes, middleware=[_cors(options.cors_origins), _limits(options)])


def _limits(options: GatewayOptions) -> Middleware:
    return Middleware(HeaderLimit, path_bytes_max=options.path_bytes_max, bytes_max=options.header_bytes_max)


def _cors(origins: Sequence[str]) -> Middleware:
    # Browsers refuse `*` beside credentials, so the origin that asks is echoed.
    everyone = "*" in origins
    return Middleware(
        CORSMiddleware,
        allow_origins=() if everyone else tuple(origins),
        allow_origin_regex=".*" if everyone else None,
        allow_credentials=True,
        allow_methods=_METHODS,
        allow_headers=_ALLOWED_HEADERS,
    )
