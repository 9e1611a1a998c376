"""Tasks that fail in every way a task can."""

import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from flytekit import Resources, WorkflowFailurePolicy, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException


@task(retries=2)
def fail_recoverably(path: str) -> int:
    """Worth another attempt, each time."""
    _count(path)
    return _fail(FlyteRecoverableException("the moon is not in place"))


@task(retries=2)
def fail_for_good(path: str) -> int:
    """A mistake of the user."""
    _count(path)
    return _fail(ValueError("seven is not a colour"))


@task
def exit_at_once(path: str, code: int) -> int:
    """A program that leaves without a word."""
    _count(path)
    sys.stderr.write("last words on the error stream\n")
    sys.stderr.flush()
    return os._exit(code)


@task(limits=Resources(mem="400Mi"))
def eat_memory(path: str) -> int:
    """Grow past the limit."""
    _count(path)
    hoard = []
    while len(hoard) < 256:
        hoard.append(b"x" * (16 << 20))
        time.sleep(0.01)
    return len(hoard)


@task(timeout=timedelta(seconds=1))
def outlive_timeout(path: str) -> int:
    """Sleep for ten minutes."""
    _count(path)
    time.sleep(600)
    return 0


@task
def hold(path: str, child_path: str) -> int:
    """Start a child process, tell both pids, then sleep for ten minutes."""
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
    Path(child_path).write_text(str(child))
    partial = Path(path).with_suffix(".partial")
    partial.write_text(str(os.getpid()))
    partial.rename(path)
    time.sleep(600)
    return 0


@task
def finish_later(path: str, number: int) -> int:
    """Needs a moment, then leaves a line."""
    time.sleep(1.0)
    _count(path)
    return number


@task
def add(a: int, b: int) -> int:
    """Needs both."""
    return a + b


@workflow
def recoverable_wf(path: str) -> int:
    """One recoverable task."""
    return fail_recoverably(path=path)


@workflow
def permanent_wf(path: str) -> int:
    """One hopeless task."""
    return fail_for_good(path=path)


@workflow
def exit_wf(path: str, code: int) -> int:
    """One silent task."""
    return exit_at_once(path=path, code=code)


@workflow
def memory_wf(path: str) -> int:
    """One greedy task."""
    return eat_memory(path=path)


@workflow
def timeout_wf(path: str) -> int:
    """One slow task."""
    return outlive_timeout(path=path)


@workflow
def hold_wf(path: str, child_path: str) -> int:
    """One long task."""
    return hold(path=path, child_path=child_path)


@workflow(failure_policy=WorkflowFailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE)
def patient_wf(failing: str, path: str, path_after: str) -> int:
    """A failing task beside a chain of two, and one task that needs both."""
    broken = fail_for_good(path=failing)
    first = finish_later(path=path, number=1)
    second = finish_later(path=path_after, number=first)
    return add(a=broken, b=second)


@workflow
def hasty_wf(failing: str, path: str, path_after: str) -> int:
    """The same, failing at once."""
    broken = fail_for_good(path=failing)
    first = finish_later(path=path, number=1)
    second = finish_later(path=path_after, number=first)
    return add(a=broken, b=second)


def _fail(error: Exception) -> NoReturn:
    """flytekit wants a `return` in each task."""
    raise error


def _count(path: str) -> None:
    with open(path, "a") as file:
        file.write("run\n")
