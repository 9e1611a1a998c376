"""The copilot over a real S3 server, and with inputs from elsewhere."""

import dataclasses
import functools
import http.server
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from flyteidl.core import literals_pb2
from tests.integration.blobs.seaweed import BUCKET, s3_options, seaweed
from tests.integration.copilot.conftest import FILE, FOLDER, Attempt, blob, integer

from wingbeat_propeller.blobs.s3 import S3Blobs, open_s3
from wingbeat_propeller.copilot.transfer import describe_store


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A running S3 server with the bucket."""
    with seaweed() as url:
        yield url


@pytest.fixture
async def bucket(endpoint: str) -> AsyncIterator[S3Blobs]:
    """The whole bucket; the installation has a prefix of it."""
    async with open_s3(s3_options(endpoint)) as (blobs, _):
        yield blobs


async def test_s3(attempt: Attempt, endpoint: str, bucket: S3Blobs) -> None:
    """Files, folders and outputs.pb pass through the bucket, also files outside of the installation's prefix."""
    options = s3_options(endpoint, prefix=f"install/{attempt.paths}")
    attempt.store = describe_store(options)
    base = f"s3://{BUCKET}/install/{attempt.paths}"
    content = bytes(range(256)) * (40 << 10)
    await bucket.put(f"s3://{BUCKET}/elsewhere/f", content)
    for name in ("a", "below/b"):
        await bucket.put(f"{base}/d/{name}", name.encode())
    inputs = {"f": blob(f"s3://{BUCKET}/elsewhere/f"), "d": blob(f"{base}/d", FOLDER)}
    await bucket.put(f"{base}/inputs.pb", literals_pb2.LiteralMap(literals=inputs).SerializeToString())
    done = attempt.run(
        "cp /var/inputs/f /var/outputs/f; cp -r /var/inputs/d /var/outputs/d",
        {},
        {"f": FILE, "d": FOLDER},
        inputs_uri=f"{base}/inputs.pb",
        output_prefix=f"{base}/0",
        raw_output_prefix=f"{base}/raw",
    )
    assert done.returncode == 0, done.stderr
    outputs = literals_pb2.LiteralMap.FromString(await bucket.get(f"{base}/0/outputs.pb")).literals
    assert outputs["f"].scalar.blob.uri == f"{base}/raw/f"
    assert await bucket.get(f"{base}/raw/f") == content
    assert list(await bucket.list(outputs["d"].scalar.blob.uri)) == [f"{base}/raw/d/a", f"{base}/raw/d/below/b"]


async def test_absent_objects(attempt: Attempt, endpoint: str, bucket: S3Blobs) -> None:
    """An object that is not there is the user's error, told in the bucket."""
    attempt.store = describe_store(s3_options(endpoint))
    base = f"s3://{BUCKET}/absent/{attempt.paths}"
    inputs = literals_pb2.LiteralMap(literals={"f": blob(f"s3://{BUCKET}/absent/f")})
    await bucket.put(f"{base}/inputs.pb", inputs.SerializeToString())
    attempt.run("true", {}, {}, inputs_uri=f"{base}/inputs.pb", output_prefix=f"{base}/0")
    assert b"InputDownloadFailed" in await bucket.get(f"{base}/0/error.pb")


def test_http_and_files_of_the_machine(attempt: Attempt, tmp_path: Path) -> None:
    """A URL is fetched, a file of this machine is copied; a URL that answers not found is named."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "page").write_text("from afar\n")
    handler = functools.partial(_Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            inputs = {"page": blob(f"{url}/page"), "near": blob(f"file://{tmp_path}/web/page"), "n": integer(1)}
            attempt.run("cat /var/inputs/page /var/inputs/near > /var/outputs/f", inputs, {"f": FILE})
            assert Path(attempt.outputs()["f"].scalar.blob.uri).read_text() == "from afar\nfrom afar\n"
            attempt.run("true", {"page": blob(f"{url}/absent")})
            assert attempt.error().message == f"there is no file at {url}/absent"
        finally:
            server.shutdown()
            thread.join()


def test_descriptions_leave_out_what_only_servers_need(tmp_path: Path) -> None:
    """A copilot gets what opens the store, not the key that signs URLs."""
    from wingbeat_propeller.blobs.store import FolderOptions

    assert describe_store(FolderOptions(tmp_path, signing_key=b"secret")) == {"folder": str(tmp_path)}
    options = dataclasses.replace(s3_options("http://localhost"), signing_key=b"secret")
    assert b"secret" not in describe_store(options).values()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Say nothing."""
