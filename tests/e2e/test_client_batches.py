"""Batches through the Python client and its commands, against a real installation."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.client import Client
from tests.e2e.installation import BIN, Installation, until

import wingbeat
from wingbeat import BatchState, Row, RowPhase
from wingbeat.errors import ConversionError, FailedPreconditionError, NotFoundError


@pytest.fixture(scope="module")
def plain(installation: Installation) -> Iterator[wingbeat.Client]:
    """A client without flytekit."""
    with wingbeat.Client(installation.endpoint) as client:
        yield client


@pytest.fixture(scope="module")
def hello(client: Client) -> str:
    """Name of a launch plan."""
    return client.register("hello_world", "hello_world_wf").id.name


def test_a_file_of_rows(plain: wingbeat.Client, hello: str, tmp_path: Path) -> None:
    """A manifest of this machine is uploaded; each row runs once, one that cannot is refused; results name them all."""
    manifest = tmp_path / "rows.jsonl"
    rows = [{"@key": f"k{n}", "name": f"n{n}" if n != 2 else 2} for n in range(6)]
    manifest.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    batch = plain.create_batch(manifest, hello, name="client-file", alive_max=3)
    assert plain.create_batch(manifest, hello, name="client-file", alive_max=3).name == batch.name
    ended = plain.wait_batch(batch, timeout_s=120)
    assert ended.state is BatchState.COMPLETED
    assert (ended.counts.total, ended.counts.succeeded, ended.counts.refused) == (6, 5, 1)
    assert not ended.succeeded
    results = {result["key"]: result for result in plain.batch_results(batch)}
    assert sorted(results) == [f"k{n}" for n in range(6)]
    (refused,) = plain.batch_rows(batch, phases=[RowPhase.REFUSED])
    assert (refused.key, refused.execution) == ("k2", None)
    for row in plain.batch_rows(batch, phases=[RowPhase.SUCCEEDED]):
        assert row.execution is not None
        assert plain.outputs(row.execution) == {"o0": f"Hello, n{row.number}!"}
    assert batch.name in [one.name for one in plain.batches()]


def test_rows_of_a_program(plain: wingbeat.Client, hello: str) -> None:
    """Rows are sent as they are made, paused at once, gone on with, and a wrong one is the caller's own error."""
    rows = (Row({"name": f"r{n}"}, key=f"r{n}") for n in range(700))
    batch = plain.upload_batch(rows, hello, name="client-rows", rate_per_s=5)
    until(lambda: plain.batch(batch).counts.total == 700, what="all rows to be read")
    assert plain.pause_batch(batch).state is BatchState.PAUSED
    assert plain.batch(batch).counts.pending > 600
    assert plain.resume_batch(batch).state in (BatchState.RUNNING, BatchState.CHECKING)
    aborted = plain.abort_batch(batch, "enough")
    assert aborted.state in (BatchState.ABORTING, BatchState.ABORTED)
    assert plain.wait_batch(batch, timeout_s=120).state is BatchState.ABORTED
    with pytest.raises(FailedPreconditionError):
        plain.pause_batch(batch)
    with pytest.raises(ConversionError, match="name: 3 is no text"):
        plain.upload_batch([{"name": "a"}, {"name": 3}], hello)
    with pytest.raises(NotFoundError):
        plain.batch("absent")


def test_large_rows(plain: wingbeat.Client, hello: str) -> None:
    """Rows go in messages that the server takes, however large they are."""
    rows = [Row({"name": "n"}, labels={"none": "x" * 1_000_000})] * 70
    ended = plain.wait_batch(plain.upload_batch(rows, hello, name="client-large"), timeout_s=120)
    assert (ended.counts.total, ended.counts.refused) == (70, 70)


def test_commands(installation: Installation, hello: str, tmp_path: Path) -> None:
    """Created, watched, listed, its rows and results shown; exit 1 when a row did not succeed."""
    environment = {**os.environ, "WINGBEAT_ENDPOINT": installation.endpoint}

    def shell(*arguments: str, status: int = 0) -> str:
        command = [BIN / "wingbeat", "batch", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if not status else done.stdout + done.stderr

    manifest = tmp_path / "rows.csv"
    manifest.write_text("id,name\na,Ada\nb,Bob\n")
    flags = ("--name", "client-cli", "--key-column", "id")
    assert "COMPLETED 2 of 2 ended" in shell("create", str(manifest), hello, *flags, "--watch")
    assert json.loads(shell("get", "client-cli", "-o", "json"))["counts"]["succeeded"] == "2"
    assert "flytesnacks/development/client-cli" in shell("list", "--state", "completed", "-o", "name").split()
    assert shell("rows", "client-cli", "--phase", "succeeded", "-o", "name").count("/") == 4
    lines = [json.loads(line) for line in shell("results", "client-cli").splitlines()]
    assert sorted(line["key"] for line in lines) == ["a", "b"]
    assert "0 rows" in shell("retry", "client-cli")
    assert "absent" in shell("get", "absent", status=1)
