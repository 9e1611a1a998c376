"""Reading the files that the output of a task in a worker goes to."""

import os
from pathlib import Path

from wingbeat.worker.logs import cut, read_new, tail


def test_what_a_task_has_made_of_its_files(tmp_path: Path) -> None:
    """A pipe, a folder or nothing at all counts as no output, and holds up nobody."""
    pipe, folder, nothing = tmp_path / "pipe", tmp_path / "folder", tmp_path / "nothing"
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (pipe, folder, nothing):
        assert list(read_new(path, {"stdout": 0}, "stdout", whole=True)) == []
        assert tail(path) == ""
        cut(path)
