"""Tasks that behave well, and tasks that do not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from flytekit import FlyteContextManager, current_context, task

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
def leak_a_process() -> int:
    """Leaves a process behind; which."""
    subprocess.run(["true"], check=True)
    return subprocess.Popen(["sleep", "600"]).pid


@task
def disturb() -> str:
    """Changes what the kernel keeps for its process; says how it found that, and where it runs."""
    umask = os.umask(0o077)
    found = [signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, signal.alarm(600), umask, os.getpid()]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return json.dumps(found)


@task
def end_with_the_report(path: str) -> str:
    """Waits until there is such a file; leaves a thread, so that its process ends as soon as it has reported."""
    print(os.getpid(), flush=True)
    while not Path(path).exists():
        time.sleep(0.01)
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return "x" * 60_000


@task
def speak(number: int) -> int:
    """Writes its number to one of both streams."""
    print(number, file=(sys.stdout, sys.stderr)[number % 2])
    return number


@task
def crash_quickly(number: int) -> int:
    """Says which it is, and ends its process."""
    os.write(2, f"crash {number}\n".encode())
    os._exit(3)


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


@task
def describe() -> str:
    """What it finds around it, but for where its scratch space lies."""
    context = FlyteContextManager.current_context()
    own = current_context()
    access = context.file_access
    scratch = os.environ["TMPDIR"]
    found = {
        "execution": str(own.execution_id),
        "task": str(own.task_id),
        "prefix": own.raw_output_prefix,
        "metadata prefix": own.output_metadata_prefix,
        "checkpoint": [own.checkpoint._checkpoint_dest, own.checkpoint._checkpoint_src],
        "has checkpoint": own.checkpoint.prev_exists(),
        "decks": [own.decks, own.enable_deck],
        "working directory": own.working_directory.startswith(scratch) and Path(own.working_directory).is_dir(),
        "mode": str(context.execution_state.mode),
        "folders": [
            str(folder).startswith(scratch) and Path(folder).is_dir()
            for folder in (context.execution_state.working_dir, context.execution_state.engine_dir)
        ],
        "settings": repr(context.serialization_settings),
        "access": [
            access.raw_output_prefix,
            repr(access.data_config),
            repr(access._execution_metadata),
            repr(access._default_protocol),
            type(access.raw_output_fs).__name__,
            type(access.local_access).__name__,
            str(access.local_sandbox_dir).startswith(scratch) and Path(access.local_sandbox_dir).is_dir(),
        ],
        "raw": access.join(access.raw_output_prefix, access.get_random_string())[: len(access.raw_output_prefix)],
        "time line": [sorted(entry) for entry in own.timeline_deck.time_info][:1],
        "level": context.level,
        "environment": sorted(name for name in os.environ if name.startswith("FLYTE")),
        "arguments": sys.argv[1:],
        "files": os.listdir(),
    }
    stats = own.stats
    stats.incr("something")
    found["stats"] = [type(stats).__name__, stats.full_prefix, repr(stats._tags)]
    stats.clear_tags()
    found["stats"].append(repr(stats._tags))
    # Inputs come with the task in a worker, and are fetched by a process.
    times = [entry["Name"] for entry in own.timeline_deck.time_info]
    found["time line after"] = [name for name in times if not name.startswith("Download data")]
    return json.dumps(found)


@task
def boast() -> int:
    """Makes a file of a tebibyte of its output, which takes no room on the disk."""
    os.ftruncate(1, 1 << 40)
    return 0
