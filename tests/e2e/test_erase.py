"""`wingbeat erase`, `wingbeat gc` and `wingbeat retention` against a running installation."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from flytekit.core.options import Options
from flytekit.models.common import Labels, RawOutputDataConfig
from tests.e2e.client import Client, phase, succeeded
from tests.e2e.installation import Installation, running_installation, until

import wingbeat
from wingbeat import Row
from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres


@pytest.fixture
def plain(installation: Installation) -> Iterator[wingbeat.Client]:
    """A client without flytekit."""
    with wingbeat.Client(installation.endpoint) as client:
        yield client


def test_erased_without_a_trace(installation: Installation, client: Client) -> None:
    """A dry run tells what would go; then no file below the data folder bears the execution's name, and nobody knows
    it any more."""
    execution = succeeded(client.run("hello_world", "hello_world_wf", {"name": "Erased"}))
    name = execution.id.name
    folder = ("--data-dir", str(installation.data_dir))
    assert _traces(installation.data_dir, name)
    told = json.loads(installation.wingbeat("erase", name, "--dry-run", "-o", "json", *folder).stdout)
    assert int(told["rows"]["node_executions"]) == 3
    assert int(told["blobCount"]) > 0
    assert int(told["logCount"]) == 1
    done = installation.wingbeat("erase", name, "--yes", *folder).stdout
    assert done.startswith("1 execution erased:")
    assert not _traces(installation.data_dir, name)
    gone = installation.wingbeat("erase", name, "--yes", *folder, check=False)
    assert gone.returncode == 1
    assert "there is no execution" in gone.stderr
    asked = installation.wingbeat("sql", f"SELECT 1 FROM executions WHERE name = '{name}'", "-o", "json", *folder)
    assert asked.stdout == ""


def test_nothing_holds_a_value_any_more(
    installation: Installation, client: Client, plain: wingbeat.Client, tmp_path: Path
) -> None:
    """A value that was an input, and came into outputs, a file, a page, a cache entry, an artifact, logs, an error, a
    label and the rows of a batch, stands in no row of any table and in no file after the erasure."""
    value = f"private{uuid.uuid4().hex}"
    options = Options(
        labels=Labels({"who": value}), raw_output_data_config=RawOutputDataConfig(f"{_base(installation)}/mine/raw")
    )
    failed = client.run("private", "private_wf", {"who": value}, options=options)
    assert phase(failed) == "FAILED"
    name = client.register("private", "quiet_wf").id.name
    batch = plain.upload_batch([Row({"who": value}, key=value, labels={"who": value})], name, name=f"b{value}")
    assert plain.wait_batch(batch, timeout_s=120).counts.succeeded == 1
    launched = plain.launch(name, {"who": value}, labels={"who": value}, key=value)
    plain.wait(launched, timeout_s=120)
    until(lambda: "artifacts" in _rows(installation, value), what="the artifact")
    assert {
        "executions",
        "execution_search",
        "execution_tags",
        "node_executions",
        "task_executions",
        "cache_artifacts",
        "artifacts",
        "batches",
        "batch_rows",
    } <= _rows(installation, value)
    held = _files(installation.data_dir, value)
    for part in ("/mine/raw/", "/deck.html", "/stdout.log", "/manifest/", "/results/", "/metadata/propeller/"):
        assert any(part in path for path in held), (part, held)

    folder = ("--data-dir", str(installation.data_dir))
    told = installation.wingbeat("erase", "--label", f"who={value}", "--dry-run", "-o", "json", *folder).stdout
    answers = json.loads("[" + told.replace("}\n{", "},{") + "]")
    counted = [one["rows"] for one in answers]
    assert [one["batch"]["name"] for one in answers if "batch" in one] == [f"b{value}"]
    assert len(counted) == 4
    for table in ("execution_tags", "execution_search", "batch_rows", "cache_artifacts", "artifacts"):
        assert any(table in rows for rows in counted), table
    installation.wingbeat("erase", "--label", f"who={value}", "--yes", *folder)
    assert _rows(installation, value) == set()
    assert _files(installation.data_dir, value) == []


def test_nothing_is_left_of_a_winding_way(tmp_path: Path) -> None:
    """The same in an installation whose tasks run in a worker, for maps, dynamics, children, checkpoints, values apart,
    signals, aliases of artifacts and their uses, and what lineage ties; of the executions not even a name or a row id
    is left, but for the logs of Wingbeat's processes."""
    value = f"private{uuid.uuid4().hex}"
    settings = (
        '[workers]\ncount = 1\nslots = 3\nwithout_worker = "wait"\n[propeller]\noffload_min_mib = 1\nbackoff_s = 0\n'
        f'[openlineage]\nfile = "{tmp_path}/events"\n'
    )
    with running_installation(settings=settings) as warm, closing(Client(warm.endpoint)) as client:
        folder = ("--data-dir", str(warm.data_dir))
        labels = {"who": value}
        with wingbeat.Client(warm.endpoint) as plain:
            for key in ("first", "second"):
                name = client.register("private", "winding_wf").id.name
                launched = plain.launch(name, {"who": value, "numbers": [1, 2]}, labels=labels, key=key)
                until(lambda one=launched: any(plain.signals(one)), what="the gate")
                plain.signal(launched, "answer", value)
                ended = plain.wait(launched, timeout_s=120)
                assert ended.phase.name == "SUCCEEDED", warm.wingbeat("why", ended.id.name, *folder).stdout
                until(lambda: "artifacts" in _rows(warm, value), what="the artifact")
        told = json.loads(warm.wingbeat("artifact", "get", "told", "-o", "json", *folder).stdout)
        warm.wingbeat("artifact", "tag", f"told@{told['artifactId']['version']}", value, *folder)
        options = Options(labels=Labels(labels))
        succeeded(client.run("private", "asking_wf", {"who": value}, options=options))
        until((tmp_path / "events").exists, what="an event")
        assert {
            "executions",
            "node_executions",
            "task_executions",
            "array_elements",
            "signals",
            "cache_artifacts",
            "artifacts",
            "artifact_tags",
        } <= _rows(warm, value)
        names = _column(warm, "SELECT name FROM executions")
        keys = _column(warm, "SELECT id FROM executions")
        assert len(names) == 5
        assert "launch_keys" in _rows(warm, *names)
        assert {
            "artifact_uses.execution_id",
            "lineage_edges.source_execution_id",
            "lineage_elements.source_execution_id",
            "transitions.execution_id",
        } <= _references(warm, keys)
        held = _files(warm.data_dir, value)
        for part in ("/_flytecheckpoints/", "_offloaded_metadata.pb", "/stdout.log", "/futures"):
            assert any(part in path for path in held), (part, held)
        would = warm.wingbeat("erase", "--label", f"who={value}", "--dry-run", *folder).stdout
        done = warm.wingbeat("erase", "--label", f"who={value}", "--yes", *folder).stdout
        assert would.splitlines()[-1].replace("would go", "erased") == done.splitlines()[-1]
        assert _rows(warm, value, *names) == set()
        assert _references(warm, keys) == set()
        assert _files(warm.data_dir, value) == []
        logs = warm.data_dir / "logs"
        for name in names:
            assert [path for path in _files(warm.data_dir, name) if logs not in Path(path).parents] == []


