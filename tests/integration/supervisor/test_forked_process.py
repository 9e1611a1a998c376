"""A copy of a process that goes on as another program. Each test forks in a process of its own: pytest has threads."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity

PRELUDE = """
import asyncio, json, os, sys, time
from wingbeat_controlplane.supervisor.child import Child, ChildSpec
from wingbeat_controlplane.supervisor.readiness import notify_ready

def fork(main, **spec):
    return Child.fork(ChildSpec(**{"name": "copy", "argv": [], "environment": {"ONLY": "this"}, **spec}), main)

def ending_of(child, lines=None):
    return asyncio.run(child.wait((lines if lines is not None else []).append))
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the code in a process with one thread."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_copy_has_surroundings_of_its_own(tmp_path: Path) -> None:
    """Environment, session, title and output are the copy's, and of our descriptors it has none."""
    code = """
lock = os.open("/proc/self/stat", os.O_RDONLY)
print("said before", end="")  # still in the buffer: must not be said twice

def main():
    notify_ready()
    about = {
        "environment": dict(os.environ),
        "leader": os.getsid(0) == os.getpid(),
        "parent": os.getppid(),
        "title": open("/proc/self/cmdline").read().rstrip(chr(0)),
        "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1],
        "input": os.readlink("/proc/self/fd/0"),
    }
    print(json.dumps(about), flush=True)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    return 7

async def live(child, lines):
    ending = asyncio.create_task(child.wait(lines.append))
    await child.is_ready.wait()
    open(sys.argv[1], "w").close()
    return await ending

lines = []
child = fork(main, title="a title")
ending = asyncio.run(live(child, lines))
print("\\n" + json.dumps([os.getpid(), ending.status, list(ending.last_lines), lines]))
os.close(lock)
"""
    done = run(code, str(tmp_path / "seen"))
    said, result = done.stdout.splitlines()
    pid, status, last_lines, lines = json.loads(result)
    about = json.loads(lines[0])

    assert said == "said before"
    assert status == 7
    assert lines == last_lines
    assert about == {
        "environment": {"ONLY": "this"},
        "leader": True,
        "parent": pid,
        "title": "a title",
        "descriptors": [0, 1, 2],
        "input": "/dev/null",
    }


@pytest.mark.parametrize(
    ("main", "status", "said"),
    [
        ("lambda: 3", 3, ""),
        ("lambda: sys.exit(4)", 4, ""),
        ("lambda: sys.exit()", 0, ""),
        ("lambda: sys.exit('a reason')", 1, "a reason"),
        ("lambda: 1 // 0", 1, "ZeroDivisionError"),
        ("lambda: os.kill(os.getpid(), 9)", -9, ""),
    ],
)
def test_the_end_of_a_copy_is_told_like_that_of_a_program(main: str, status: int, said: str) -> None:
    """Result, exit, exception and signal become the exit status; a traceback stands in the last lines."""
    done = run(f"""
ending = ending_of(fork({main}))
print(json.dumps([ending.status, "".join(ending.last_lines)]))
""")
    found, last = json.loads(done.stdout)

    assert found == status
    assert said in last


def test_nothing_of_ours_runs_in_a_copy_that_has_ended() -> None:
    """Neither what stands on our stack nor what waits for our exit."""
    done = run("""
import atexit
atexit.register(lambda: os.write(2, b"left"))
try:
    child = fork(lambda: 1 // 0)
finally:
    os.write(2, b"unwound")
ending_of(child)
""")
    assert done.stderr == "unwoundleft"


def test_a_copy_is_signalled_and_collected() -> None:
    """It takes signals while it lives and none afterwards, and no zombie stays."""
    done = run("""
import signal
child = fork(lambda: time.sleep(600))
child.send(signal.SIGTERM)
ending = ending_of(child)
child.send(signal.SIGKILL)
print(str(ending), os.path.exists(f"/proc/{child.pid}"))
""")
    assert done.stdout.split() == ["signal", "SIGTERM", "False"]


def test_a_copy_dies_with_its_parent() -> None:
    """kill -9 of the parent is the end of the copy."""
    with subprocess.Popen(
        [sys.executable, "-c", f"{PRELUDE}\nprint(fork(lambda: time.sleep(600)).pid, flush=True)\ntime.sleep(600)"],
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        copy = ProcessIdentity.of(int(parent.stdout.readline()))
        assert copy is not None

        os.kill(parent.pid, signal.SIGKILL)

        assert copy.wait(30)


def test_a_process_with_threads_is_not_to_be_copied() -> None:
    """A fork takes one thread along, so `can_fork` says no when there are more."""
    done = run("""
import threading
from wingbeat_controlplane.supervisor.forked_process import can_fork
alone = can_fork()
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print(alone, can_fork())
""")
    assert done.stdout.split() == ["True", "False"]


def test_what_the_roles_share_has_no_threads_and_no_metrics() -> None:
    """The code that is loaded before the fork leaves a process that can be copied, and figures that are no role's."""
    done = run("""
import importlib
from wingbeat_controlplane.supervisor.forked_process import can_fork
from wingbeat_controlplane.supervisor.head_start import SHARED_CODE
for name in SHARED_CODE:
    importlib.import_module(name)
from prometheus_client import REGISTRY
print(can_fork(), [metric.name for metric in REGISTRY.collect() if metric.name.startswith("wingbeat")])
""")
    assert done.stdout.strip() == "True []"
