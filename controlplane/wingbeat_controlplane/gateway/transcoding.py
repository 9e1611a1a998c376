"""REST calls answered by rpcs of the same process.

The raw path is cut at its slashes before anything is decoded, so `%2F` inside a name does not make two segments. Bodies
are JSON or protobuf both ways. Whatever goes wrong, the answer is a `google.rpc.Status` in the form that was asked for.
"""

import time
import uuid

import grpc
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.gateway.requests import build_request
from wingbeat_controlplane.gateway.responses import Form, answer_form, encode, encode_error, is_binary
from wingbeat_controlplane.gateway.routes import Route, RouteTable
from wingbeat_controlplane.gateway.rpc import Rpc
from wingbeat_controlplane.gateway.traffic import Traffic

_NO_ROUTE = "none"
_TOO_LARGE_STATUS = 413
_log = structlog.get_logger(__name__)


class Transcoder:
    """ASGI application for every path that is not another route's. `body_bytes_max` bounds what is read of a body."""

    def __init__(self, routes: RouteTable, rpc: Rpc, traffic: Traffic, *, body_bytes_max: int) -> None:
        self._routes = routes
        self._rpc = rpc
        self._traffic = traffic
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing is sent to a client that went away."""
        started = time.perf_counter()
        request = Request(scope, receive)
        form = answer_form(request.headers.getlist("accept"), request.headers.get("content-type", ""))
        name = _NO_ROUTE
        try:
            route, values = self._route(request)
            name = route.rpc
            response = await self._answer(request, route, values, form)
        except ClientDisconnect:
            return
        except _BodyTooLargeError as error:
            response = _failure(error.answer, form, status=_TOO_LARGE_STATUS)
        except ApiError as error:
            response = _failure(error, form)
        except Exception as error:  # noqa: BLE001 the last line of defence; logged with its id
            incident = uuid.uuid4().hex[:12]
            _log.error("uncaught error in the gateway", rpc=name, incident=incident, exc_info=error)
            answer = ApiError(grpc.StatusCode.INTERNAL, f"internal error {incident}; the server's log has the details")
            response = _failure(answer, form)
        self._traffic.count(name, status=response.status_code, seconds=time.perf_counter() - started)
        await response(scope, receive, send)

    def _route(self, request: Request) -> tuple[Route, list[str]]:
        segments = raw_path(request.scope).split("/")[1:]
        verb = "GET" if request.method == "HEAD" else request.method
        found = self._routes.match(verb, segments)
        if found is not None:
            return found[0], list(found[1])
        if self._routes.knows(segments):
            raise ApiError(grpc.StatusCode.UNIMPLEMENTED, f"{request.method} is not offered for this path")
        raise ApiError(grpc.StatusCode.NOT_FOUND, "Not Found")

    async def _answer(self, request: Request, route: Route, values: list[str], form: Form) -> Response:
        body = await _body(request, self._body_bytes_max) if route.body else b""
        message = build_request(
            route,
            segments=values,
            query=request.scope["query_string"].decode("latin-1"),
            body=body,
            binary=is_binary(request.headers.get("content-type", "")),
        )
        answer = await self._rpc.call(route.rpc, message, metadata=request.headers.items(), peer=_peer(request))
        return Response(encode(answer, form), media_type=form.media_type)


class _BodyTooLargeError(Exception):
    def __init__(self, size_max: int) -> None:
        super().__init__()
        self.answer = ApiError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, f"the body is larger than the {size_max} bytes allowed"
        )


def raw_path(scope: Scope) -> str:
    """The path as it stood in the request line, without the query string."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1")


async def _body(request: Request, size_max: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > size_max:
            raise _BodyTooLargeError(size_max)
    return bytes(body)


def _peer(request: Request) -> str:
    client = request.client
    if client is None:
        return "unix:"
    family = "ipv6" if ":" in client.host else "ipv4"
    host = f"[{client.host}]" if family == "ipv6" else client.host
    return f"{family}:{host}:{client.port}"


def _failure(error: ApiError, form: Form, *, status: int | None = None) -> Response:
    http_status, body = encode_error(error, form)
    return Response(body, status_code=status or http_status, media_type=form.media_type)