def test_garbage(installation: Installation, client: Client) -> None:
    """A dry run of the collection lists nothing young, and what is young cannot be asked for."""
    succeeded(client.run("hello_world", "hello_world_wf", {"name": "Kept"}))
    folder = ("--data-dir", str(installation.data_dir))
    assert (
        " blobs would go: 0 B, older than 2h"
        in installation.wingbeat("gc", "--dry-run", "--older-than", "2h", *folder).stdout
    )
    assert "0 of " in installation.wingbeat("gc", "--yes", "--project", "flytesnacks", *folder).stdout
    refused = installation.wingbeat("gc", "--dry-run", "--older-than", "0h", *folder, check=False)
    assert (refused.returncode, "younger" in refused.stderr) == (1, True)
    assert installation.wingbeat("gc", "--older-than", "soon", *folder, check=False).returncode == 2


def test_policies(installation: Installation) -> None:
    """A policy is set, shown and taken away."""
    folder = ("--data-dir", str(installation.data_dir))
    installation.wingbeat("retention", "set", "flytesnacks", "staging", "--executions-days", "9", *folder)
    assert "9 days" in installation.wingbeat("retention", "list", *folder).stdout
    installation.wingbeat("retention", "clear", "flytesnacks", "staging", *folder)
    assert "9 days" not in installation.wingbeat("retention", "list", *folder).stdout


def _traces(folder: Path, name: str) -> list[str]:
    """Blobs and folders of tasks that bear an execution's name."""
    places = (folder / "blobs", folder / "local")
    return [str(path) for place in places for path in place.rglob("*") if name in path.name]


def _base(installation: Installation) -> str:
    """Address of the blob store."""
    return (installation.data_dir / "blobs").resolve().as_uri()


def _rows(installation: Installation, *values: str) -> set[str]:
    """Tables with a row that holds one of some values, as text or inside of bytes."""

    async def search(connection: asyncpg.Connection) -> set[str]:
        found = "SELECT EXISTS (SELECT FROM {} AS t WHERE t::text LIKE ANY($1))"
        patterns = [f"%{text}%" for value in values for text in (value, value.encode().hex())]
        tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'"
        return {
            table
            for (table,) in await connection.fetch(tables)
            if await connection.fetchval(found.format(table), patterns)
        }

    return _ask(installation, search)


def _references(installation: Installation, keys: list[int]) -> set[str]:
    """Columns that hold the row id of an execution, and have one of these."""

    async def search(connection: asyncpg.Connection) -> set[str]:
        columns = (
            "SELECT table_name::text, column_name::text FROM information_schema.columns NATURAL JOIN"
            " information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
            " AND (column_name LIKE '%execution_id' OR column_name = 'replaced_by')"
        )
        return {
            f"{table}.{column}"
            for table, column in await connection.fetch(columns)
            if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table} WHERE {column} = ANY($1))", keys)
        }

    return _ask(installation, search)


def _column(installation: Installation, query: str) -> list[Any]:
    """What a query answers in its only column."""

    async def search(connection: asyncpg.Connection) -> list[Any]:
        return [row[0] for row in await connection.fetch(query)]

    return _ask(installation, search)


def _ask(installation: Installation, search: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(EmbeddedPostgres(installation.data_dir / "postgres").dsn())
        try:
            return await search(connection)
        finally:
            await connection.close()

    return asyncio.run(ask())


def _files(folder: Path, value: str) -> list[str]:
    """Files outside of the database that hold a value or are called by it; it forgets in its own time."""
    return [
        str(path)
        for path in folder.rglob("*")
        if folder / "postgres" not in path.parents
        and path.is_file()
        and (value in str(path) or value.encode() in path.read_bytes())
    ]
