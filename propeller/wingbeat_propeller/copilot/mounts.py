"""A private mount namespace in which folders of an attempt stand at the absolute paths that its container names.

Nobody else sees these mounts, nothing is made on the machine's own file system outside of the attempt's folder, and
the kernel drops them with the last process of the attempt. Where a named path does not exist, its nearest folder that
does is replaced by a copy made of mounts: each of its entries is mounted where it was, and the missing path is added.

Needs Linux and the right to make namespaces: root, or user namespaces for everybody, which containers and some
distributions forbid. `enter` must be called while the process has one thread.
"""

import ctypes
import os
import stat
from collections.abc import Collection, Mapping
from typing import Final

from wingbeat_propeller.container_files import is_inside

_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUSER: Final = 0x10000000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x40000

_REASON_BYTES_MAX: Final = 4096
"""A pipe takes as much at once, so a message is never cut in two."""

ENTRIES_MAX = 512
"""Entries of a folder that has to be replaced; each costs a mount."""


class NotPermittedError(Exception):
    """This machine does not allow it; the message says what failed. The paths are as they were."""


def refusal() -> str:
    """Why this machine does not permit private mounts, empty when it does."""
    return _tried({}, "/")


def enter(folders: Mapping[str, str], scratch: str, *, keep: Collection[str]) -> None:
    """Make each path in `folders` (absolute and normalized) show the folder it is given to, for this process and all
    that it starts. `scratch` is an empty folder of the attempt; paths in `keep` must stay what they are.

    Raises NotPermittedError.
    """
    for path in folders:
        hidden = [kept for kept in (os.getcwd(), scratch, *keep) if is_inside(os.path.realpath(kept), path)]
        if hidden:
            raise NotPermittedError(f"what the task needs lies in {path}: {hidden[0]}")
    refused = _tried(folders, os.path.join(scratch, "tried"))
    if refused:
        raise NotPermittedError(refused)
    _enter(folders, os.path.join(scratch, "used"))


def _tried(folders: Mapping[str, str], scratch: str) -> str:
    """Why it does not work, found out by a fork: a process that got half way cannot go back, nor make files any more
    when it is in a namespace that knows no users."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _enter(folders, scratch)
        except BaseException as error:  # noqa: BLE001 - the last frame of this process
            os.write(write_end, (str(error) or type(error).__name__).encode(errors="replace")[:_REASON_BYTES_MAX])
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as file:
        reason = file.read().decode(errors="replace")
    os.waitpid(pid, 0)
    return reason


def _enter(folders: Mapping[str, str], scratch: str) -> None:
    """Raises OSError, or AttributeError where the system has no such calls."""
    working_folder = os.getcwd()
    libc = ctypes.CDLL(None, use_errno=True)
    _unshare(libc)
    _mount(libc, "none", "/", _MS_REC | _MS_PRIVATE)
    for number, path in enumerate(sorted(folders)):  # a folder comes before what lies in it
        _show(libc, folders[path], path, os.path.join(scratch, str(number)))
    os.chdir(working_folder)


def _unshare(libc: ctypes.CDLL) -> None:
    """A mount namespace of our own; the right to have one comes from root or from a user namespace of our own."""
    if os.geteuid() == 0 and libc.unshare(_CLONE_NEWNS) == 0:
        return
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
        raise _error("a private mount namespace")
    for file, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{file}", "w", encoding="ascii") as handle:
            handle.write(text)


def _show(libc: ctypes.CDLL, folder: str, path: str, scratch: str) -> None:
    if not os.path.isdir(path):
        _add_folder(libc, path, scratch)
    _mount(libc, folder, path, _MS_BIND | _MS_REC)


def _add_folder(libc: ctypes.CDLL, path: str, scratch: str) -> None:
    """Bring `path` into being, where only this namespace sees it."""
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    parent = os.path.realpath(parent)
    os.makedirs(scratch)
    names = os.listdir(parent)
    if len(names) > ENTRIES_MAX:
        raise OSError(f"{parent} has more than {ENTRIES_MAX} entries")
    for name in names:
        _repeat(libc, os.path.join(parent, name), os.path.join(scratch, name))
    if parent == "/":
        os.chroot(scratch)
    else:
        _mount(libc, scratch, parent, _MS_BIND | _MS_REC)
    os.makedirs(path)


def _repeat(libc: ctypes.CDLL, source: str, target: str) -> None:
    mode = os.lstat(source).st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(source), target)
        return
    if stat.S_ISDIR(mode):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    _mount(libc, source, target, _MS_BIND | _MS_REC)


def _mount(libc: ctypes.CDLL, source: str, target: str, flags: int) -> None:
    if libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None) != 0:
        raise _error(f"mounting {source} at {target}")


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
