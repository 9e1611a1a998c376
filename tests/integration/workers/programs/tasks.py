"""Tasks that behave well, and tasks that do not."""

import os
import sys
import threading
import time
from pathlib import Path

from flytekit import current_context, task

_KEPT: list[bytes] = []
LOADED_BY = os.getpid()


@task
def increment(value: int) -> int:
    """The next number."""
    return value + 1


@task
def process() -> int:
    """In which process it runs."""
    return LOADED_BY


@task
def identity() -> str:
    """What it is told of itself."""
    context = current_context()
    return f"{context.execution_id.name} {os.environ['FLYTE_INTERNAL_EXECUTION_ID']} {context.task_id.version}"


@task
def talk() -> int:
    """Writes to both streams."""
    print("to the output")
    print("to the error output", file=sys.stderr)
    return 0


@task
def chatter(size: int) -> int:
    """Writes very much."""
    for _ in range(size >> 20):
        sys.stdout.write("x" * (1 << 20))
    return size


@task
def linger() -> int:
    """Says that it runs, and goes on until it is stopped."""
    print("lingering", flush=True)
    time.sleep(600)
    return 0


@task
def wait_for(path: str) -> int:
    """Goes on until there is such a file."""
    print("waiting", flush=True)
    while not Path(path).exists():
        time.sleep(0.01)
    return os.getpid()


@task
def leak_a_thread() -> int:
    """Leaves a thread behind."""
    threading.Thread(target=time.sleep, args=(600,), daemon=True, name="forgotten").start()
    return os.getpid()


@task
def grow() -> int:
    """Keeps memory."""
    _KEPT.append(os.urandom(1) * (8 << 20))
    return os.getpid()


@task
def crash() -> int:
    """Ends its process."""
    os.kill(os.getpid(), 11)
    return 0


@task
def swallow() -> int:
    """Wants far too much memory."""
    _KEPT.append(b"x" * (400 << 20))
    time.sleep(600)
    return 0


@task
def leave_files() -> str:
    """Leaves a file where it works and one in the scratch space; says what it found."""
    found = sorted([*os.listdir("."), *(name for name in os.listdir(os.environ["TMPDIR"]) if name == "left")])
    Path("left").write_text("x")
    Path(os.environ["TMPDIR"], "left").write_text("x")
    return ",".join(found)


@task
def refuse() -> int:
    """Fails for good."""
    raise ValueError("not with me")
