"""The same programs over an S3 store: values, files and code lie in a bucket."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from diamond import Summary, diamond_wf
from flyteidl.service import dataproxy_pb2
from flytekit.types.file import FlyteFile
from tests.e2e.client import Client, phase, succeeded
from tests.e2e.installation import Installation, until
from tests.integration.blobs.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, seaweed

TEXT_LENGTH = 3_000_000


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Client of an installation that keeps its blobs in a bucket."""
    folder = Path(tempfile.mkdtemp(prefix="wb-e2e-s3-"))
    with seaweed() as endpoint:
        (folder / "wingbeat.toml").write_text(
            f"""
            [blobs]
            bucket = "{BUCKET}"
            prefix = "installation"
            endpoint = "{endpoint}"
            region = "us-east-1"
            access_key = "{ACCESS_KEY}"
            secret_key = "{SECRET_KEY}"
            path_style = true
            """
        )
        installation = Installation(folder)
        installation.up()
        try:
            client = Client(installation.endpoint)
            yield client
            client.close()
        finally:
            installation.down()
            until(lambda: not installation.leftovers(), timeout_s=10, what=f"an end of {installation.leftovers()}")
    shutil.rmtree(folder)


def test_files_and_values(client: Client) -> None:
    """Code is uploaded to the bucket, tasks pass a file through it, and the result is read by a signed URL."""
    execution = succeeded(client.run("diamond", "diamond_wf"))
    report, summary, _ = diamond_wf()
    assert execution.outputs.get("o1", Summary) == summary
    uri = execution.outputs.get("o0", FlyteFile).remote_source
    assert uri.startswith(f"s3://{BUCKET}/installation/")
    request = dataproxy_pb2.CreateDownloadLocationRequest(native_url=uri)
    text = httpx.get(client.data.CreateDownloadLocation(request).signed_url).raise_for_status().text
    assert text == Path(report).read_text(encoding="utf-8")


def test_large_values(client: Client) -> None:
    """A string of three megabytes goes through the bucket and comes back."""
    execution = succeeded(client.run("sizes", "text_wf", {"length": TEXT_LENGTH}))
    assert execution.outputs["o0"] == "0123456789" * (TEXT_LENGTH // 10)


def test_errors(client: Client) -> None:
    """A task's error is found in the bucket."""
    execution = client.run("retries", "share_wf", {"people": 0})
    assert phase(execution) == "FAILED"
    assert "cannot share 3 cakes among 0 people" in execution.error.message
