"""What every rpc has in common: health, reflection, limits, and the ways a call can fail."""

import asyncpg
import grpc
import pytest
from flyteidl.admin import cluster_assignment_pb2, common_pb2, project_pb2, version_pb2
from flyteidl.service import admin_pb2_grpc, auth_pb2, auth_pb2_grpc, identity_pb2, identity_pb2_grpc
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.integration.registry.specs import refusal, task

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.services.local_calls import LocalCalls
from wingbeat_controlplane.services.rpcs import Rpc
from wingbeatidl.operations.v1 import operations_pb2, operations_pb2_grpc


async def test_health_of_server_and_services(channel: grpc.aio.Channel) -> None:
    """The whole, the name that probes know, and each service report SERVING."""
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "flyteadmin", "flyteidl.service.AdminService", "flyteidl.service.SignalService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_the_services(channel: grpc.aio.Channel) -> None:
    """A generic client finds the services and their descriptors."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = [service.name async for answer in call for service in answer.list_services_response.service]
    assert {"flyteidl.service.AdminService", "wingbeatidl.operations.v1.OperationsService"} <= set(names)


async def test_malformed_bytes(channel: grpc.aio.Channel) -> None:
    """Bytes that are no message of the request's type are INVALID_ARGUMENT."""
    call = channel.unary_unary("/flyteidl.service.AdminService/CreateTask")
    code, message = await refusal(call(b"\xff\xff\xff"))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message == "malformed request: the bytes are no flyteidl.admin.TaskCreateRequest"


async def test_rpcs_not_served_say_so(admin: admin_pb2_grpc.AdminServiceStub, channel: grpc.aio.Channel) -> None:
    """An rpc of a served service without a handler, and one of an unknown service, are UNIMPLEMENTED."""
    code, message = await refusal(admin.ListMatchableAttributes(common_pb2.ObjectGetRequest()))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "/flyteidl.service.AdminService/ListMatchableAttributes is not served" in message
    code, _ = await refusal(channel.unary_unary("/no.such.Service/Method")(b""))
    assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_uncaught_errors_are_internal_with_an_id(
    rpcs: dict[str, Rpc], admin: admin_pb2_grpc.AdminServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours never comes out as UNKNOWN, tells nothing of itself, and names an id."""

    async def broken(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(rpcs["/flyteidl.service.AdminService/GetVersion"], "_handler", broken)
    code, message = await refusal(admin.GetVersion(version_pb2.GetVersionRequest()))
    assert code is grpc.StatusCode.INTERNAL
    assert message.startswith("internal error ")
    assert "secret" not in message


async def test_lost_database_is_unavailable(pool: asyncpg.Pool, admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """While the database does not answer, calls fail as UNAVAILABLE, which clients may repeat."""
    pool.terminate()
    code, _ = await refusal(admin.ListProjects(project_pb2.ProjectListRequest()))
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_long_messages_reach_the_client(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """A message beyond what clients accept in trailers arrives cut, not as a broken call, whatever its characters."""
    for character in ("x", "é", "%"):
        request = common_pb2.ResourceListRequest(
            id=common_pb2.NamedEntityIdentifier(project="p", domain="d"), limit=1, token=character * 100_000
        )
        code, message = await refusal(admin.ListTasks(request))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert message.startswith("invalid pagination token " + character * 1_000)
        assert message.endswith("... (cut)")


async def test_large_requests_arrive(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """A request of 30 MiB is taken."""
    request = task(env=[{"key": "K", "value": "v" * (30 * 1024 * 1024)}])
    await admin.CreateTask(request)


async def test_details_travel_with_the_status(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    """Rich details arrive as google.rpc.Status."""
    await admin.UpdateProject(project_pb2.Project(id="flytesnacks", state=project_pb2.Project.ARCHIVED))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await admin.CreateTask(task())
    trailers = dict(caught.value.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    inactive = project_pb2.InactiveProject()
    assert status.details[0].Unpack(inactive)
    assert (status.message, inactive.id) == (caught.value.details(), "flytesnacks")


async def test_start_up_calls_of_clients(channel: grpc.aio.Channel) -> None:
    """Login metadata is served without login, the caller is nobody, and the version is a 1.x."""
    auth = auth_pb2_grpc.AuthMetadataServiceStub(channel)
    metadata = await auth.GetOAuth2Metadata(auth_pb2.OAuth2MetadataRequest())
    assert metadata.token_endpoint.startswith(metadata.issuer)
    config = await auth.GetPublicClientConfig(auth_pb2.PublicClientAuthConfigRequest())
    assert (config.client_id, config.authorization_metadata_key) == ("flytectl", "flyte-authorization")
    identity = identity_pb2_grpc.IdentityServiceStub(channel)
    assert (await identity.UserInfo(identity_pb2.UserInfoRequest())).subject == ""
    version = await admin_pb2_grpc.AdminServiceStub(channel).GetVersion(version_pb2.GetVersionRequest())
    assert version.control_plane_version.Version.startswith("v1.")


async def test_status_of_an_installation(channel: grpc.aio.Channel, pool: asyncpg.Pool) -> None:
    """Only live engine processes count, each with its shards."""
    await pool.execute(
        "INSERT INTO propellers (name, lease_expires_at) VALUES ('live', now() + interval '1 h'), ('dead', now())"
    )
    await pool.execute("UPDATE shards SET term = (SELECT term FROM propellers WHERE name = 'live') WHERE shard < 10")
    stub = operations_pb2_grpc.OperationsServiceStub(channel)
    status = await stub.GetStatus(operations_pb2.GetStatusRequest())
    assert [(propeller.name, propeller.shards) for propeller in status.propellers] == [("live", 10)]
    assert (status.live_executions, status.version) == (0, "0")
    assert status.schema_version >= 1


async def test_calls_from_within_the_process(rpcs: dict[str, Rpc]) -> None:
    """The gateway's way in has the same guards and answers."""
    calls = LocalCalls(rpcs)
    name = "/flyteidl.service.AdminService/"
    answer = await calls.call(
        f"{name}GetProject", project_pb2.ProjectGetRequest(id="flytesnacks"), metadata=(), peer="ipv4:127.0.0.1:1"
    )
    assert isinstance(answer, project_pb2.Project)
    for rpc in (f"{name}ListMatchableAttributes", f"{name}Nothing"):
        with pytest.raises(ApiError) as caught:
            await calls.call(rpc, cluster_assignment_pb2.ClusterAssignment(), metadata=(), peer="")
        assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED
