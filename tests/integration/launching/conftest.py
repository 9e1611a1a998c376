"""A server with AdminService and LaunchService, a registered workflow, and clients."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import grpc
import pytest
from flyteidl.service import admin_pb2, admin_pb2_grpc
from google.rpc import error_details_pb2, status_pb2
from tests.integration.executions import entities

from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.executions.parts import Executions, build_executions
from wingbeat_controlplane.launching.back_pressure import BackPressure, single_pressure
from wingbeat_controlplane.launching.bulk import BulkLauncher
from wingbeat_controlplane.launching.target_versions import TargetVersions
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.registry import open_registry
from wingbeat_controlplane.services.admin.service import AdminServicer
from wingbeat_controlplane.services.admin.version import VersionOptions
from wingbeat_controlplane.services.launch import LaunchServicer
from wingbeat_controlplane.services.rpcs import rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.blobs.signing import ServedUrlSigner
from wingbeatidl.launch.v1 import item_pb2, launch_pb2, launch_pb2_grpc, outcome_pb2

OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    """A store of this test's own."""
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture
def executions(pool: asyncpg.Pool, blobs: FolderBlobs) -> Executions:
    """What lies behind the rpcs."""
    signer = ServedUrlSigner(base=blobs.base, http_base_url="http://127.0.0.1:1", key=b"k" * 32)
    registry = open_registry(pool, RegistryOptions())
    return build_executions(pool, blobs, signer, registry, ExecutionOptions())


@pytest.fixture
def bulk(pool: asyncpg.Pool, blobs: FolderBlobs, executions: Executions) -> BulkLauncher:
    """The launcher behind LaunchService."""
    return BulkLauncher(pool, blobs, executions.launcher, TargetVersions(pool))


@pytest.fixture
def not_begun_max() -> int:
    """How many executions may wait to be begun."""
    return 100_000


def violated_fields(error: grpc.aio.AioRpcError) -> list[str]:
    """The fields that an error's `google.rpc.BadRequest` names."""
    status = status_pb2.Status.FromString(dict(error.trailing_metadata() or ())["grpc-status-details-bin"])
    request = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(request)
    return [violation.field for violation in request.field_violations]


@dataclass(frozen=True, slots=True)
class Client:
    """Stubs of one channel, and short ways to launch."""

    admin: admin_pb2_grpc.AdminServiceStub
    service: launch_pb2_grpc.LaunchServiceStub

    async def launch(
        self, items: Sequence[item_pb2.LaunchItem], template: item_pb2.LaunchTemplate | None = None
    ) -> Sequence[outcome_pb2.LaunchOutcome]:
        """Launch in the project and domain of these tests; by default the launch plan `lp` with the text "hi"."""
        request = launch_pb2.LaunchRequest(
            project=entities.PROJECT, domain=entities.DOMAIN, template=template or TEMPLATE, items=items
        )
        return list((await self.service.Launch(request)).outcomes)


TEMPLATE = item_pb2.LaunchTemplate(
    target=item_pb2.Target(name="lp", version="v1"), inputs=item_pb2.Inputs(json='{"text": "hi"}')
)


@pytest.fixture
async def client(
    pool: asyncpg.Pool, executions: Executions, bulk: BulkLauncher, not_begun_max: int
) -> AsyncIterator[Client]:
    """A client of a server that knows the task `t`, the workflow `w` and the launch plan `lp`."""
    registry = open_registry(pool, RegistryOptions())
    admin = AdminServicer(
        registry=registry,
        executions=executions,
        version=VersionOptions(),
        principal=lambda _: "",
        pressure=single_pressure(pool, not_begun_max),
    )
    launch = LaunchServicer(bulk, BackPressure(pool, not_begun_max), lambda _: "")
    services = [
        (admin_pb2.DESCRIPTOR.services_by_name["AdminService"], admin),
        (launch_pb2.DESCRIPTOR.services_by_name["LaunchService"], launch),
    ]
    rpcs = {name: rpc for service, servicer in services for name, rpc in rpcs_of(service, servicer).items()}
    server = GrpcServer(rpcs, GrpcOptions())
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
            stub = admin_pb2_grpc.AdminServiceStub(channel)
            await stub.CreateTask(entities.task())
            await stub.CreateWorkflow(entities.workflow())
            await stub.CreateLaunchPlan(entities.launch_plan("lp"))
            yield Client(stub, launch_pb2_grpc.LaunchServiceStub(channel))
    finally:
        await server.stop(0)
