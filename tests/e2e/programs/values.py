"""Values of every sort that programs pass between tasks."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from flytekit import FlyteContext, StructuredDatasetType, current_context, kwtypes, task, workflow
from flytekit.core.type_engine import BatchSize
from flytekit.models import literals
from flytekit.models.literals import StructuredDatasetMetadata
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile
from flytekit.types.schema import FlyteSchema
from flytekit.types.structured import register_csv_handlers, register_pandas_handlers
from flytekit.types.structured.structured_dataset import (
    CSV,
    PARQUET,
    StructuredDataset,
    StructuredDatasetDecoder,
    StructuredDatasetEncoder,
    StructuredDatasetTransformerEngine,
)
from pydantic import BaseModel

register_pandas_handlers()  # first, so that Parquet is what frames are written as, here and in whatever imports this
register_csv_handlers()


class Size(Enum):
    """How large."""

    SMALL = "small"
    LARGE = "large"


@dataclass
class Point:
    """Where."""

    x: int
    y: float


@dataclass
class Parcel:
    """What is sent, with things that are not plain values."""

    name: str
    size: Size
    points: list[Point]
    label: FlyteFile
    box: FlyteDirectory
    table: StructuredDataset


class Note(BaseModel):
    """A model of pydantic."""

    title: str
    lines: dict[str, list[int]]
    page: FlyteFile


class Opaque:
    """Nothing that flytekit knows."""

    def __init__(self, text: str) -> None:
        self.text = text


@task
def pack(name: str, size: Size) -> Parcel:
    """A parcel with a file, a folder and a table in it."""
    folder = Path(current_context().working_directory) / "box"
    folder.mkdir()
    (folder / "inside.txt").write_text("inside", encoding="utf-8")
    label = folder.parent / "label.txt"
    label.write_text(f"to {name}", encoding="utf-8")
    table = StructuredDataset(dataframe=pd.DataFrame({"weight": [1, 2]}))
    points = [Point(x=1, y=0.5), Point(x=2, y=1.5)]
    return Parcel(name, size, points, FlyteFile(str(label)), FlyteDirectory(str(folder)), table)


@task
def unpack(parcel: Parcel) -> list[str]:
    """Everything in it."""
    label = Path(parcel.label).read_text(encoding="utf-8")
    inside = (Path(parcel.box) / "inside.txt").read_text(encoding="utf-8")
    weight = parcel.table.open(pd.DataFrame).all()["weight"].sum()
    return [parcel.name, parcel.size.value, str(parcel.points[1].y), label, inside, str(weight)]


@task
def describe(name: str, size: Size, x: int) -> str:
    """Parts of a parcel."""
    return f"{name} {size.value} {x}"


@workflow
def parcel_wf(name: str, size: Size) -> tuple[list[str], str]:
    """A dataclass as a whole, and parts of it by their paths."""
    parcel = pack(name=name, size=size)
    return unpack(parcel=parcel), describe(name=parcel.name, size=parcel.size, x=parcel.points[1].x)


@task
def nest() -> tuple[dict[str, list[str]], list[dict[str, int]], dict[str, Point]]:
    """Containers in containers."""
    return {"a": ["b", "c"]}, [{"d": 1}, {"d": 2}], {"e": Point(x=3, y=4.5)}


@task
def tell(word: str, number: int, y: float, words: list[str], numbers: dict[str, int]) -> str:
    """What was found at the paths."""
    return f"{word} {number} {y} {words} {numbers}"


@workflow
def paths_wf() -> str:
    """Promises of list items, map entries and attributes."""
    lists, maps, points = nest()
    return tell(word=lists["a"][1], number=maps[1]["d"], y=points["e"].y, words=lists["a"], numbers=maps[0])


@task
def write_note(title: str) -> Note:
    """A model with a file in it."""
    page = Path(current_context().working_directory) / "page.txt"
    page.write_text(f"page of {title}", encoding="utf-8")
    return Note(title=title, lines={"odd": [1, 3]}, page=FlyteFile(str(page)))


@task
def read_note(note: Note) -> str:
    """All of it."""
    return f"{note.title} {note.lines} {Path(note.page).read_text(encoding='utf-8')}"


@workflow
def note_wf(title: str) -> str:
    """A pydantic model."""
    return read_note(note=write_note(title=title))


@task
def hide(texts: list[str]) -> Annotated[list[Opaque], BatchSize(2)]:
    """Pickled, two in a file."""
    return [Opaque(text) for text in texts]


@task
def show(hidden: list[Opaque]) -> Iterator[str]:
    """A generator as an output."""
    for one in hidden:
        yield one.text


@workflow
def pickle_wf(texts: list[str]) -> Iterator[str]:
    """Objects that only Python knows."""
    return show(hidden=hide(texts=texts))


@task
def make_frame(rows: int) -> pd.DataFrame:
    """A table."""
    return pd.DataFrame({"name": [f"n{row}" for row in range(rows)], "age": range(rows)})


@task
def ages(frame: Annotated[StructuredDataset, kwtypes(age=int)]) -> list[int]:
    """One column of it."""
    found = frame.open(pd.DataFrame).all()
    assert list(found.columns) == ["age"]
    return [int(age) for age in found["age"]]


@task
def as_csv(frame: pd.DataFrame) -> Annotated[StructuredDataset, CSV]:
    """The same as text."""
    return StructuredDataset(dataframe=frame)


@task
def as_schema(frame: pd.DataFrame) -> FlyteSchema[kwtypes(name=str, age=int)]:
    """The same in the older type."""
    schema = FlyteSchema[kwtypes(name=str, age=int)]()
    schema.open().write(frame)
    return schema


@task
def count_rows(csv: StructuredDataset, schema: FlyteSchema[kwtypes(name=str, age=int)]) -> int:
    """Rows of both."""
    return len(csv.open(pd.DataFrame).all()) + len(schema.open().all())


@workflow
def frames_wf(rows: int) -> tuple[list[int], int]:
    """Tables in three forms."""
    frame = make_frame(rows=rows)
    return ages(frame=frame), count_rows(csv=as_csv(frame=frame), schema=as_schema(frame=frame))


class ArrayEncoder(StructuredDatasetEncoder):
    """Arrays of numpy as Parquet."""

    def encode(
        self, ctx: FlyteContext, structured_dataset: StructuredDataset, structured_dataset_type: StructuredDatasetType
    ) -> literals.StructuredDataset:
        """Write one file into a folder of its own."""
        array = structured_dataset.dataframe
        table = pa.Table.from_arrays([pa.array(row) for row in array], [f"c{index}" for index in range(len(array))])
        folder = ctx.file_access.get_random_local_directory()
        pq.write_table(table, str(Path(folder) / "00000"))
        uri = ctx.file_access.put_raw_data(folder)
        metadata = StructuredDatasetMetadata(structured_dataset_type=StructuredDatasetType(format=PARQUET))
        return literals.StructuredDataset(uri=uri, metadata=metadata)


class ArrayDecoder(StructuredDatasetDecoder):
    """And back."""

    def decode(
        self,
        ctx: FlyteContext,
        flyte_value: literals.StructuredDataset,
        current_task_metadata: StructuredDatasetMetadata,
    ) -> np.ndarray:
        """Read the folder."""
        folder = ctx.file_access.get_random_local_directory()
        ctx.file_access.get_data(flyte_value.uri, folder, is_multipart=True)
        return pq.read_table(folder).to_pandas().to_numpy().T


StructuredDatasetTransformerEngine.register(ArrayEncoder(np.ndarray, None, PARQUET))
StructuredDatasetTransformerEngine.register(ArrayDecoder(np.ndarray, None, PARQUET))


@task
def make_array(rows: int) -> Annotated[StructuredDataset, PARQUET]:
    """An array by the user's own encoder."""
    return StructuredDataset(dataframe=np.arange(rows * 2).reshape(rows, 2))


