"""What is kept on disk about an attempt, in its folder, so that its state survives every process but its own.

`pid` is the claim: a symbolic link whose target is text. Making a link is one atomic step that fails when the link
exists, so of two processes that want to run the same attempt one gives way, and a reader never sees half a claim.
`exit.json` tells how the attempt ended; it is renamed into place. An attempt with a claim, without an exit and without
a live process has vanished.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

CLAIM_FILE = "pid"
EXIT_FILE = "exit.json"

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
        os.symlink(text, os.path.join(folder, CLAIM_FILE))
    except FileExistsError:
        return False
    return True


def remove_claim(folder: str) -> None:
    """Take the claim back, before anything has run."""
    os.unlink(os.path.join(folder, CLAIM_FILE))


def read_claim(folder: str) -> Claim | None:
    """The claim on the attempt, None when nobody has started it."""
    try:
        text = os.readlink(os.path.join(folder, CLAIM_FILE))
    except OSError:
        return None
    pid, start, boot, host, deadline, memory = text.split(":")
    return Claim(
        int(pid), int(start), boot, host, float(deadline) if deadline else None, int(memory) if memory else None
    )


def write_exit(folder: str, end: Exit) -> None:
    """Record the end, replacing an earlier record."""
    path = os.path.join(folder, EXIT_FILE)
    draft = f"{path}.{os.getpid()}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, json.dumps(end._asdict()).encode())
    finally:
        os.close(handle)
    os.replace(draft, path)


def read_exit(folder: str) -> Exit | None:
    """The recorded end; None when there is none or when a crash of the machine left it unreadable."""
    try:
        handle = os.open(os.path.join(folder, EXIT_FILE), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return Exit(**json.loads(os.read(handle, 1 << 20)))
    except (ValueError, TypeError):
        return None
    finally:
        os.close(handle)
