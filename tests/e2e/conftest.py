"""One running installation for all tests of a worker, and clients for it."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["FLYTE_SDK_LOGGING_LEVEL"] = "40"  # read when flytekit is imported, below

import pytest
from tests.e2e.client import FOLDERS, Client
from tests.e2e.installation import Installation, running_installation

sys.path[:0] = [str(folder) for folder in FOLDERS]


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """`wingbeat up` on free ports; stopped at the end, and then nothing of it may be left running."""
    with running_installation() as running:
        yield running


@pytest.fixture(scope="session")
def client(installation: Installation) -> Iterator[Client]:
    """Clients of the shared installation."""
    client = Client(installation.endpoint)
    yield client
    client.close()


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """A file for tasks to leave lines in."""
    return tmp_path / "marks"
