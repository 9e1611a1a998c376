"""SQL tasks: statements with inputs in them, run by flytekit's own executor, which reads its task from the store."""

import sqlite3
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from flytekit import kwtypes
from flytekit.configuration import ImageConfig, SerializationSettings
from flytekit.extras.sqlite3.task import SQLite3Config, SQLite3Task
from flytekit.types.schema import FlyteSchema
from tests.e2e.client import DOMAIN, PROJECT, Client, succeeded


@pytest.mark.parametrize("compressed", [False, True])
def test_sqlite(client: Client, tmp_path: Path, compressed: bool) -> None:
    """Numbers and texts go into the statement, its rows come out as a table."""
    file = tmp_path / "data.sqlite"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE people (name text, age integer)")
        database.executemany("INSERT INTO people VALUES (?, ?)", [("ada", 36), ("bob", 17), ("cyd", 50)])
    database.close()
    if compressed:
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
            archive.write(file, "data.sqlite")
        file = tmp_path / "data.zip"
    task = SQLite3Task(
        name=f"sql.people_{compressed}".lower(),
        query_template="""
            SELECT name, age FROM people
            WHERE age >= {{ .inputs.low }} AND name <> '{{.inputs.not_this}}' LIMIT {{ .inputs.limit }}
        """,
        inputs=kwtypes(low=int, not_this=str, limit=int),
        output_schema_type=FlyteSchema[kwtypes(name=str, age=int)],
        task_config=SQLite3Config(uri=str(file), compressed=compressed),
    )
    settings = SerializationSettings(image_config=ImageConfig.auto(), project=PROJECT, domain=DOMAIN)
    registered = client.remote.register_task(task, settings, version=tmp_path.name)
    execution = client.wait(client.remote.execute(registered, inputs={"low": 18, "not_this": "cyd", "limit": 10}))
    frame = succeeded(execution).outputs.get("results", pd.DataFrame)
    assert frame.to_dict("records") == [{"name": "ada", "age": 36}]
