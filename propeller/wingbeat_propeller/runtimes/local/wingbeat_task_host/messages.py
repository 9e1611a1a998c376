"""What engine and task host say to each other over the unix socket: one JSON object a line, in both directions.

The engine sends `launch`, `adopt`, `abort`, `stop`. The host answers with `started`, `ended` and `aborted` events to
those connections that named the attempt. Every request may be repeated: an attempt runs at most once, and its state is
told again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from .record import Exit

MESSAGE_BYTES_MAX = 64 << 20
"""Longest line either side takes, and the most a host keeps for an engine that does not read."""


class HostConfig(TypedDict):
    """First argument of the host program, as JSON."""

    state_dir: str
    key: str
    """Name of the host's folder below `hosts`; one host a key."""
    preload: bool
    """Import flytekit before the first task."""
    kill_grace_s: float
    idle_grace_s: float
    memory_poll_s: float


class TaskSpec(TypedDict):
    """One attempt to run. `env` is the whole environment; nothing else is inherited."""

    name: str
    program: str
    """Absolute path of what to execute."""
    argv: list[str]
    env: dict[str, str]
    entry: str
    """Name of a flytekit program to run inside a fork of the host; empty: execute `program`."""
    memory_limit_bytes: int | None
    cpu_limit: float | None
    timeout_s: float | None
    stdin: str
    """What `program` reads from its standard input."""
    origin: str
    """Kept with the claim; see record.Claim."""


class Request(TypedDict):
    """Engine to host. `tasks` belongs to launch, `names` to adopt and abort."""

    op: str
    tasks: list[TaskSpec]
    names: list[str]


class Event(TypedDict):
    """Host to engine. The fields after `at` belong to `ended`; see record.Exit."""

    event: str
    name: str
    at: float
    code: int | None
    signal: int | None
    reason: str
    detail: str


def request(operation: str, *, tasks: Sequence[TaskSpec] = (), names: Iterable[str] = ()) -> Request:
    """A request of one of the kinds above."""
    return {"op": operation, "tasks": list(tasks), "names": list(names)}


def event(kind: str, name: str, end: Exit) -> Event:
    """An event of one of the kinds above; `started` and `aborted` use nothing of `end` but its time."""
    return {
        "event": kind,
        "name": name,
        "at": end.at,
        "code": end.code,
        "signal": end.signal,
        "reason": end.reason,
        "detail": end.detail,
    }
