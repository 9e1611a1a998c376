"""Trace: from a request to a page of steps.

Every page walks anew and goes on behind the step that the page before ended with: rows that are final stay in the order
in which they are met, what comes between them meanwhile repeats none, and a token is small, however wide the walk is.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, NoReturn

from wingbeat_catalog.lineage.execution_graph import ExecutionGraph, Value
from wingbeat_catalog.lineage.steps import step_messages
from wingbeat_catalog.lineage.store import LineageStore, NodeKey, Row
from wingbeat_catalog.lineage.walk import FAN_MAX, NODES_MAX, Link, LinkKind, Start, Walk
from wingbeat_propeller.core.references import uri_token
from wingbeatidl.lineage.v1 import lineage_pb2

DEPTH = 50
DEPTH_MAX = 1_000
PAGE_SIZE = 100
PAGE_SIZE_MAX = 1_000
_ANCESTORS_MAX = 50
"""Folders around a blob that are looked up."""
_NOWHERE = 0
"""Stands for an execution that nobody knows."""


class InvalidTraceError(ValueError):
    """The request makes no sense; the text says why."""


class UnknownStartError(LookupError):
    """What the request names does not exist; the text says what."""


class _Told(NamedTuple):
    """What earlier pages have told: so many steps, the last one this."""

    position: int
    execution: int
    node_id: str

    def end_in(self, steps: Iterable[NodeKey]) -> int:
        """Where to go on in a walk, which may have met new steps among those that were told."""
        last = (self.execution, self.node_id)
        return next((place + 1 for place, step in enumerate(steps) if step == last), self.position)

    def token(self, question: str) -> str:
        """For the next page."""
        return base64.urlsafe_b64encode(json.dumps([*self, question]).encode()).decode()


class Tracer:
    """Answers Trace."""

    def __init__(self, store: LineageStore) -> None:
        self._store = store

    async def trace(self, request: lineage_pb2.TraceRequest) -> lineage_pb2.TraceResponse:
        """One page. Raises InvalidTraceError, UnknownStartError, OSError."""
        if request.direction not in (lineage_pb2.DIRECTION_UP, lineage_pb2.DIRECTION_DOWN):
            raise InvalidTraceError("say which way to go: direction is DIRECTION_UP or DIRECTION_DOWN")
        depth = _bounded("depth", request.depth, DEPTH, DEPTH_MAX)
        size = _bounded("page_size", request.page_size, PAGE_SIZE, PAGE_SIZE_MAX)
        question = _digest(request)
        told = _decode(request.page_token, question)
        is_up = request.direction == lineage_pb2.DIRECTION_UP
        walk = Walk(self._store, depth)
        starts = await self._starts(request, walk, is_up=is_up)
        trace = await (walk.up(starts) if is_up else walk.down(starts))
        steps = list(trace.steps.values())
        begin = 0 if told is None else told.end_in(trace.steps)
        page = steps[begin : begin + size]
        is_cut = trace.is_cut or len(starts) >= FAN_MAX
        answer = lineage_pb2.TraceResponse(steps=await step_messages(self._store, trace, page), is_cut=is_cut)
        if begin + size < len(steps):
            answer.next_page_token = _Told(begin + size, page[-1].execution, page[-1].node_id).token(question)
        return answer

    async def _starts(self, request: lineage_pb2.TraceRequest, walk: Walk, *, is_up: bool) -> list[Start]:
        match request.WhichOneof("start"):
            case "value":
                return [await self._value(request.value, walk, is_up=is_up)]
            case "uri":
                return await self._uri(request.uri, is_up=is_up)
            case "artifact":
                return await self._artifact(request.artifact, is_up=is_up)
            case _:
                raise InvalidTraceError("say where to begin: a value, a uri or an artifact")

    async def _value(self, value: lineage_pb2.ValueIdentifier, walk: Walk, *, is_up: bool) -> Start:
        execution = value.execution
        for name in ("project", "domain", "name"):
            _text(f"value.execution.{name}", getattr(execution, name))
        _optional_text("value.node_id", value.node_id)
        _optional_text("value.variable", value.variable)
        label = f"{execution.project}:{execution.domain}:{execution.name}"
        key = await self._store.execution_id(execution.project, execution.domain, execution.name)
        if key is None:
            raise UnknownStartError(f"execution [{label}] does not exist")
        await walk.load([key])
        graph = walk.graph(key)
        if graph is None:
            reason = f"has more than {NODES_MAX} nodes" if walk.trace.is_cut else "has a workflow that cannot be read"
            raise UnknownStartError(f"execution [{label}] {reason}")
        if not value.node_id:
            names = graph.plan.output_names if is_up else graph.plan.input_names
            _check_variable(value.variable, names, f"execution [{label}]", "output" if is_up else "input")
            return Start(key, Value("", value.variable), is_outcome=is_up)
        node_id = _find_node(graph, value.node_id, label)
        names = graph.output_names(node_id)
        if names:
            _check_variable(value.variable, names, f"node '{node_id}' of execution [{label}]", "output")
        return Start(key, Value(node_id, value.variable))

    async def _uri(self, uri: str, *, is_up: bool) -> list[Start]:
        _text("uri", uri)
        rows = await self._store.known_by([uri_token(part) for part in _ancestors(uri)], FAN_MAX)
        nearest = [row for row in rows if row["token"] == rows[0]["token"]]
        makers = [row for row in nearest if row["node_id"]]
        if not nearest or (is_up and not makers):
            raise UnknownStartError(f"no execution is known that has made {uri}, as a value of its own or inside one")
        found = [Start(row["execution_id"], Value(row["node_id"], row["var"])) for row in makers]
        if not is_up:
            made_by = {row["execution_id"] for row in makers}
            found += [
                _given(
                    row["execution_id"], row["var"], Link(LinkKind.BLOB, "", _NOWHERE, Value("", ""), row["token"][4:])
                )
                for row in nearest
                if not row["node_id"] and not made_by - {row["execution_id"]}
            ]
        return found

    async def _artifact(self, artifact: lineage_pb2.ArtifactIdentifier, *, is_up: bool) -> list[Start]:
        for name in ("project", "domain", "name", "version"):
            _text(f"artifact.{name}", getattr(artifact, name))
        row = await self._store.artifact(artifact.project, artifact.domain, artifact.name, artifact.version)
        label = f"{artifact.project}:{artifact.domain}:{artifact.name}@{artifact.version}"
        if row is None:
            raise UnknownStartError(f"artifact [{label}] does not exist")
        if is_up:
            return [] if row["maker_execution_id"] is None else [_made(row)]
        maker = _NOWHERE if row["maker_execution_id"] is None else row["maker_execution_id"]
        link = Link(
            LinkKind.ARTIFACT, "", maker, Value(row["node_id"], row["var"]), f"{artifact.name}@{artifact.version}"
        )
        uses = await self._store.artifact_uses(row["id"], FAN_MAX)
        return [_given(use["execution_id"], use["var"], link) for use in uses]


def _made(row: Row) -> Start:
    node_id: str = row["node_id"]
    return Start(row["maker_execution_id"], Value(node_id, row["var"]), is_outcome=not node_id)


def _given(execution: int, var: str, link: Link) -> Start:
    return Start(execution, Value("", var), link)


def _find_node(graph: ExecutionGraph, asked: str, label: str) -> str:
    if asked in graph.rows:
        return asked
    named = [row.node_id for row in graph.rows.values() if asked in (row.name, row.spec_node_id)]
    if not named:
        raise UnknownStartError(f"execution [{label}] has no node '{asked}' that has begun")
    if len(named) > 1:
        shown = ", ".join(named[:10])
        raise InvalidTraceError(f"execution [{label}] has {len(named)} nodes '{asked}': name one by its id, as {shown}")
    return named[0]


def _check_variable(variable: str, names: Sequence[str], owner: str, kind: str) -> None:
    if variable and variable not in names:
        have = f"it has {', '.join(names)}" if names else "it has none"
        raise UnknownStartError(f"{owner} has no {kind} '{variable}': {have}")


def _ancestors(uri: str) -> Iterator[str]:
    """The blob and the folders around it, up to the bucket."""
    scheme, separator, path = uri.rpartition("://")
    parts = path.rstrip("/").split("/")
    for length in range(len(parts), max(0, len(parts) - _ANCESTORS_MAX), -1):
        yield f"{scheme}{separator}{'/'.join(parts[:length])}"


def _text(field: str, text: str) -> None:
    if not text:
        raise InvalidTraceError(f"missing {field}")
    _optional_text(field, text)


def _optional_text(field: str, text: str) -> None:
    if "\0" in text or len(text) > 4_096:
        raise InvalidTraceError(f"invalid value for {field}")


def _bounded(field: str, asked: int, default: int, limit: int) -> int:
    if not 0 <= asked <= limit:
        raise InvalidTraceError(f"{field} is {asked}: it is 0 (for {default}) to {limit}")
    return asked or default


def _digest(request: lineage_pb2.TraceRequest) -> str:
    """Of what must stay the same from page to page."""
    question = lineage_pb2.TraceRequest()
    question.CopyFrom(request)
    question.ClearField("page_token")
    question.ClearField("page_size")
    return hashlib.sha256(question.SerializeToString(deterministic=True)).hexdigest()[:16]


def _decode(token: str, question: str) -> _Told | None:
    if not token:
        return None
    try:
        position, execution, node_id, belongs_to = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, binascii.Error):
        _refuse_token(token)
    if not isinstance(position, int) or position < 0 or not isinstance(execution, int) or not isinstance(node_id, str):
        _refuse_token(token)
    if belongs_to != question:
        raise InvalidTraceError("the page token belongs to another question; every page needs the request of the first")
    return _Told(position, execution, node_id)


def _refuse_token(token: str) -> NoReturn:
    raise InvalidTraceError(f"invalid page token {token[:100]} for Trace")
