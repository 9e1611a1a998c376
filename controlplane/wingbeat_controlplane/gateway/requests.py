"""Makes the request message of a route out of path, query string and body.

The body comes first, then what the path says, which wins. Query parameters fill what neither holds, and only for routes
whose body is not the whole request. Every refusal is an ApiError INVALID_ARGUMENT that names the field.
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from google.protobuf.message import DecodeError, Message

from wingbeat_controlplane.errors import invalid_argument
from wingbeat_controlplane.gateway.descriptors import descriptor_of, is_map, is_message, is_repeated
from wingbeat_controlplane.gateway.json_decoding import MalformedJsonError, merge_json
from wingbeat_controlplane.gateway.routes import FieldPath, Route, resolve_field
from wingbeat_controlplane.gateway.scalars import message_from_text, scalar_from_text

PARAMETERS_MAX = 1000
"""Query parameters in one request."""

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def build_request(route: Route, *, segments: Sequence[str], query: str, body: bytes, binary: bool) -> Message:
    """The request message. `segments` are the still encoded values of the path variables, `query` the raw query string,
    `binary` says that the body is protobuf rather than JSON. Raises ApiError INVALID_ARGUMENT."""
    request = route.request_type()
    if route.body and body:
        target = request if route.body == "*" else getattr(request, route.body)
        _merge_body(target, body, binary=binary)
    if route.body != "*" and query:
        _merge_query(request, query, route)
    for variable, segment in zip(route.variables, segments, strict=True):
        _set_from_text(_parent(request, variable), variable, _decoded(segment, variable.dotted))
    return request


def _merge_body(target: Message, body: bytes, *, binary: bool) -> None:
    if not binary:
        try:
            merge_json(target, body)
        except MalformedJsonError as error:
            raise invalid_argument(f"malformed request: {error}") from error
        return
    try:
        target.MergeFromString(body)
    except DecodeError as error:
        name = descriptor_of(target).full_name
        raise invalid_argument(f"malformed request: the body is no {name}") from error


def _merge_query(request: Message, query: str, route: Route) -> None:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX)
    except UnicodeDecodeError as error:
        raise invalid_argument("malformed query string: not UTF-8") from error
    except ValueError as error:
        raise invalid_argument(f"malformed query string: more than {PARAMETERS_MAX} parameters") from error
    seen: set[str] = set()
    for name, text in pairs:
        path = resolve_field(route.method.input_type, name)
        if path is None or path.dotted in route.bound or is_map(path.leaf):
            continue
        if is_repeated(path.leaf):
            if not is_message(path.leaf):
                _append_text(_parent(request, path), path, text)
        elif path.dotted not in seen:  # of one that is given twice the first counts, as in Flyte v1
            seen.add(path.dotted)
            _set_from_text(_parent(request, path), path, text)


def _parent(request: Any, path: FieldPath) -> Any:
    for name in path.parents:
        request = getattr(request, name)
        request.SetInParent()
    return request


def _set_from_text(parent: Any, path: FieldPath, text: str) -> None:
    leaf = path.leaf
    try:
        if not is_message(leaf):
            setattr(parent, leaf.name, scalar_from_text(leaf, text))
            return
        target = getattr(parent, leaf.name)
        target.SetInParent()
        known = message_from_text(target, text)
    except ValueError as error:
        raise invalid_argument(f"invalid value for {path.dotted}: {error}") from error
    if not known:
        raise invalid_argument(f"invalid value for {path.dotted}: give the fields of a {descriptor_of(target).name}")


def _append_text(parent: Any, path: FieldPath, text: str) -> None:
    try:
        getattr(parent, path.leaf.name).append(scalar_from_text(path.leaf, text))
    except ValueError as error:
        raise invalid_argument(f"invalid value for {path.dotted}: {error}") from error


def _decoded(segment: str, name: str) -> str:
    """A path segment with its percent-encoding undone once."""
    if _BROKEN_ESCAPE.search(segment):
        raise invalid_argument(f"invalid value for {name}: malformed percent-encoding in the path")
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise invalid_argument(f"invalid value for {name}: the path is not UTF-8") from error
