"""Transitions as server-sent events under GET `/api/v1/watch`, for browsers and curl.

Each event is one transition as JSON (wingbeatidl.watch.v1.Transition), its id the cursor after it: a browser that
reconnects sends the last one as `Last-Event-ID` and misses nothing. A heartbeat is an id without an event, which moves
the browser's place on and shows nobody anything. What is wrong with a request is told by the status of the answer and a
`google.rpc.Status`; what goes wrong later by an event `error`, after which the stream ends.

A caller that goes away is noticed by the HTTP server, and the stream is cancelled; one that does not read holds up its
own stream, whose next portion is asked for when the socket has taken the last one.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import NoReturn, TypeAlias, TypeVar, cast

import grpc
import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from wingbeat_controlplane.errors import ApiError, bad_field
from wingbeat_controlplane.executions.watch.portions import Portion
from wingbeat_controlplane.executions.watch.telling import Told
from wingbeat_controlplane.gateway.json_encoding import JsonEncoder
from wingbeat_controlplane.gateway.responses import Form, encode, encode_error
from wingbeatidl.query.v1 import identity_pb2
from wingbeatidl.watch.v1 import transition_pb2, watch_pb2

V = TypeVar("V")

Watch: TypeAlias = Callable[[watch_pb2.WatchTransitionsRequest], AsyncGenerator[Portion, None]]
"""Portions for a request. Raises ApiError, at the first portion for what is wrong with the request."""

RETRY_MS = 1_000
"""How long a browser waits before it reconnects."""

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
_ENTITIES = {
    "launch_plan": transition_pb2.ENTITY_KIND_LAUNCH_PLAN,
    "workflow": transition_pb2.ENTITY_KIND_WORKFLOW,
    "task": transition_pb2.ENTITY_KIND_TASK,
}
_LEVELS = {
    "execution": transition_pb2.LEVEL_EXECUTION,
    "node": transition_pb2.LEVEL_NODE,
    "attempt": transition_pb2.LEVEL_ATTEMPT,
}
_STARTS = {"now": watch_pb2.START_NOW, "oldest": watch_pb2.START_OLDEST}
_FLAGS = {"": True, "true": True, "1": True, "false": False, "0": False}
_ENCODER = JsonEncoder(proto_names=False)
_log = structlog.get_logger(__name__)


def event_routes(watch: Watch) -> list[Route]:
    """GET `/api/v1/watch`."""

    async def stream(request: Request) -> Response:
        try:
            message = read_query(request.query_params.multi_items())
            if last := request.headers.get("last-event-id"):
                message.cursor = last
            portions = watch(message)
            first = await anext(portions)
        except ApiError as error:
            return _refusal(error)
        except OSError as error:
            return _refusal(_unavailable(error))
        return StreamingResponse(_events(first, portions), headers=_HEADERS, media_type="text/event-stream")

    return [Route("/api/v1/watch", stream, methods=["GET"])]


def _refusal(error: ApiError) -> Response:
    status, body = encode_error(error, Form.CAMEL_JSON)
    return Response(body, status_code=status, media_type=Form.CAMEL_JSON.media_type)


async def _events(first: Portion, portions: AsyncGenerator[Portion, None]) -> AsyncIterator[bytes]:
    async with aclosing(portions):
        try:
            yield f"retry: {RETRY_MS}\n".encode() + _portion(first)
            async for portion in portions:
                yield _portion(portion)
        except ApiError as error:
            yield _error(error)
        except OSError as error:
            yield _error(_unavailable(error))


def _error(error: ApiError) -> bytes:
    _, body = encode_error(error, Form.CAMEL_JSON)
    return b"event: error\ndata: " + body + b"\n\n"


def _unavailable(error: OSError) -> ApiError:
    _log.warning("the database does not answer an event stream", error=repr(error))
    return ApiError(grpc.StatusCode.UNAVAILABLE, "the database does not answer; try again")


def _portion(portion: Portion) -> bytes:
    if not portion.told:
        return f"id: {portion.cursor.encode()}\n\n".encode()
    return "".join(
        f"id: {portion.cursor_after(number)}\nevent: transition\ndata: {_json(one, portion)}\n\n"
        for number, one in enumerate(portion.told)
    ).encode()


def _json(one: Told, portion: Portion) -> str:
    text = one.json.get(portion.with_outputs)
    if text is None:
        message = transition_pb2.Transition.FromString(one.encoded(with_outputs=portion.with_outputs))
        text = one.json[portion.with_outputs] = encode(message, Form.CAMEL_JSON).decode()
    return text


def read_query(items: Iterable[tuple[str, str]]) -> watch_pb2.WatchTransitionsRequest:
    """The request that query parameters mean. Raises ApiError INVALID_ARGUMENT for one that means nothing."""
    request = watch_pb2.WatchTransitionsRequest()
    asked = request.filter
    for name, value in items:
        match name:
            case "project" | "domain":
                setattr(asked, name, value)
            case "execution":
                asked.executions.append(value)
            case "batch":
                asked.batches.append(value)
            case "label":
                key, _, wanted = value.partition("=")
                asked.labels[key] = wanted
            case "launch_plan" | "workflow" | "task":
                entity, _, version = value.partition("@")
                asked.entities.add(kind=_ENTITIES[name], name=entity, version=version)
            case "level":
                request.levels.append(_chosen(name, value, _LEVELS))
            case "phase":
                _add_phase(asked, value)
            case "outputs":
                request.with_outputs = _chosen(name, value, _FLAGS)
            case "cursor":
                request.cursor = value
            case "start":
                request.start = _chosen(name, value, _STARTS)
            case "heartbeat_s":
                _set_heartbeat(request, value)
            case _:
                _refuse(name, "there is no such parameter")
    return request


def _add_phase(asked: watch_pb2.TransitionFilter, value: str) -> None:
    """`failed`: at whatever level there is such a phase; `node:failed`: at that level alone."""
    level, _, name = value.rpartition(":")
    if level and level not in _LEVELS:
        _refuse("phase", f"{level!r} is none of {', '.join(_LEVELS)}")
    found = False
    for of_level, enum, phases in (
        ("execution", identity_pb2.ExecutionPhase, asked.execution_phases),
        ("node", identity_pb2.NodePhase, asked.node_phases),
        ("attempt", transition_pb2.AttemptPhase, asked.attempt_phases),
    ):
        full = f"{of_level.upper()}_PHASE_{name.upper()}"
        if level in ("", of_level) and full in dict(enum.items()):
            cast("list[int]", phases).append(enum.Value(full))
            found = True
    if not found:
        _refuse("phase", f"there is no phase {value!r}")


def _chosen(name: str, value: str, choices: Mapping[str, V]) -> V:
    found = choices.get(value.lower())
    if found is None:
        _refuse(name, f"{value!r} is none of {', '.join(sorted(filter(None, choices)))}")
    return found


def _set_heartbeat(request: watch_pb2.WatchTransitionsRequest, value: str) -> None:
    try:
        seconds = float(value)
        request.heartbeat.FromNanoseconds(round(seconds * 1e9))
    except (ValueError, OverflowError):
        _refuse("heartbeat_s", f"{value!r} is no number of seconds")


def _refuse(name: str, reason: str) -> NoReturn:
    raise bad_field(name, f"{name}: {reason}")
