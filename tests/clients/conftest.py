"""An installation with the programs of the scenarios registered."""

import asyncio
import sys
from collections.abc import Iterator

import pytest
from flytekit.configuration import ImageConfig, SerializationSettings
from tests.clients.players import CLIENTS
from tests.e2e.client import DOMAIN, FOLDERS, PROJECT, Client
from tests.e2e.installation import Installation, running_installation

from wingbeat import AsyncClient, File

sys.path[:0] = [str(CLIENTS / "conformance"), *(str(folder) for folder in FOLDERS)]


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """`wingbeat up` of its own, since its server is killed."""
    with running_installation() as running:
        client = Client(running.endpoint)
        _register(client)
        client.register("hello_world", "hello_world_wf")
        client.close()
        yield running


@pytest.fixture(scope="session")
def manifest(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URI of the manifest of the scenarios, in the store of the installation."""
    from programs import MANIFEST

    file = tmp_path_factory.mktemp("manifest") / "rows.jsonl"
    file.write_text(MANIFEST)

    async def upload() -> str:
        async with AsyncClient(installation.endpoint) as client:
            handle = File(file)
            await client.transfers.upload(handle, PROJECT, DOMAIN)
            assert handle.uri
            return handle.uri

    return asyncio.run(upload())


def _register(client: Client) -> None:
    from flytekit.core.workflow import WorkflowBase
    from programs import PROGRAMS

    settings = SerializationSettings(image_config=ImageConfig.auto(), project=PROJECT, domain=DOMAIN)
    for program in PROGRAMS:
        is_workflow = isinstance(program, WorkflowBase)
        register = client.remote.register_workflow if is_workflow else client.remote.register_task
        register(program, settings, version="1")
