"""The data folder: one holder, who says who it is; a state that readers see whole."""

import array
import fcntl
import os
from pathlib import Path

import pytest

from wingbeat_controlplane.supervisor.data_folder import AlreadyRunningError, DataFolder, Holder, State
from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    """The lock excludes, and its error names pid and ports."""
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.create()
    first.lock()
    first.describe_holder(Holder(4711, 8089, 8088))

    with pytest.raises(AlreadyRunningError, match="pid 4711, gRPC port 8089, HTTP port 8088"):
        second.lock()
    assert second.holder() == Holder(4711, 8089, 8088)

    first.unlock()
    assert second.holder() is None
    second.lock()
    second.unlock()


def test_a_lock_file_nobody_holds_is_stale(tmp_path: Path) -> None:
    """What a killed holder wrote does not keep anybody out."""
    folder = DataFolder(tmp_path)
    folder.create()
    (tmp_path / "lock").write_text('{"pid": 1, "grpc_port": 2, "http_port": 3}')

    assert folder.holder() is None
    folder.lock()
    folder.unlock()


def test_state_is_read_back_as_written(tmp_path: Path) -> None:
    """State survives the file; a broken or missing file is no state."""
    folder = DataFolder(tmp_path)
    folder.create()
    state = State("1", "now", True, "h:1", "http://h:2", "embedded", {"server": ProcessIdentity(3, "t")})

    folder.write_state(state)
    assert folder.read_state() == state

    (tmp_path / "state.json").write_text('{"version": ')
    assert folder.read_state() is None
    folder.remove_state()
    assert folder.read_state() is None


def test_subfolders_of_a_new_folder_are_laid_out_apart(tmp_path: Path) -> None:
    """Where the file system has a flag for it, a new folder carries it; one that holds a cluster is left as it is."""
    new, old = DataFolder(tmp_path / "new"), DataFolder(tmp_path / "old")
    old.postgres.mkdir(parents=True)

    new.create()
    old.create()

    if not _takes_flag(tmp_path):
        pytest.skip("this file system has no such flag")
    assert [bool(_flags(folder.path)[0] & _TOPDIR) for folder in (new, old)] == [True, False]


_TOPDIR = 0x20000


def _flags(folder: Path, request: int = 0x80086601, value: int = 0) -> "array.array[int]":
    flags = array.array("l", [value])
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, request, flags)
    finally:
        os.close(descriptor)
    return flags


def _takes_flag(folder: Path) -> bool:
    try:
        _flags(folder, 0x40086602, _flags(folder)[0] | _TOPDIR)
    except OSError:
        return False
    return True
