"""A scripted server and a client of it."""

from collections.abc import AsyncIterator

import grpc
import pytest

from tests.integration.client.scripted import Script
from wingbeat import AsyncClient


@pytest.fixture
def script() -> Script:
    """What the server will answer."""
    return Script()


@pytest.fixture
async def address(script: Script) -> AsyncIterator[str]:
    """`host:port` of the running server."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((script,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncClient]:
    """A client."""
    async with AsyncClient(address) as client:
        yield client
