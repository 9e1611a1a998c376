"""Tasks that go on where an earlier attempt of theirs has come to."""

import os
import signal
from pathlib import Path

from flytekit import current_context, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException

RETRIES = 3


@task(retries=RETRIES)
def count(to: int, marks: str) -> int:
    """Counts in steps, a step an attempt; leaves a line for each number it counts."""
    checkpoint = current_context().checkpoint
    saved = checkpoint.read()
    first = int(saved) if saved else 0
    step = -(-to // (RETRIES + 1))
    for number in range(first, to):
        if number == first + step:
            raise FlyteRecoverableException(f"tired after {number}")
        with Path(marks).open("a", encoding="utf-8") as file:
            file.write(f"{number}\n")
        checkpoint.write(f"{number + 1}".encode())
    return to


@task(retries=RETRIES)
def survive(marks: str) -> list[str]:
    """Fails before its first checkpoint, leaves a folder as one, is killed, and fails again before it finds it."""
    checkpoint = current_context().checkpoint
    with Path(marks).open("a", encoding="utf-8") as file:
        file.write("run\n")
    attempt = len(Path(marks).read_text(encoding="utf-8").splitlines()) - 1
    if attempt == 0:
        raise FlyteRecoverableException("nothing done yet")
    found = checkpoint.restore() if checkpoint.prev_exists() else None
    names = sorted(path.name for path in found.iterdir()) if found else []
    if attempt == 1:
        folder = Path(current_context().working_directory) / "saved"
        folder.mkdir()
        for name in ("a", "b"):
            (folder / name).write_text(name, encoding="utf-8")
        checkpoint.save(folder)
        os.kill(os.getpid(), signal.SIGKILL)
    if attempt == 2:
        raise FlyteRecoverableException("nothing new to save")
    return names


@workflow
def count_wf(to: int, marks: str) -> int:
    """A checkpoint of bytes."""
    return count(to=to, marks=marks)


@workflow
def survive_wf(marks: str) -> list[str]:
    """A checkpoint of files."""
    return survive(marks=marks)
