"""Where the local runtime keeps things below its state folder; pure path rules that every process may use.

claims/<attempt>    who runs it; see wingbeat_task_host.record
places/<number>     which attempt takes this place; see places
tasks/<attempt>/    exit.json, stdout.log, stderr.log, work/, tmp/, home/
hosts/<key>/        socket, lock, interpreter, host.log, tmp/
"""

import re
from pathlib import Path
from typing import Literal

from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import TASKS_FOLDER

LogStream = Literal["stdout", "stderr"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class BadAttemptNameError(ValueError):
    """The text cannot be the name of an attempt; used as a folder name it might lead elsewhere."""


def task_folder(state_dir: Path, name: str) -> Path:
    """Folder of one attempt. Raises BadAttemptNameError."""
    if not _NAME.fullmatch(name):
        raise BadAttemptNameError(f"{name!r} is no name of an attempt: letters, digits, dots and dashes, at most 128")
    return state_dir / TASKS_FOLDER / name


def log_file(state_dir: Path, name: str, stream: LogStream) -> Path:
    """File with what the attempt wrote to one of its streams; may not exist (yet). Raises BadAttemptNameError."""
    return task_folder(state_dir, name) / f"{stream}.log"


def host_folder(state_dir: Path, key: str) -> Path:
    """Folder of one task host."""
    return state_dir / "hosts" / key
