"""Values beyond the size of an answer, fetched by the real flytekit from the server's own URLs."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from flyteidl.admin import execution_pb2
from flyteidl.service import admin_pb2_grpc
from flytekit.configuration import Config
from flytekit.models.core.identifier import WorkflowExecutionIdentifier
from flytekit.remote import FlyteRemote
from starlette.applications import Starlette
from tests.integration.executions.entities import DOMAIN, NOON, PROJECT, EngineRows, execution_id, launch, literals

from wingbeat_controlplane.gateway.blob_bodies import blob_routes
from wingbeat_controlplane.gateway.http_server import HttpServer
from wingbeat_propeller.blobs.folder import FolderBlobs
from wingbeat_propeller.blobs.signing import ServedUrlSigner
from wingbeat_propeller.core.phases import ExecutionPhase

KEY = b"k" * 32


@pytest.fixture
async def signer(blobs: FolderBlobs) -> AsyncIterator[ServedUrlSigner]:
    """URLs of a server that runs."""
    application = Starlette()
    server = HttpServer(application, host="127.0.0.1", port=0, reuse_port=False)
    signer = ServedUrlSigner(base=blobs.base, http_base_url=f"http://127.0.0.1:{server.port}", key=KEY)
    application.routes.extend(blob_routes(blobs, signer))
    running = asyncio.create_task(server.run(1))
    try:
        yield signer
    finally:
        server.stop()
        await running


async def test_flytekit_follows_links(
    admin: admin_pb2_grpc.AdminServiceStub, address: str, engine: EngineRows, blobs: FolderBlobs
) -> None:
    """Outputs larger than a client's message come back whole, beside inputs that fit."""
    await admin.CreateExecution(launch("e1"))
    outputs = literals(text="s" * 21_000_000)
    uri = f"{blobs.base}/outputs.pb"
    await blobs.put(uri, outputs.SerializeToString())
    await engine.execution("e1", phase=int(ExecutionPhase.SUCCEEDED), ended_at=NOON, outputs_uri=uri)
    answer = await admin.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=execution_id("e1")))
    assert answer.full_inputs == literals(text="hi", count=3)
    assert not answer.full_outputs.literals
    assert answer.outputs.bytes == outputs.ByteSize()

    def fetch() -> int:
        remote = FlyteRemote(Config.for_endpoint(address, insecure=True), PROJECT, DOMAIN)
        data = remote.client.get_execution_data(WorkflowExecutionIdentifier(PROJECT, DOMAIN, "e1"))
        return len(remote._get_output_literal_map(data).literals["text"].scalar.primitive.string_value)

    assert await asyncio.to_thread(fetch) == 21_000_000
