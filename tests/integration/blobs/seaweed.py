"""A real S3 server for tests: SeaweedFS on free loopback ports, everything in one temporary folder."""

import asyncio
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx

from wingbeat_propeller.blobs.s3 import S3Options, open_s3

ACCESS_KEY = "wingbeat"
SECRET_KEY = "wingbeat-secret"
BUCKET = "wingbeat-tests"

_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)
_START_ATTEMPTS = 3
_READY_S_MAX = 60.0


@contextlib.contextmanager
def seaweed() -> Iterator[str]:
    """Endpoint URL of a server that answers and has the bucket; server and folder are gone afterwards.

    Ports are free when they are chosen, not necessarily when they are bound, so a server that ends early is replaced.
    """
    folder = Path(tempfile.mkdtemp(prefix="wb-s3-"))
    try:
        for attempt in range(_START_ATTEMPTS):
            process, endpoint = _spawn(folder / str(attempt))
            try:
                if asyncio.run(_ready(process, endpoint)):
                    yield endpoint
                    return
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait(30)
        log = (folder / str(_START_ATTEMPTS - 1) / "log").read_text()[-4000:]
        raise RuntimeError(f"no S3 server in {_START_ATTEMPTS} attempts; the last one said:\n{log}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _spawn(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    folder.mkdir()
    (folder / "data").mkdir()
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    identity = {"name": "tests", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]}
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [{**identity, "actions": ["Admin", "Read", "Write", "List"]}]}))
    arguments = [
        str(Path(sys.executable).with_name("weed")),
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=20",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-s3",
        f"-s3.config={config}",
        f"-s3.localSocket={folder / 's3.sock'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
    return process, f"http://127.0.0.1:{ports['s3.port']}"


async def _ready(process: subprocess.Popen[bytes], endpoint: str) -> bool:
    """Whether the server came up and stored something; False when it ended or took too long."""
    options = s3_options(endpoint)
    try:
        async with asyncio.timeout(_READY_S_MAX), httpx.AsyncClient() as client:
            while process.poll() is None:
                with contextlib.suppress(httpx.TransportError):
                    await client.get(endpoint)
                    break
                await asyncio.sleep(0.05)
            while process.poll() is None:
                # Volumes are assigned a moment after the port answers, so the proof is a write; it makes the bucket.
                with contextlib.suppress(OSError):
                    async with open_s3(options) as (blobs, _):
                        await blobs.put(f"{blobs.base}/ready", b"x")
                        return True
                await asyncio.sleep(0.1)
    except TimeoutError:
        pass
    return False


def s3_options(endpoint: str, prefix: str = "") -> S3Options:
    """Options of the test bucket at this endpoint."""
    return S3Options(
        bucket=BUCKET,
        prefix=prefix,
        endpoint_url=endpoint,
        region="us-east-1",
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        path_style=True,
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
