"""REST over HTTP: routes, parameters, bodies, forms of answers, errors."""

import base64
import json
from urllib.parse import quote

import grpc
import httpx
import orjson
import pytest
from flyteidl.admin import common_pb2, execution_pb2, project_pb2, task_pb2, version_pb2
from flyteidl.core import identifier_pb2
from flyteidl.service import dataproxy_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2
from tests.integration.gateway.conftest import BODY_BYTES_MAX, Call, Gateway, raw_request, routes

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.gateway.responses import HTTP_STATUS

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROTOBUF = "application/octet-stream"
JSON = "application/json"
ADMIN = "/flyteidl.service.AdminService"


def field_of(message: Message, dotted: str) -> object:
    """A field by its dotted name."""
    for name in dotted.split("."):
        message = getattr(message, name)
    return message


async def test_every_route(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """Each binding of each service is reached by its own path, with every path variable where it belongs."""
    for number, route in enumerate(routes()):
        values = [
            "2" if variable.leaf.enum_type or variable.leaf.cpp_type not in (9, 10) else f"v/{number}:é %+{position}"
            for position, variable in enumerate(route.variables)
        ]
        path = route.path
        for variable, value in zip(route.variables, values, strict=True):
            path = path.replace("{" + variable.dotted + "}", quote(value, safe=""))
        answer = await http.request(route.verb, path)
        assert answer.status_code == 200, (route.rpc, answer.text)
        assert gateway.rpc.last.rpc == route.rpc
        for variable, value in zip(route.variables, values, strict=True):
            assert str(field_of(gateway.rpc.last.request, variable.dotted)) == value
    assert len(gateway.rpc.calls) == len(routes()) > 60


async def test_escaped_slashes(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """A slash inside a name is written %2F and stays inside its segment; it is decoded once."""
    await http.get("/api/v1/tasks/p/d/a%2Fb%252F/v%201")
    identifier = identifier_pb2.Identifier(project="p", domain="d", name="a/b%2F", version="v 1")
    assert gateway.rpc.last.request == common_pb2.ObjectGetRequest(id=identifier)


@pytest.mark.parametrize("kind", ["2", "WORKFLOW"])
async def test_enums_in_paths(gateway: Gateway, http: httpx.AsyncClient, kind: str) -> None:
    """The console writes resource types as numbers, others by name."""
    answer = await http.get(f"/api/v1/named_entities/{kind}/p/d?filters=eq(state,0)&limit=10")
    assert answer.status_code == 200
    expected = common_pb2.NamedEntityListRequest(
        resource_type=identifier_pb2.WORKFLOW, project="p", domain="d", limit=10, filters="eq(state,0)"
    )
    assert gateway.rpc.last.request == expected


async def test_query(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """Proto and camelCase names, dotted ones, repeated ones, unknown ones, blanks as `+`, nothing the path binds."""
    await http.get(
        "/api/v1/executions/p/d?limit=5&sortBy.key=created_at&sort_by.direction=ASCENDING&token=a+b%2Bc"
        "&filters=eq(a,1)%2Beq(b,2)&unknown=1&id.unknown.x=2&id.project=other&limit=9"
    )
    expected = common_pb2.ResourceListRequest(
        id=common_pb2.NamedEntityIdentifier(project="p", domain="d"),
        limit=5,
        token="a b+c",
        filters="eq(a,1)+eq(b,2)",
        sort_by=common_pb2.Sort(key="created_at", direction=common_pb2.Sort.ASCENDING),
    )
    assert gateway.rpc.last.request == expected
    await http.get("/api/v1/dataproxy/artifact_urn?native_url=s3%3A%2F%2Fb%2Fx&expires_in=90s")
    assert gateway.rpc.last.request.expires_in.seconds == 90
    await http.get("/api/v1/dataproxy/artifact_urn?expiresIn.seconds=7&nativeUrl=x")
    assert gateway.rpc.last.request.expires_in.seconds == 7


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/v1/executions/p/d?limit=many", "limit"),
        ("/api/v1/executions/p/d?limit=-1", "limit"),
        ("/api/v1/executions/p/d?limit=", "limit"),
        ("/api/v1/executions/p/d?sort_by.direction=UP", "sort_by.direction"),
        ("/api/v1/executions/p/d?sort_by=x", "sort_by"),
        ("/api/v1/executions/p/d?token=%ff", "query"),
        ("/api/v1/executions/p/d?" + "x=1&" * 2000, "query"),
        ("/api/v1/dataproxy/artifact_urn?expires_in=soon", "expires_in"),
        ("/api/v1/named_entities/NOTHING/p/d", "resource_type"),
        ("/api/v1/named_entities/99999999999/p/d", "resource_type"),
        ("/api/v1/tasks/p/d/n/%ff", "id.version"),
        ("/api/v1/tasks/p/d/n/%zz", "id.version"),
    ],
)
async def test_bad_parameters(gateway: Gateway, path: str, field: str) -> None:
    """A parameter that does not fit is INVALID_ARGUMENT and names its field; nothing is called."""
    status, body = await raw_request(gateway.port, f"GET {path} HTTP/1.1".encode())
    assert status == 400
    assert orjson.loads(body)["code"] == 3
    assert field in orjson.loads(body)["message"]
    assert gateway.rpc.calls == []


@pytest.mark.parametrize("casing", ["proto", "camel"])
async def test_json_bodies(gateway: Gateway, http: httpx.AsyncClient, casing: str) -> None:
    """Bodies take names in either casing and ignore what they do not know; path values win over the body's."""
    if casing == "proto":
        body = {"id": {"project": "other", "name": "x"}, "state": "EXECUTION_ARCHIVED", "what_is_this": 1}
    else:
        body = {"id": {"project": "other", "resourceType": "x"}, "state": 1, "whatIsThis": {"a": []}}
    answer = await http.put("/api/v1/executions/p/d/n", json=body)
    assert answer.status_code == 200
    expected = execution_pb2.ExecutionUpdateRequest(
        id=identifier_pb2.WorkflowExecutionIdentifier(project="p", domain="d", name="n"),
        state=execution_pb2.EXECUTION_ARCHIVED,
    )
    assert gateway.rpc.last.request == expected


async def test_body_wins_over_query(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """Where the body is the whole request, the query string says nothing."""
    await http.post("/api/v1/executions?project=other", json={"project": "p"})
    assert gateway.rpc.last.request == execution_pb2.ExecutionCreateRequest(project="p")


async def test_bodies_may_be_absent(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """DELETE has a body or none."""
    assert (await http.delete("/api/v1/executions/p/d/n")).status_code == 200
    assert gateway.rpc.last.request.cause == ""
    assert (await http.request("DELETE", "/api/v1/executions/p/d/n", json={"cause": "why"})).status_code == 200
    assert gateway.rpc.last.request.cause == "why"
    assert gateway.rpc.last.request.id.name == "n"


async def test_protobuf_both_ways(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """As the console does it: protobuf there and back; its own Content-Type is enough to get protobuf."""
    request = dataproxy_pb2.CreateUploadLocationRequest(project="p", content_md5=b"\x00\xff")
    answer = dataproxy_pb2.CreateUploadLocationResponse(signed_url="u", headers={"a": "b"})
    gateway.rpc.answer = lambda _: answer
    for headers in ({"Content-Type": PROTOBUF, "Accept": PROTOBUF}, {"Content-Type": PROTOBUF}):
        got = await http.post("/api/v1/dataproxy/artifact_urn", content=request.SerializeToString(), headers=headers)
        assert got.headers["content-type"] == PROTOBUF
        assert dataproxy_pb2.CreateUploadLocationResponse.FromString(got.content) == answer
        assert gateway.rpc.last.request == request


@pytest.mark.parametrize(
    ("accept", "content_type", "form"),
    [
        (None, None, "camel"),
        ("*/*", None, "camel"),
        ("text/html,application/json", None, "camel"),
        ("application/json; charset=utf-8", None, "camel"),
        (JSON, None, "proto"),
        (PROTOBUF, None, "protobuf"),
        ("*/*", PROTOBUF, "protobuf"),
        ("*/*", f"{PROTOBUF}; x=y", "protobuf"),
        ("*/*", JSON, "proto"),
        (JSON, PROTOBUF, "proto"),
        ("*/*", "text/plain", "camel"),
    ],
)
async def test_forms(gateway: Gateway, accept: str | None, content_type: str | None, form: str) -> None:
    """Accept decides when it is exactly one of ours, else the request's Content-Type, else camelCase JSON."""
    version = version_pb2.GetVersionResponse(control_plane_version={"Build": "b", "BuildTime": "t"})  # type: ignore[arg-type]
    gateway.rpc.answer = lambda _: version
    head = b"GET /api/v1/version HTTP/1.1"
    for name, value in (("Accept", accept), ("Content-Type", content_type)):
        head += b"" if value is None else f"\r\n{name}: {value}".encode()
    status, body = await raw_request(gateway.port, head)
    assert status == 200
    if form == "protobuf":
        assert version_pb2.GetVersionResponse.FromString(body) == version
    else:
        name = "controlPlaneVersion" if form == "camel" else "control_plane_version"
        assert orjson.loads(body) == {name: {"Build": "b", "Version": "", "BuildTime": "t"}}


async def test_everything_is_printed(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """JSON answers print unset fields, with null for unset messages."""
    gateway.rpc.answer = lambda _: project_pb2.Project(id="p")
    written = (await http.get("/api/v1/projects/p")).json()
    assert written == {
        "id": "p",
        "name": "",
        "domains": [],
        "description": "",
        "labels": None,
        "state": "ACTIVE",
        "org": "",
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "no JSON"),
        (b"[]", "the body"),
        (b'"x"', "the body"),
        (b"\xff", "no JSON"),
        (b"[" * 2000, "no JSON"),
        (b'{"spec": 1}', "spec"),
        (b'{"spec": {"metadata": {"mode": "NO_MODE"}}}', "spec.metadata.mode"),
        (b'{"spec": {"metadata": {"mode": 1e99}}}', "spec.metadata.mode"),
        (b'{"spec": {"maxParallelism": "many"}}', "spec.max_parallelism"),
        (b'{"spec": {"max_parallelism": 3000000000}}', "spec.max_parallelism"),
        (b'{"spec": {"max_parallelism": true}}', "spec.max_parallelism"),
        (b'{"spec": {"tags": "x"}}', "spec.tags"),
        (b'{"spec": {"tags": [null]}}', "spec.tags[0]"),
        (b'{"spec": {"labels": {"values": {"k": 1}}}}', "spec.labels.values['k']"),
        (b'{"spec": {"metadata": {"scheduledAt": "yesterday"}}}', "spec.metadata.scheduled_at"),
        (b'{"spec": {"metadata": {"scheduledAt": 5}}}', "spec.metadata.scheduled_at"),
        (b'{"spec": {"interruptible": {"value": true}}}', "spec.interruptible"),
        (b'{"spec": {"disable_all": true, "notifications": {}}}', "notification_overrides"),
        (b'{"project": "a", "project": 7}', "project"),
        (b'{"inputs": {"literals": {"x": {"scalar": {"generic": []}}}}}', "generic"),
        (b'{"inputs":' + b'{"literals":{"x":{"map":' * 200 + b"{}" + b"}}}" * 200 + b"}", "nested"),
    ],
)
async def test_malformed_json(gateway: Gateway, http: httpx.AsyncClient, body: bytes, field: str) -> None:
    """A body that is no JSON or does not fit is INVALID_ARGUMENT and names the field; nothing is called."""
    answer = await http.post("/api/v1/executions", content=body, headers={"Content-Type": JSON})
    assert answer.status_code == 400
    assert answer.json()["code"] == 3
    if field == "notification_overrides":
        assert "disable_all" in answer.json()["message"] or "notifications" in answer.json()["message"]
    else:
        assert field in answer.json()["message"]
    assert gateway.rpc.calls == []


async def test_malformed_protobuf(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """Bytes that are no message of the type are INVALID_ARGUMENT, answered in protobuf."""
    answer = await http.post("/api/v1/executions", content=b"\xff\xff", headers={"Content-Type": PROTOBUF})
    assert answer.status_code == 400
    status = status_pb2.Status.FromString(answer.content)
    assert status.code == 3
    assert "flyteidl.admin.ExecutionCreateRequest" in status.message
    assert gateway.rpc.calls == []


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_errors(gateway: Gateway, http: httpx.AsyncClient, code: grpc.StatusCode) -> None:
    """Every status code has its HTTP status, with code, message and details in the body."""

    def fail(_: Call) -> Message:
        raise ApiError(code, "what happened", [identifier_pb2.Identifier(project="p")])

    gateway.rpc.answer = fail
    answer = await http.get("/api/v1/version")
    assert answer.status_code == HTTP_STATUS[code]
    body = answer.json()
    assert (body["code"], body["message"]) == (code.value[0], "what happened")
    assert body["details"][0]["@type"] == "type.googleapis.com/flyteidl.core.Identifier"
    assert body["details"][0]["project"] == "p"
    binary = await http.get("/api/v1/version", headers={"Accept": PROTOBUF})
    assert status_pb2.Status.FromString(binary.content).message == "what happened"


@pytest.mark.parametrize(
    ("verb", "path", "http_status", "code"),
    [
        ("GET", "/", 404, 5),
        ("GET", "/nothing", 404, 5),
        ("GET", "/api/v1", 404, 5),
        ("GET", "/api/v1/tasks", 501, 12),
        ("DELETE", "/api/v1/version", 501, 12),
        ("PATCH", "/api/v1/version", 501, 12),
        ("POST", "/api/v1/executions/relaunch/p/d", 501, 12),
        ("GET", "/api/v1/executions/relaunch", 501, 12),
        ("GET", "/api/v1//version", 404, 5),
        ("GET", "/api/v1/../v1/version", 404, 5),
        ("GET", "/api/v1/%2e%2e/version", 404, 5),
        ("GET", "/api%2Fv1/version", 404, 5),
        ("GET", "/" + "a/" * 5000, 404, 5),
    ],
)
async def test_unknown(gateway: Gateway, verb: str, path: str, http_status: int, code: int) -> None:
    """A path that is not ours is NOT_FOUND, a verb that a path does not have UNIMPLEMENTED."""
    status, body = await raw_request(gateway.port, f"{verb} {path} HTTP/1.1".encode())
    assert status == http_status
    assert orjson.loads(body)["code"] == code
    assert gateway.rpc.calls == []


async def test_uncaught_error(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """A fault of ours is INTERNAL with an id, and tells nothing else; so is an answer that JSON cannot express."""

    def fail(_: Call) -> Message:
        raise RuntimeError("the password is swordfish")

    gateway.rpc.answer = fail
    answer = await http.get("/api/v1/version")
    assert (answer.status_code, answer.json()["code"]) == (500, 13)
    assert "swordfish" not in answer.text
    impossible = task_pb2.Task()
    impossible.closure.created_at.seconds = 1 << 60
    gateway.rpc.answer = lambda _: impossible
    answer = await http.get("/api/v1/tasks/p/d/n/v")
    assert (answer.status_code, answer.json()["code"]) == (500, 13)


async def test_bounds(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """Bodies, headers and paths out of proportion are refused in words, not by a broken connection."""
    big = orjson.dumps({"name": "x" * BODY_BYTES_MAX})
    answer = await http.post("/api/v1/executions", content=big)
    assert (answer.status_code, answer.json()["code"]) == (413, 8)
    answer = await http.get("/api/v1/version", headers={"X-Large": "x" * 70_000})
    assert answer.status_code == 431
    status, _ = await raw_request(gateway.port, b"GET /api/v1/" + b"x" * 20_000 + b"?q=" + b"y" * 20_000 + b" HTTP/1.1")
    assert status == 414
    assert gateway.rpc.calls == []


async def test_metadata(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """Headers arrive as metadata with lower-case names, and so does the caller's address."""
    await http.get("/api/v1/version", headers={"Flyte-Authorization": "Bearer x", "X-Request-Id": "7"})
    metadata = dict(gateway.rpc.last.metadata)
    assert metadata["flyte-authorization"] == "Bearer x"
    assert metadata["x-request-id"] == "7"
    assert gateway.rpc.last.peer.startswith("ipv4:127.0.0.1:")


async def test_cors(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """A page of another origin may call with credentials: its origin is echoed, since browsers refuse `*` then."""
    origin = {"Origin": "http://console.example"}
    answer = await http.get("/api/v1/version", headers=origin)
    assert answer.headers["access-control-allow-origin"] == "http://console.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    asked = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type,flyte-authorization",
    }
    preflight = await http.options("/api/v1/executions/p/d/n", headers={**origin, **asked})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "http://console.example"
    assert set(preflight.headers["access-control-allow-methods"].split(", ")) == {
        "GET",
        "POST",
        "DELETE",
        "HEAD",
        "PUT",
        "PATCH",
    }
    assert "access-control-allow-origin" not in (await http.get("/api/v1/version")).headers
    assert len(gateway.rpc.calls) == 2


async def test_head(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """HEAD is GET without the body."""
    answer = await http.head("/api/v1/version")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_openapi(http: httpx.AsyncClient) -> None:
    """The description covers every route and refers to nothing it does not define."""
    text = (await http.get("/api/v1/openapi")).text
    described = json.loads(text)
    for route in routes():
        assert route.verb.lower() in described["paths"][route.path]
    references = {part.split('"')[0] for part in text.split("#/definitions/")[1:]}
    assert references <= set(described["definitions"])
    assert "flyteidl.core.Literal" in references


async def test_bytes_in_query(gateway: Gateway, http: httpx.AsyncClient) -> None:
    """Bytes are base64 in JSON bodies, in either alphabet."""
    for text in (base64.b64encode(b"\xfb\xff").decode(), base64.urlsafe_b64encode(b"\xfb\xff").decode().rstrip("=")):
        await http.post("/api/v1/dataproxy/artifact_urn", json={"contentMd5": text})
        assert gateway.rpc.last.request == dataproxy_pb2.CreateUploadLocationRequest(content_md5=b"\xfb\xff")
