"""What worker, zygote and children say to each other: pickled dictionaries, each behind its length.

A child's socket carries whole packets, most messages in one: so one that the child has not read can be taken back,
and it is certain whether it has. Both ends are processes of one worker, started by it, so pickle is safe here; it costs
a fifth of JSON, and carries bytes. Fields are only ever added, since interpreter and worker may run different versions
of Python.
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
PACKET_BYTES = 32 << 10
"""Size of a packet at most. A larger buffer to read into would be mapped by the kernel, and unmapped, for each message
of a few hundred bytes."""


class ForkRequest(TypedDict):
    """To the zygote, with the child's end of its socket: fork a child that lives in `folder`.

    The child itself is sent, before its first task, the environment that all its tasks have in common: that may be
    larger than a packet.
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
    cpu_s: float
    """Processor time of the task."""
    waits: int
    """How often the task has waited for something, as the kernel counts it."""
    recycle: str
    """Why the child runs no further task; empty: it does."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of what a worker and a child talk over."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def packets(message: object) -> list[bytes]:
    """A message behind its length, in pieces that are sent one by one."""
    data = pickle.dumps(message, PROTOCOL)
    data = HEAD.pack(len(data)) + data
    if len(data) <= PACKET_BYTES:
        return [data]
    return [data[at : at + PACKET_BYTES] for at in range(0, len(data), PACKET_BYTES)]


def send(sock: socket.socket, message: object) -> None:
    """Send it over a blocking socket."""
    for packet in packets(message):
        sock.send(packet)


def receive(sock: socket.socket) -> object | None:
    """The next message of a blocking socket, None at its end."""
    data = sock.recv(PACKET_BYTES)
    if not data:
        return None
    missing = HEAD.size + HEAD.unpack_from(data)[0] - len(data)
    if missing:
        parts = [data]
        while missing:
            data = sock.recv(PACKET_BYTES)
            if not data:
                return None
            parts.append(data)
            missing -= len(data)
        data = b"".join(parts)
    return cast("object", pickle.loads(memoryview(data)[HEAD.size :]))  # noqa: S301 - from our own worker


def rss_bytes() -> int:
    """Resident memory of this process; 0 where that cannot be read."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
