"""Making a task host: detach from whoever started it, take the lock, listen, serve.

A host must outlive the engine that starts it, so the started process forks and ends as soon as its child listens. The
lock on the host's folder tells a live host from a stale socket; it belongs to the process alone and not to the tasks
that are forked from it, so it is free the moment the host is gone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket

from .host import Host
from .messages import HostConfig
from .processes import adopt_orphans

SOCKET_FILE = "socket"
SCRATCH_FOLDER = "tmp"
"""TMPDIR of the host itself; flytekit makes folders there at its import."""
_LOCK_FILE = "lock"
_CONNECTIONS_WAITING_MAX = 128
_OOM_SCORE = "500"


def start(config: HostConfig) -> int:
    """Start the host in a process of its own. Returns once it listens, or once another one is known to: exit status."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        os.close(read_end)
        _serve(config, write_end)
        os._exit(0)
    os.close(write_end)
    return 0 if os.read(read_end, 1) else 1


def _serve(config: HostConfig, ready: int) -> None:
    folder = os.path.join(config["state_dir"], "hosts", config["key"])
    os.chdir(folder)  # a relative address fits however long the path of the folder is
    lock = os.open(_LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.write(ready, b"1")
        return
    if os.path.lexists(SOCKET_FILE):
        os.unlink(SOCKET_FILE)
    shutil.rmtree(SCRATCH_FOLDER, ignore_errors=True)  # of a host that was killed
    os.mkdir(SCRATCH_FOLDER, 0o700)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET_FILE)
    listener.listen(_CONNECTIONS_WAITING_MAX)
    listener.setblocking(False)
    _prefer_for_oom_kill()
    adopt_orphans()
    os.write(ready, b"1")
    os.close(ready)
    Host(config, listener).run()
    # No new engine can reach this host from here on, and those that find no socket start another one.
    os.unlink(SOCKET_FILE)
    shutil.rmtree(SCRATCH_FOLDER, ignore_errors=True)


def _prefer_for_oom_kill() -> None:
    """When the machine runs out of memory the kernel shall take a task rather than the database."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(_OOM_SCORE)
    except OSError:
        pass  # not Linux, or not allowed: the kernel chooses as it likes
