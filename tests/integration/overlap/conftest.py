"""What the tests of executions use, and engine processes."""

import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.integration.executions.conftest import (
    address,
    admin,
    blobs,
    executions,
    listener,
    options,
    servicer,
    signer,
)

from wingbeat_propeller.postgres.pool import create_pool

__all__ = ["address", "admin", "blobs", "executions", "listener", "options", "servicer", "signer"]

ROOT = Path(__file__).resolve().parents[3]
StartEngine = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
async def control(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    """Connections of the test itself, which it does not break."""
    pool = await create_pool(database_url, size_max=3, application_name="control")
    try:
        yield pool
    finally:
        pool.terminate()


@pytest.fixture
def start_engine(database_url: str, tmp_path: Path) -> Iterator[StartEngine]:
    """Starts engine processes; whichever is left is killed at the end."""
    numbers = itertools.count()
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        name = f"engine{next(numbers)}"
        log = (tmp_path / f"{name}.log").open("wb")
        with log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.integration.overlap.engine_process"),
                    *(database_url, str(tmp_path / "blobs"), name),
                ],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
