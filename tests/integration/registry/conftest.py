"""A gRPC server with the registry's rpcs on a free loopback port, and real clients of it."""

from collections.abc import AsyncIterator

import asyncpg
import grpc
import pytest
from flyteidl.core import tasks_pb2
from flyteidl.service import admin_pb2, admin_pb2_grpc, auth_pb2, identity_pb2, signal_pb2

from wingbeat_controlplane.executions.signals import SignalStore
from wingbeat_controlplane.registry.options import RegistryOptions
from wingbeat_controlplane.registry.registry import open_registry
from wingbeat_controlplane.services.admin.registry import RegistryRpcs
from wingbeat_controlplane.services.admin.version import VersionOptions
from wingbeat_controlplane.services.auth_metadata import AuthMetadataOptions, AuthMetadataServicer
from wingbeat_controlplane.services.identity import IdentityServicer
from wingbeat_controlplane.services.operations import OperationsServicer
from wingbeat_controlplane.services.rpcs import Rpc, rpcs_of
from wingbeat_controlplane.services.server import GrpcOptions, GrpcServer
from wingbeat_controlplane.services.signal import SignalServicer
from wingbeat_propeller.compiler.resources import PlatformResources
from wingbeatidl.operations.v1 import operations_pb2

LIMITS = PlatformResources(limits={tasks_pb2.Resources.MEMORY: "4Gi"})
_CLIENT_OPTIONS = [("grpc.max_metadata_size", 32 * 1024)]


@pytest.fixture
def rpcs(pool: asyncpg.Pool) -> dict[str, Rpc]:
    """Every rpc of the registry and its neighbours."""
    registry = open_registry(pool, RegistryOptions(resources=LIMITS))
    admin = RegistryRpcs(registry=registry, version=VersionOptions())
    servicers = (
        (admin_pb2.DESCRIPTOR.services_by_name["AdminService"], admin),
        (signal_pb2.DESCRIPTOR.services_by_name["SignalService"], SignalServicer(SignalStore(pool))),
        (
            auth_pb2.DESCRIPTOR.services_by_name["AuthMetadataService"],
            AuthMetadataServicer(AuthMetadataOptions("http://localhost:1")),
        ),
        (identity_pb2.DESCRIPTOR.services_by_name["IdentityService"], IdentityServicer()),
        (
            operations_pb2.DESCRIPTOR.services_by_name["OperationsService"],
            OperationsServicer(pool, version="0"),
        ),
    )
    return {name: rpc for service, servicer in servicers for name, rpc in rpcs_of(service, servicer).items()}


@pytest.fixture
async def address(rpcs: dict[str, Rpc]) -> AsyncIterator[str]:
    """`host:port` of a running server."""
    server = GrpcServer(rpcs, GrpcOptions())
    port = server.bind("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@pytest.fixture
async def channel(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A plain channel with the metadata limit of flytekit."""
    async with grpc.aio.insecure_channel(address, options=_CLIENT_OPTIONS) as channel:
        yield channel


@pytest.fixture
def admin(channel: grpc.aio.Channel) -> admin_pb2_grpc.AdminServiceStub:
    """The generated stub of AdminService."""
    return admin_pb2_grpc.AdminServiceStub(channel)
