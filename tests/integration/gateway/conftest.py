"""The gateway as it is deployed, on a real port, with rpcs answered by the test."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from flyteidl.service import admin_pb2, auth_pb2, dataproxy_pb2, identity_pb2, signal_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from wingbeat_controlplane.gateway.application import GatewayOptions, GatewayParts, create_gateway
from wingbeat_controlplane.gateway.http_server import HttpServer
from wingbeat_controlplane.gateway.probes import Check
from wingbeat_controlplane.gateway.routes import routes_of
from wingbeat_controlplane.gateway.rpc import Metadata
from wingbeat_propeller.blobs.folder import PARTIAL_FOLDER, FolderBlobs
from wingbeat_propeller.blobs.signing import ServedUrlSigner
from wingbeat_propeller.runtimes.local.paths import log_file

SERVICES: list[ServiceDescriptor] = [
    admin_pb2.DESCRIPTOR.services_by_name["AdminService"],
    dataproxy_pb2.DESCRIPTOR.services_by_name["DataProxyService"],
    signal_pb2.DESCRIPTOR.services_by_name["SignalService"],
    identity_pb2.DESCRIPTOR.services_by_name["IdentityService"],
    auth_pb2.DESCRIPTOR.services_by_name["AuthMetadataService"],
]
BODY_BYTES_MAX = 1 << 20
NOW = 1_000_000.0


@dataclass
class Call:
    """One call that reached the services."""

    rpc: str
    request: Message
    metadata: Metadata
    peer: str


@dataclass
class FakeRpc:
    """Remembers calls; answers with `answer`, by default an empty message of the right type."""

    calls: list[Call] = field(default_factory=list)
    answer: Callable[[Call], Message] | None = None

    def __post_init__(self) -> None:
        """Know the answers' types."""
        self._types = {route.rpc: message_factory.GetMessageClass(route.method.output_type) for route in routes()}

    async def call(self, rpc: str, request: Message, *, metadata: Metadata, peer: str) -> Message:
        """See `Rpc`."""
        call = Call(rpc, request, metadata, peer)
        self.calls.append(call)
        return self.answer(call) if self.answer else self._types[rpc]()

    @property
    def last(self) -> Call:
        """The latest call."""
        return self.calls[-1]


def routes() -> list:
    """Every route of the services."""
    return list(routes_of(SERVICES))


@dataclass
class Gateway:
    """A running gateway and what it stands on."""

    url: str
    port: int
    rpc: FakeRpc
    blobs: FolderBlobs
    signer: ServedUrlSigner
    folder: Path
    checks: dict[str, Check]
    clock: list[float]

    @property
    def store(self) -> Path:
        """Folder of the blob store."""
        return self.folder / "store"

    @property
    def state(self) -> Path:
        """Folder of the local runtime's state."""
        return self.folder / "state"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway on a free loopback port, one for the tests of a module."""
    folder = tmp_path_factory.mktemp("gateway")
    rpc, checks, clock = FakeRpc(), dict[str, Check](), [NOW]
    blobs = FolderBlobs(folder / "store")
    signer = ServedUrlSigner(base=blobs.base, http_base_url="http://gateway", key=b"k" * 32, clock=lambda: clock[0])
    application = create_gateway(
        GatewayOptions(version="1", body_bytes_max=BODY_BYTES_MAX),
        GatewayParts(
            rpc=rpc,
            services=SERVICES,
            blobs=blobs,
            signer=signer,
            log_file=partial(log_file, folder / "state"),
            checks=checks,
        ),
    )
    server = HttpServer(application, host="127.0.0.1", port=0, reuse_port=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run(grace_s=1))
        url = f"http://127.0.0.1:{server.port}"
        yield Gateway(url, server.port, rpc, blobs, signer, folder, checks, clock)
        server.stop()


@pytest.fixture
def gateway(running: Gateway) -> Gateway:
    """The running gateway with nothing left of the test before."""
    running.rpc.calls.clear()
    running.rpc.answer = None
    running.checks.clear()
    running.clock[0] = NOW
    for path in [*running.store.iterdir(), running.state]:
        if path.name != PARTIAL_FOLDER:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(running: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway, one for the tests of a module: making one reads all of the machine's certificates."""
    async with httpx.AsyncClient(base_url=running.url, timeout=30) as client:
        yield client


async def raw_request(port: int, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
    """Status and everything after it of a request sent byte for byte; the connection is closed by the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head + b"\r\nHost: x\r\nConnection: close\r\n\r\n" + body)
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]
