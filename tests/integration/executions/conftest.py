"""A gRPC server with AdminService on a free loopback port, a registered workflow, and a client as flytekit makes it."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import grpc
import pytest
from flyteidl.service import admin_pb2, admin_pb2_grpc
from tests.integration.executions import entities
from tests.integration.executions.entities import EngineRows

from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.executions.parts import Executions, build_executions
from wingbeat_controlplane.launching.back_pressure import BackPressure
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.registry import open_registry
from wingbeat_controlplane.services.admin.service import AdminServicer
from wingbeat_controlplane.services.admin.version import VersionOptions
from wingbeat_controlplane.services.rpcs import rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.blobs.signing import ServedUrlSigner

CLIENT_OPTIONS = [("grpc.max_metadata_size", 32 * 1024), ("grpc.max_receive_message_length", 20 << 20)]


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    """A store of this test's own."""
    return FolderBlobs(tmp_path / "blobs")


@pytest.fixture
def signer(blobs: FolderBlobs) -> ServedUrlSigner:
    """URLs of a server that nobody started."""
    return ServedUrlSigner(base=blobs.base, http_base_url="http://127.0.0.1:1", key=b"k" * 32)


@pytest.fixture
def options() -> ExecutionOptions:
    """What the installation says about executions."""
    return ExecutionOptions()


@pytest.fixture
def servicer(
    pool: asyncpg.Pool, blobs: FolderBlobs, signer: ServedUrlSigner, options: ExecutionOptions
) -> AdminServicer:
    """The rpcs over the test's database."""
    registry = open_registry(pool, RegistryOptions())
    return AdminServicer(
        registry=registry,
        executions=build_executions(pool, blobs, signer, registry, options),
        version=VersionOptions(),
        principal=lambda _: "",
        pressure=BackPressure(pool, 0),
    )


@pytest.fixture
def executions(servicer: AdminServicer) -> Executions:
    """What lies behind the rpcs."""
    return servicer.executions


@pytest.fixture
async def address(servicer: AdminServicer) -> AsyncIterator[str]:
    """`host:port` of a running server."""
    server = GrpcServer(rpcs_of(admin_pb2.DESCRIPTOR.services_by_name["AdminService"], servicer), GrpcOptions())
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
        await servicer.executions.launcher.drained()


@pytest.fixture
async def admin(address: str) -> AsyncIterator[admin_pb2_grpc.AdminServiceStub]:
    """A client of a server that knows the task `t`, the workflow `w` and the launch plan `lp`."""
    async with grpc.aio.insecure_channel(address, options=CLIENT_OPTIONS) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        await stub.CreateTask(entities.task())
        await stub.CreateWorkflow(entities.workflow())
        await stub.CreateLaunchPlan(entities.launch_plan("lp"))
        yield stub


@pytest.fixture
async def listener(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection for notifications, which the pool's are not for."""
    connection = await asyncpg.connect(database_url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def engine(pool: asyncpg.Pool) -> EngineRows:
    """Writes rows in the engine's place."""
    return EngineRows(pool)
