"""The folder of a worker, in the usual place for temporary files: it holds what children need and goes with the worker.

A worker that is killed leaves its folder behind. So each holds a lock on its own, which the kernel gives free with the
process, and every worker that starts removes the folders that nobody holds.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "wingbeat-worker-"


class Scratch:
    """A folder made for this process at `path`, below `parent` or in the usual place."""

    def __init__(self, parent: Path | None = None) -> None:
        made = None
        while made is None:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            made = _hold(self.path)
        self._lock = made

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def sweep(self) -> None:
        """Remove what killed workers of this user have left beside it."""
        with os.scandir(self.path.parent) as entries:
            names = [entry.name for entry in entries if _is_ours(entry)]
        for name in names:
            path = self.path.parent / name
            lock = _hold(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    try:
        is_folder = entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False)
        return is_folder and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    except OSError:  # it has just gone
        return False


def _hold(path: Path) -> int | None:
    """A descriptor that keeps others from the folder, None when one of them has it, or has removed it."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), os.stat(path)):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None
