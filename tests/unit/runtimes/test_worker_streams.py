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
        assert tail(path, 0) == ""
        cut(path)


def test_parts_of_a_file_belong_to_tasks(tmp_path: Path) -> None:
    """What follows a part is not read with it, nor what came before."""
    path = tmp_path / "stdout"
    path.write_bytes(b"first\nsecond\nthird\n")
    read = {"stdout": 6}
    assert list(read_new(path, read, "stdout", whole=True, until=13)) == [b"second\n"]
    assert read == {"stdout": 13}
    assert tail(path, 6, 13) == "second"
    assert tail(path, 13) == "third"
    assert tail(path, 19, 13) == ""
