"""The folders of a child: where its tasks work, and its scratch space, the same again for each task.

Looking into seven folders after each task costs more than a small task's values do. So a folder is not looked into
while its time of change is the one that it had when it was last found in order, provided that this was long enough
after the change: file systems keep times no finer than the kernel's tick, so a folder that was changed just now could
change again and show the same time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Set as AbstractSet

SANDBOX = "flyte"
"""In the scratch folder: what flytekit makes anew for each task."""
BASE = "base"
WORKSPACE = "workspace"
LAYOUT = {
    "": frozenset({SANDBOX, BASE, WORKSPACE}),
    SANDBOX: frozenset({"local_flytekit"}),
    f"{SANDBOX}/local_flytekit": frozenset({"engine_dir"}),
    f"{SANDBOX}/local_flytekit/engine_dir": frozenset[str](),
    f"{BASE}/local_flytekit": frozenset[str](),
    WORKSPACE: frozenset[str](),
}
"""What is in the folders below the scratch folder when no task runs."""
SETTLED_NS = 100_000_000
"""How old a time of change must be to tell of any later one."""


class Folders:
    """`work` is where tasks work, `scratch` what TMPDIR names; both exist."""

    def __init__(self, work: str, scratch: str) -> None:
        self._work = work
        self._kept = {os.path.join(scratch, *part.split("/")): kept for part, kept in LAYOUT.items()}
        self._code: set[str] = set()
        """What belongs into the working folder."""
        self._in_order: dict[str, int] = {}
        """Times of change of folders that need no look while they have them."""

    def clean_up(self, *, code_came: bool) -> str:
        """Make room for the next task; why there should be none, empty if nothing stands against it. What lies in the
        working folder stays when `code_came`."""
        reason = ""
        try:
            if os.getcwd() != self._work:
                os.chdir(self._work)
            if code_came:
                self._code = set(os.listdir(self._work))
            elif not self._is_in_order(self._work):
                missing = _keep_only(self._work, self._code)
                reason = "a task has removed code" if missing else ""
                self._looked_into(self._work, missing)
            for folder, kept in self._kept.items():
                if not self._is_in_order(folder):
                    self._looked_into(folder, _keep_only(folder, kept))
        except OSError as error:
            return reason or f"its folders are not as they were: {error}"
        return reason

    def _is_in_order(self, folder: str) -> bool:
        return self._in_order.get(folder) == os.stat(folder).st_mtime_ns

    def _looked_into(self, folder: str, missing: AbstractSet[str]) -> None:
        changed = os.stat(folder).st_mtime_ns
        if not missing and 0 <= changed < time.time_ns() - SETTLED_NS:
            self._in_order[folder] = changed
        else:
            self._in_order.pop(folder, None)


def make_layout(scratch: str) -> None:
    """Make what LAYOUT names."""
    for part in LAYOUT:
        os.makedirs(os.path.join(scratch, *part.split("/")), exist_ok=True)


def _keep_only(folder: str, kept: AbstractSet[str]) -> AbstractSet[str]:
    """Remove everything else; what is missing."""
    found = set(os.listdir(folder))
    for name in found - kept:
        _remove(os.path.join(folder, name))
    return kept - found


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
