"""What a child removes between tasks, and when it wants to be replaced."""

import os
import time
from pathlib import Path

import pytest

from wingbeat.worker.wingbeat_task_child.folders import SANDBOX, SETTLED_NS, Folders, make_layout


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """Of a child whose working folder is the current one."""
    work, scratch = tmp_path / "work", tmp_path / "tmp"
    work.mkdir()
    make_layout(str(scratch))
    monkeypatch.chdir(work)
    return Folders(str(work), str(scratch))


def settle(root: Path) -> None:
    """As if nothing had changed for a while."""
    then = time.time_ns() - 10 * SETTLED_NS
    for folder, _, _ in os.walk(root):
        os.utime(folder, ns=(then, then))


@pytest.mark.parametrize("is_settled", [False, True])
def test_what_a_task_leaves_is_removed(folders: Folders, tmp_path: Path, is_settled: bool) -> None:
    """Files and folders, wherever the child keeps something, and after each of several tasks."""
    if is_settled:
        settle(tmp_path)
    assert folders.clean_up(code_came=False) == ""
    places = [tmp_path / "work", tmp_path / "tmp", tmp_path / "tmp" / SANDBOX / "local_flytekit"]
    for _ in range(3):
        for place in places:
            (place / "left").write_text("x")
            (place / "folder" / "deep").mkdir(parents=True)
        os.chdir(tmp_path)
        assert folders.clean_up(code_came=False) == ""
        assert Path.cwd() == tmp_path / "work"
        assert not any((place / name).exists() for place in places for name in ("left", "folder"))
        assert (tmp_path / "tmp" / SANDBOX / "local_flytekit" / "engine_dir").is_dir()
        if is_settled:
            settle(tmp_path)


def test_code_stays(folders: Folders, tmp_path: Path) -> None:
    """What was unpacked is kept, and a child without it is of no use."""
    code = tmp_path / "work" / "program.py"
    code.write_text("")
    assert folders.clean_up(code_came=True) == ""
    (tmp_path / "work" / "left").write_text("x")
    assert folders.clean_up(code_came=False) == ""
    assert os.listdir(tmp_path / "work") == ["program.py"]
    code.unlink()
    assert folders.clean_up(code_came=False) == "a task has removed code"
    assert folders.clean_up(code_came=False) == "a task has removed code"


def test_a_folder_that_is_gone(folders: Folders, tmp_path: Path) -> None:
    """A child without its scratch space is of no use."""
    settle(tmp_path)
    assert folders.clean_up(code_came=False) == ""
    (tmp_path / "tmp" / SANDBOX / "local_flytekit" / "engine_dir").rmdir()
    assert "not as they were" in folders.clean_up(code_came=False)
