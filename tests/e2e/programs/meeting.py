"""A task that ends once so many of its kind run at the same moment, so that room for all of them is proven."""

import time
from pathlib import Path

from flytekit import task, workflow

PATIENCE_S = 60.0


@task
def meet(folder: str, guest: int, guests: int) -> int:
    """Wait until as many attempts as there are guests have left a file; how many came."""
    (Path(folder) / str(guest)).touch()
    deadline = time.monotonic() + PATIENCE_S
    while len(list(Path(folder).iterdir())) < guests:
        if time.monotonic() > deadline:
            raise RuntimeError("somebody does not come")
        time.sleep(0.02)
    return len(list(Path(folder).iterdir()))


@workflow
def meeting_wf(folder: str, guest: int, guests: int) -> int:
    """One guest of so many."""
    return meet(folder=folder, guest=guest, guests=guests)
