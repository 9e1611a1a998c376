"""A wide fan-out whose tasks leave marks in a folder: one line when they begin, one when they end."""

import os
import time
from pathlib import Path

from flytekit import task, workflow

WIDTH = 50


@task
def mark(index: int, folder: str, seconds: float) -> int:
    """Append `start` and `end` to a file of its own, some time apart."""
    _append(folder, index, "start")
    time.sleep(seconds)
    _append(folder, index, "end")
    return index * index


@task
def total(squares: list[int], folder: str) -> int:
    """Join all of them."""
    _append(folder, WIDTH, "start")
    _append(folder, WIDTH, "end")
    return sum(squares)


@workflow
def fanout_wf(folder: str, seconds: float = 0.0) -> int:
    """Fifty tasks side by side, then one."""
    return total(squares=[mark(index=index, folder=folder, seconds=seconds) for index in range(WIDTH)], folder=folder)


def _append(folder: str, index: int, what: str) -> None:
    """One write of a short line to a file opened for appending: lines of several processes never mix."""
    descriptor = os.open(Path(folder) / f"{index:02}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, f"{what} {os.getpid()} attempt {os.environ.get('FLYTE_ATTEMPT_NUMBER', '?')}\n".encode())
    finally:
        os.close(descriptor)
