"""What worker, zygote and children say to each other: pickled dictionaries, each behind its length.

Both ends are processes of one worker, started by it, so pickle is safe here; it costs a fifth of JSON, and carries
bytes. Fields are only ever added, since interpreter and worker may be of different versions of Python.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
from typing import TypedDict, cast

HEAD = struct.Struct("<I")
"""Length of the message that follows."""
PROTOCOL = 4


class ForkRequest(TypedDict):
    """To the zygote, with the child's end of its socket: fork a child that lives in `folder`.

    The child itself is sent, before its first task, the environment that all its tasks have in common: that may be
    larger than a socket of whole messages takes.
    """

    number: int
    folder: str


class ZygoteReport(TypedDict):
    """From the zygote. `what` is `ready`, `failed` (it cannot load flytekit), `forked` or `ended`."""

    what: str
    number: int
    pid: int
    status: int
    """As os.waitpid gives it."""
    text: str


class Task(TypedDict):
    """To a child: run this."""

    argv: list[str]
    env: dict[str, str]
    """Its environment beside what all tasks of the child have in common."""
    inputs: bytes | None
    """Content of inputs.pb; None: it lies where the command line says."""
    cpus: tuple[int, ...]
    """Processors to keep to; empty: all."""


class Report(TypedDict):
    """From a child: the task has ended. One of `outputs`, `error` and `files` is set when `code` is 0."""

    started_at: float
    ended_at: float
    code: int
    outputs: bytes | None
    error: bytes | None
    files: bool
    stdout_bytes: int
    """Sizes of the files that the streams go to, as they are now."""
    stderr_bytes: int
    rss_bytes: int
    recycle: str
    """Why the child should run no further task; empty: it may."""


def pack(message: object) -> bytes:
    """A message with its length."""
    data = pickle.dumps(message, PROTOCOL)
    return HEAD.pack(len(data)) + data


def receive(sock: socket.socket) -> object | None:
    """The next message of a blocking stream, None at its end."""
    head = _read(sock, HEAD.size)
    if head is None:
        return None
    body = _read(sock, HEAD.unpack(head)[0])
    return None if body is None else cast("object", pickle.loads(body))  # noqa: S301 - from our own worker


def _read(sock: socket.socket, size: int) -> bytes | None:
    data = sock.recv(size)
    if len(data) == size:
        return data
    parts = [data]
    missing = size - len(data)
    while missing and data:
        data = sock.recv(min(missing, 1 << 20))
        parts.append(data)
        missing -= len(data)
    return None if missing else b"".join(parts)


def rss_bytes() -> int:
    """Resident memory of this process; 0 where that cannot be read."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
