"""What is kept on disk about an attempt, so that its state survives every process but its own.

`claims/<attempt>` is the claim: a symbolic link whose target is text. Making a link is one atomic step that fails when
the link exists, so of two processes that want to run the same attempt one gives way, and a reader never sees half a
claim. Claims share one folder, apart from the logs that stay, so that listing them costs what is under way and no more.
`exit.json` in the attempt's own folder tells how it ended; it is renamed into place. An attempt with a claim, without
an exit and without a live process has vanished.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import traceback
from typing import NamedTuple

CLAIMS_FOLDER = "claims"
TASKS_FOLDER = "tasks"
EXIT_FILE = "exit.json"
TASK_SUBFOLDERS = ("work", "tmp", "home")
"""Folders of an attempt that are made for it: working folder, TMPDIR, HOME."""
FILES_FOLDER = "files"
"""Folder of an attempt that a raw container's copilot makes for inputs and outputs."""

TIMEOUT = "timeout"
"""Killed at its deadline; detail is the timeout in seconds where known."""
OUT_OF_MEMORY = "oom"
"""Killed for its memory; detail is `<used>/<limit>` in bytes."""
ABORTED = "aborted"
STOPPED = "stopped"
VANISHED = "vanished"
SETUP_FAILED = "setup"


class Claim(NamedTuple):
    """Who runs the attempt. `start` (clock ticks since boot) tells the process from a later one with the same pid."""

    pid: int
    start: int
    boot: str
    host: str
    """Key of the task host that started it."""
    deadline: float | None
    """Seconds since the epoch."""
    memory_limit_bytes: int | None
    origin: str = ""
    """What the engine said about where the attempt belongs; only engines read it."""


class Exit(NamedTuple):
    """How an attempt ended: by exit code, or by a signal; `reason` is one of the constants above or empty."""

    code: int | None
    signal: int | None
    reason: str
    detail: str
    at: float


def write_claim(folder: str, claim: Claim) -> bool:
    """Claim the attempt; False when somebody else has."""
    text = ":".join("" if field is None else str(field) for field in claim)
    try:
        os.symlink(text, _claim_path(folder))
    except FileExistsError:
        return False
    return True


def remove_claim(folder: str) -> None:
    """Take the claim back, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_claim_path(folder))


def read_claim(folder: str) -> Claim | None:
    """The claim on the attempt, None when nobody has started it."""
    try:
        text = os.readlink(_claim_path(folder))
    except OSError:
        return None
    pid, start, boot, host, deadline, memory, origin = text.split(":", 6)
    return Claim(
        int(pid), int(start), boot, host, float(deadline) if deadline else None, int(memory) if memory else None, origin
    )


def claimed_names(state_dir: str) -> list[str]:
    """Names of all attempts with a claim, running or ended."""
    try:
        return os.listdir(os.path.join(state_dir, CLAIMS_FOLDER))
    except FileNotFoundError:
        return []


def remove_record(folder: str) -> None:
    """Take away everything that says the attempt was started, and its working folders; logs stay.

    The claim goes last: a crash in between leaves an attempt that can still be found and removed.
    """
    for part in (*TASK_SUBFOLDERS, FILES_FOLDER):
        shutil.rmtree(os.path.join(folder, part), ignore_errors=True)
    path = os.path.join(folder, EXIT_FILE)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError:  # a task has made something else of it
        shutil.rmtree(path, ignore_errors=True)
    remove_claim(folder)


def _claim_path(folder: str) -> str:
    tasks, name = os.path.split(folder)
    return os.path.join(os.path.dirname(tasks), CLAIMS_FOLDER, name)


def write_exit(folder: str, end: Exit) -> bool:
    """Record the end, replacing an earlier record and whatever the task has made of its folder.

    Whether that was possible: it is not when the disk is full, and then the end is known to those who are told of it.
    """
    path = os.path.join(folder, EXIT_FILE)
    draft = f"{path}.{os.getpid()}"
    try:
        os.makedirs(folder, exist_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(handle, json.dumps(end._asdict()).encode())
        finally:
            os.close(handle)
        try:
            os.replace(draft, path)
        except IsADirectoryError:
            shutil.rmtree(path)
            os.replace(draft, path)
    except OSError:
        traceback.print_exc()
        return False
    return True


def read_exit(folder: str) -> Exit | None:
    """The recorded end; None when there is none or when it is unreadable, by a crash of the machine or the task."""
    try:
        handle = os.open(os.path.join(folder, EXIT_FILE), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return Exit(**json.loads(os.read(handle, 1 << 20)))
    except (OSError, ValueError, TypeError):
        return None
    finally:
        os.close(handle)
