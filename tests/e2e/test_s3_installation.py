"""An installation whose blobs lie in a bucket of a real S3 server: the same programs, the same results."""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from diamond import Reading, Summary, diamond_wf
from flytekit.configuration import DataConfig, S3Config
from flytekit.types.file import FlyteFile
from tests.e2e.client import Client, succeeded
from tests.e2e.installation import BIN, Installation, running_installation
from tests.integration.blobs.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, s3_options, seaweed

import wingbeat
from wingbeat_propeller.blobs.s3 import open_s3

PREFIX = "installation"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SETTINGS = """
[blobs]
bucket = "{bucket}"
prefix = "{prefix}"
endpoint = "{endpoint}"
region = "us-east-1"
access_key = "{access_key}"
secret_key = "{secret_key}"
path_style = true
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A running S3 server with the bucket."""
    with seaweed() as url:
        yield url


@pytest.fixture(scope="module")
def installation(endpoint: str) -> Iterator[Installation]:
    """`wingbeat up` over the bucket, by its settings file."""
    settings = SETTINGS.format(
        bucket=BUCKET, prefix=PREFIX, endpoint=endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    with running_installation(settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(installation: Installation, endpoint: str) -> Iterator[Client]:
    """A client whose machine may read the bucket."""
    s3 = S3Config(endpoint=endpoint, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
    client = Client(installation.endpoint, DataConfig(s3=s3))
    yield client
    client.close()


def test_pyflyte_run(installation: Installation, client: Client) -> None:
    """`pyflyte run --remote` uploads code through a signed URL, with no credentials of its own; tasks fetch it."""
    run = ["run", "--remote", "hello_world.py", "hello_world_wf", "--name", "bucket"]
    done = subprocess.run(
        [BIN / "pyflyte", "--config", installation.client_config, *run],
        cwd=EXAMPLES,
        env={**os.environ, "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    name = re.search(r"/executions/([a-z0-9-]+)", done.stdout + done.stderr)
    assert name, done.stdout + done.stderr
    execution = succeeded(client.wait(client.remote.fetch_execution(name=name[1])))
    assert execution.outputs["o0"] == "Hello, bucket!"


def test_files(client: Client) -> None:
    """Files and dataclasses pass from task to task through the bucket, and the client reads the last file there."""
    execution = succeeded(client.run("diamond", "diamond_wf", {"days": 9}))
    report, summary, warmest = diamond_wf(days=9)
    assert execution.outputs.get("o1", Summary) == summary
    assert execution.outputs.get("o2", list[Reading]) == warmest
    remote_report = execution.outputs.get("o0", FlyteFile)
    assert remote_report.remote_source.startswith(f"s3://{BUCKET}/{PREFIX}/")
    with client.remote.remote_context():  # a download outside would use what flytekit finds in its environment
        downloaded = Path(remote_report.download())
    assert downloaded.read_text(encoding="utf-8") == Path(report).read_text(encoding="utf-8")


def test_dataframes(client: Client) -> None:
    """Parquet files of DataFrames lie in the bucket."""
    from dataframe_pipeline import dataframe_wf

    execution = succeeded(client.run("dataframe_pipeline", "dataframe_wf", {"orders": 50}))
    sentence, totals = dataframe_wf(orders=50)
    assert execution.outputs["o0"] == sentence
    pd.testing.assert_frame_equal(execution.outputs.get("o1", pd.DataFrame), totals)


def test_raw_containers(client: Client) -> None:
    """A container gets files of a Python task from the bucket, and the next Python task gets its files there."""
    execution = succeeded(client.run("raw_containers", "sort_wf", {"words": ["fig"], "limits": {"top": 3}}))
    assert execution.outputs.get("o0", list[str])[1] == "below/one: ['one', 'a', 'one', 'b']"


def test_checkpoints(client: Client, marks: Path) -> None:
    """Attempts find the checkpoints of earlier ones in the bucket."""
    execution = succeeded(client.run("checkpoints", "survive_wf", {"marks": str(marks)}))
    assert execution.outputs.get("o0", list[str]) == ["a", "b"]


def test_nothing_lies_on_the_machine(installation: Installation, client: Client, endpoint: str) -> None:
    """Inputs, outputs and raw data of an execution are objects; the data folder holds no blob."""
    execution = succeeded(client.run("diamond", "diamond_wf", {"days": 3}))

    async def listed() -> list[str]:
        async with open_s3(s3_options(endpoint, prefix=PREFIX)) as (blobs, _):
            return list(await blobs.list(blobs.base))

    names = asyncio.run(listed())
    mine = [name for name in names if execution.id.name in name]
    assert any(name.endswith("/inputs.pb") for name in mine)
    assert any(name.endswith("/outputs.pb") for name in mine)
    assert not (installation.data_dir / "blobs").exists()


def test_the_client_without_access(installation: Installation, client: Client, tmp_path: Path) -> None:
    """Wingbeat's own client moves files, folders and tables by signed URLs; it knows no credentials of the bucket."""
    name = client.register("files", "upper_wf").id.name
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a b.txt").write_text("a")
    (tmp_path / "file.txt").write_text("text")
    inputs = {"file": tmp_path / "file.txt", "folder": tmp_path / "folder", "frame": pd.DataFrame({"x": [1, 2]})}
    with wingbeat.Client(installation.endpoint) as plain:
        outputs = plain.run(name, inputs, timeout_s=120)
        assert outputs["o0"].uri.startswith("s3://")
        assert outputs["o0"].read_text() == "TEXT"
        assert {name: file.read_text() for name, file in outputs["o1"].files().items()} == {"below/below/a b.txt": "A"}
        assert list(outputs["o2"].to_pandas()["x"]) == [2, 4]