@task
def add_up(array: StructuredDataset) -> int:
    """The same array by the user's own decoder."""
    return int(array.open(np.ndarray).all()[-1].sum())


@workflow
def array_wf(rows: int) -> int:
    """A type of the user's own."""
    return add_up(array=make_array(rows=rows))


@task
def drop_lines(text: FlyteFile, word: str) -> FlyteFile:
    """Streams from one remote file into another."""
    kept = FlyteFile.new_remote_file("kept.txt")
    with text.open("r") as source, kept.open("w") as target:
        for line in source:
            if word not in line:
                target.write(line)
    return kept


@task
def copy_folder(folder: FlyteDirectory) -> FlyteDirectory:
    """Streams a remote folder into another one, file by file."""
    copied = FlyteDirectory.new_remote("copied")
    for base, name in folder.crawl():
        target = copied.new_file(name)
        with FlyteFile(str(Path(base) / name)).open("rb") as source, target.open("wb") as sink:
            sink.write(source.read())
    return copied


@task
def make_texts(lines: list[str], pause: timedelta) -> tuple[FlyteFile, FlyteDirectory]:
    """A file, and a folder with the same file."""
    folder = Path(current_context().working_directory) / "texts"
    folder.mkdir()
    (folder / "all.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert pause > timedelta(0)
    return FlyteFile(str(folder / "all.txt")), FlyteDirectory(str(folder))


@workflow
def streaming_wf(lines: list[str], word: str) -> tuple[FlyteFile, FlyteDirectory]:
    """Files that are read and written where they lie."""
    text, folder = make_texts(lines=lines, pause=timedelta(seconds=1))
    return drop_lines(text=text, word=word), copy_folder(folder=folder)
