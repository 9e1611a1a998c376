"""Values of every sort come out of a task as they went into the one before."""

from pathlib import Path

from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile
from tests.e2e.client import Client, succeeded
from values import Size


def test_dataclasses(client: Client) -> None:
    """A dataclass holds enums, lists, files, folders and tables; parts of it are promises of their own."""
    outputs = succeeded(client.run("values", "parcel_wf", {"name": "ada", "size": Size.LARGE})).outputs
    assert outputs.get("o0", list[str]) == ["ada", "large", "1.5", "to ada", "inside", "3"]
    assert outputs["o1"] == "ada large 2"


def test_paths(client: Client) -> None:
    """Items, entries and attributes of outputs are inputs of the next task."""
    assert succeeded(client.run("values", "paths_wf")).outputs["o0"] == "c 2 4.5 ['b', 'c'] {'d': 1}"


def test_pydantic(client: Client) -> None:
    """A model with a file in it."""
    outputs = succeeded(client.run("values", "note_wf", {"title": "t"})).outputs
    assert outputs["o0"] == "t {'odd': [1, 3]} page of t"


def test_pickles(client: Client) -> None:
    """Objects of the user's own classes, in batches."""
    outputs = succeeded(client.run("values", "pickle_wf", {"texts": ["a", "b", "c"]})).outputs
    assert outputs.get("o0", list[str]) == ["a", "b", "c"]


def test_tables(client: Client) -> None:
    """A column of a table, a table as CSV, as a schema, and as the user's own type."""
    outputs = succeeded(client.run("values", "frames_wf", {"rows": 3})).outputs
    assert (outputs.get("o0", list[int]), outputs["o1"]) == ([0, 1, 2], 6)
    assert succeeded(client.run("values", "array_wf", {"rows": 3})).outputs["o0"] == 9


def test_streaming(client: Client) -> None:
    """Files are read and written as streams."""
    inputs = {"lines": ["rain", "sun", "more rain"], "word": "rain"}
    outputs = succeeded(client.run("values", "streaming_wf", inputs)).outputs
    assert Path(outputs.get("o0", FlyteFile).download()).read_text() == "sun\n"
    (copied,) = Path(outputs.get("o1", FlyteDirectory).download()).iterdir()
    assert (copied.name, copied.read_text()) == ("all.txt", "rain\nsun\nmore rain\n")
