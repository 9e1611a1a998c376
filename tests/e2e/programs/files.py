"""Files, folders and tables as inputs from a client, and back again."""

from pathlib import Path

import pandas as pd
from flytekit import current_context, task, workflow
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile


@task
def upper(file: FlyteFile) -> FlyteFile:
    """The same text in capitals."""
    path = Path(current_context().working_directory) / "upper.txt"
    path.write_text(Path(file).read_text(encoding="utf-8").upper(), encoding="utf-8")
    return FlyteFile(str(path))


@task
def upper_all(folder: FlyteDirectory) -> FlyteDirectory:
    """The same for every file of a folder, one level deeper."""
    source = Path(folder)
    target = Path(current_context().working_directory) / "upper"
    for path in (path for path in source.rglob("*") if path.is_file()):
        copy = target / "below" / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text(encoding="utf-8").upper(), encoding="utf-8")
    return FlyteDirectory(str(target))


@task
def double_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Every number twice."""
    return frame * 2


@workflow
def upper_wf(
    file: FlyteFile, folder: FlyteDirectory, frame: pd.DataFrame
) -> tuple[FlyteFile, FlyteDirectory, pd.DataFrame]:
    """All three."""
    return upper(file=upper(file=file)), upper_all(folder=upper_all(folder=folder)), double_frame(frame=frame)
