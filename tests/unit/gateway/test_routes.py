"""Routes out of descriptors: all of them, unambiguous, found at a cost that does not depend on how many there are."""

import pytest
from flyteidl.service import admin_pb2, auth_pb2, dataproxy_pb2, identity_pb2, signal_pb2
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from wingbeat_controlplane.gateway.routes import Route, RouteTable, resolve_field, routes_of

SERVICES = [
    admin_pb2.DESCRIPTOR.services_by_name["AdminService"],
    dataproxy_pb2.DESCRIPTOR.services_by_name["DataProxyService"],
    signal_pb2.DESCRIPTOR.services_by_name["SignalService"],
    identity_pb2.DESCRIPTOR.services_by_name["IdentityService"],
    auth_pb2.DESCRIPTOR.services_by_name["AuthMetadataService"],
]


@pytest.fixture(scope="module")
def table() -> RouteTable:
    """Routes of all Flyte services."""
    return RouteTable(routes_of(SERVICES))


def found(table: RouteTable, verb: str, path: str) -> str | None:
    """Method name and values that a path leads to."""
    match = table.match(verb, path.split("/")[1:])
    return None if match is None else " ".join((match[0].rpc.rpartition("/")[2], *match[1]))


@pytest.mark.parametrize(
    ("verb", "path", "expected"),
    [
        ("GET", "/api/v1/tasks/p/d", "ListTasks p d"),
        ("GET", "/api/v1/tasks/p/d/n", "ListTasks p d n"),
        ("GET", "/api/v1/tasks/p/d/n/v", "GetTask p d n v"),
        ("POST", "/api/v1/executions/relaunch", "RelaunchExecution"),
        ("DELETE", "/api/v1/executions/p/d/n", "TerminateExecution p d n"),
        ("GET", "/api/v1/data", "GetData"),
        ("GET", "/api/v1/data/executions/p/d/n", "GetExecutionData p d n"),
        ("GET", "/api/v1/node_executions/p/d/e/n/dynamic_workflow", "GetDynamicNodeWorkflow p d e n"),
        ("GET", "/.well-known/oauth-authorization-server", "GetOAuth2Metadata"),
        ("GET", "/config/v1/flyte_client", "GetPublicClientConfig"),
        ("GET", "/me", "UserInfo"),
        ("GET", "/api/v1/projects/", "GetProject "),
        ("POST", "/me", None),
        ("GET", "/api/v1/tasks", None),
        ("GET", "/api/v1/tasks/p/d/n/v/x", None),
        ("GET", "/", None),
    ],
)
def test_match(table: RouteTable, verb: str, path: str, expected: str | None) -> None:
    """Paths lead where the options of the services say."""
    assert found(table, verb, path) == expected


def test_knows(table: RouteTable) -> None:
    """A path without the asked verb is told from one that does not exist."""
    assert table.knows(["api", "v1", "tasks"])
    assert not table.knows(["api", "v1", "nothing"])
    assert not table.knows([])


def test_every_binding(table: RouteTable) -> None:
    """Additional bindings are there too; rpcs without one are not."""
    by_rpc: dict[str, list[Route]] = {}
    for route in table:
        by_rpc.setdefault(route.rpc.rpartition("/")[2], []).append(route)
    assert len(by_rpc["ListTasks"]) == 2
    assert "GetOrCreateSignal" not in by_rpc
    assert [variable.dotted for variable in by_rpc["GetTask"][0].variables] == [
        "id.project",
        "id.domain",
        "id.name",
        "id.version",
    ]


def service(*rules: http_pb2.HttpRule) -> ServiceDescriptor:
    """A service with one rpc a rule."""
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    file.message_type.add(name="M").field.add(name="a", number=1, type=9, label=1)
    file.message_type[0].field.add(name="list", number=2, type=9, label=3)
    added = file.service.add(name="S")
    for number, rule in enumerate(rules):
        method = added.method.add(name=f"R{number}", input_type=".t.M", output_type=".t.M")
        method.options.Extensions[annotations_pb2.http].CopyFrom(rule)
    pool = descriptor_pool.DescriptorPool()
    for dependency in (descriptor_pb2.DESCRIPTOR, http_pb2.DESCRIPTOR, annotations_pb2.DESCRIPTOR):
        pool.AddSerializedFile(dependency.serialized_pb)
    pool.Add(file)
    return pool.FindServiceByName("t.S")


@pytest.mark.parametrize(
    "rule",
    [
        http_pb2.HttpRule(get="/x/{a=**}"),
        http_pb2.HttpRule(get="/x/*"),
        http_pb2.HttpRule(get="x"),
        http_pb2.HttpRule(get="/x/{b}"),
        http_pb2.HttpRule(get="/x/{list}"),
        http_pb2.HttpRule(post="/x", body="b"),
    ],
)
def test_unusable_options(rule: http_pb2.HttpRule) -> None:
    """A template that cannot be served is an error at the start, not a route that never matches."""
    with pytest.raises(ValueError, match=r"t\.S\.R0"):
        list(routes_of([service(rule)]))


def test_contradictions() -> None:
    """Two rpcs cannot have one verb and path."""
    with pytest.raises(ValueError, match="both claim GET"):
        RouteTable(routes_of([service(http_pb2.HttpRule(get="/x/{a}"), http_pb2.HttpRule(get="/x/{a}"))]))


def test_literal_before_variable() -> None:
    """A literal segment wins over a variable one, and a dead end behind it does not hide the variable."""
    table = RouteTable(
        routes_of(
            [service(*(http_pb2.HttpRule(get=path) for path in ("/x/{a}", "/x/lit", "/x/lit/deep", "/x/{a}/tail")))]
        )
    )
    assert found(table, "GET", "/x/lit") == "R1"
    assert found(table, "GET", "/x/other") == "R0 other"
    assert found(table, "GET", "/x/lit/tail") == "R3 lit"


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        ("limit", "limit"),
        ("sortBy.direction", "sort_by.direction"),
        ("id.project", "id.project"),
        ("id.", None),
        (".id", None),
        ("limit.x", None),
        ("", None),
        ("a.b.c", None),
    ],
)
def test_field_paths(dotted: str, expected: str | None) -> None:
    """Fields are found in either casing; what does not exist is None."""
    path = resolve_field(SERVICES[0].methods_by_name["ListTasks"].input_type, dotted)
    assert (None if path is None else path.dotted) == expected
