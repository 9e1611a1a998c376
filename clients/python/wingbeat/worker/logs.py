"""Reading what children write to the files behind their standard streams.

A task may have made something else of them: what cannot be read is taken for empty, and a pipe is not waited for.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 256 << 10
TAIL_BYTES = 4096
TAIL_LINES = 20
_READ_MAX = 4 << 20
"""Read of one stream at a time, unless the task has ended."""


def cut(path: Path) -> None:
    """Make the file empty."""
    try:
        os.truncate(path, 0)
    except OSError:
        return


def read_new(
    path: Path, read: dict[str, int], stream: str, *, whole: bool, until: int | None = None
) -> Iterator[bytes]:
    """What follows the first `read[stream]` bytes, in chunks, up to `until`; `read` is brought up to date."""
    try:
        with _open(path) as file:
            size = os.fstat(file.fileno()).st_size
            if until is not None:
                size = min(size, until)
            at = read[stream] = min(read[stream], size)
            if size == at:
                return
            file.seek(at)
            left = size - at if whole else min(size - at, _READ_MAX)
            while left > 0:
                content = file.read(min(left, CHUNK_BYTES))
                if not content:
                    return
                left -= len(content)
                read[stream] += len(content)
                yield content
    except OSError:
        return


def tail(path: Path, since: int, until: int | None = None) -> str:
    """The last lines of a part of a file, by default to its end; empty when there is none."""
    try:
        with _open(path) as file:
            end = os.fstat(file.fileno()).st_size if until is None else until
            since = max(since, end - TAIL_BYTES)
            file.seek(since)
            text = file.read(max(0, end - since)).decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-TAIL_LINES:])


def _open(path: Path) -> BinaryIO:
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
