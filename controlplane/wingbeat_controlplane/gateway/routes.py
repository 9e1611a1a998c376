"""Which rpc answers which HTTP request, derived from the `google.api.http` options of the services.

All path templates stand in one tree, a level per segment, so matching a path takes a few look-ups however many routes
there are. A literal segment is preferred to a variable one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from google.api import annotations_pb2, http_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from wingbeat_controlplane.gateway.descriptors import fields_by_any_name, is_message, is_repeated

_VERBS = ("get", "put", "post", "delete", "patch")
_SEGMENT = re.compile(r"[^{}*/]+|\{[A-Za-z0-9_.]+\}")


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A field of a request, possibly inside nested messages: names of the messages that lead to it, then itself."""

    parents: tuple[str, ...]
    leaf: FieldDescriptor

    @property
    def dotted(self) -> str:
        """The path in proto names."""
        return ".".join((*self.parents, self.leaf.name))


@dataclass(frozen=True, slots=True)
class Route:
    """One binding of an rpc. `rpc` is its full name, `/package.Service/Method`.

    `body` is what the HTTP body holds: `*` the whole request, a field's name that field, empty nothing.
    """

    rpc: str
    verb: str
    path: str
    variables: tuple[FieldPath, ...]
    body: str
    request_type: type[Message]
    method: MethodDescriptor
    bound: frozenset[str] = field(default_factory=frozenset[str])
    """Dotted names of the fields that stand in the path."""


@dataclass(slots=True)
class _Node:
    literals: "dict[str, _Node]" = field(default_factory=dict[str, "_Node"])
    variable: "_Node | None" = None
    routes: dict[str, Route] = field(default_factory=dict[str, Route])


class RouteTable:
    """Finds the route of a request. Raises ValueError when two rpcs claim the same verb and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self._routes: list[Route] = []
        for route in routes:
            self._add(route)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def match(self, verb: str, segments: Sequence[str]) -> tuple[Route, Sequence[str]] | None:
        """The route of `verb` (upper case) and the values of its path variables; `segments` are still encoded."""
        for routes, values in _walk(self._root, segments, 0, ()):
            route = routes.get(verb)
            if route is not None:
                return route, values
        return None

    def knows(self, segments: Sequence[str]) -> bool:
        """Whether the path exists with any verb."""
        return next(_walk(self._root, segments, 0, ()), None) is not None

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.path.split("/")[1:]:
            if segment.startswith("{"):
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.literals.setdefault(segment, _Node())
        if route.verb in node.routes:
            raise ValueError(f"{route.rpc} and {node.routes[route.verb].rpc} both claim {route.verb} {route.path}")
        node.routes[route.verb] = route
        self._routes.append(route)


def routes_of(services: Iterable[ServiceDescriptor]) -> Iterator[Route]:
    """Every binding in the options of these services, additional ones too. Raises ValueError for an unusable one."""
    for service in services:
        for method in service.methods:
            rule = _http_rule(method)
            for each in (rule, *rule.additional_bindings):
                verb = each.WhichOneof("pattern")
                if verb in _VERBS:
                    yield _route(method, verb, cast("str", getattr(each, verb)), each.body)


def resolve_field(descriptor: Descriptor, dotted: str) -> FieldPath | None:
    """A field by its dotted path, in proto or camelCase names; None when there is no such field."""
    *parents, last = dotted.split(".")
    names: list[str] = []
    for parent in parents:
        found = fields_by_any_name(descriptor).get(parent)
        if found is None or not is_message(found) or is_repeated(found):
            return None
        names.append(found.name)
        descriptor = cast("Descriptor", found.message_type)
    leaf = fields_by_any_name(descriptor).get(last)
    return None if leaf is None else FieldPath(tuple(names), leaf)


def _http_rule(method: MethodDescriptor) -> http_pb2.HttpRule:
    extensions = cast("Mapping[FieldDescriptor, http_pb2.HttpRule]", method.GetOptions().Extensions)
    return extensions[annotations_pb2.http]


def _route(method: MethodDescriptor, verb: str, path: str, body: str) -> Route:
    if not path.startswith("/") or not all(_SEGMENT.fullmatch(segment) for segment in path.split("/")[1:]):
        raise ValueError(f"{method.full_name}: path template {path!r} is not supported")
    if body not in ("", "*") and body not in method.input_type.fields_by_name:
        raise ValueError(f"{method.full_name}: body field {body!r} does not exist")
    variables: list[FieldPath] = []
    for name in re.findall(r"\{([^}]*)\}", path):
        variable = resolve_field(method.input_type, name)
        if variable is None or is_message(variable.leaf) or is_repeated(variable.leaf):
            raise ValueError(f"{method.full_name}: {name!r} in its path is no scalar field")
        variables.append(variable)
    return Route(
        rpc=f"/{method.containing_service.full_name}/{method.name}",
        verb=verb.upper(),
        path=path,
        variables=tuple(variables),
        body=body,
        request_type=message_factory.GetMessageClass(method.input_type),
        method=method,
        bound=frozenset(variable.dotted for variable in variables),
    )


def _walk(
    node: _Node, segments: Sequence[str], position: int, values: tuple[str, ...]
) -> Iterator[tuple[Mapping[str, Route], tuple[str, ...]]]:
    """Leaves that a path leads to, literal ones first, with the segments that stand for variables."""
    if position == len(segments):
        if node.routes:
            yield node.routes, values
        return
    segment = segments[position]
    literal = node.literals.get(segment)
    if literal is not None:
        yield from _walk(literal, segments, position + 1, values)
    if node.variable is not None:
        yield from _walk(node.variable, segments, position + 1, (*values, segment))
