"""A task that takes as long as somebody lets it."""

import os
import subprocess
import time
from pathlib import Path

from flytekit import current_context, task, workflow


@task
def wait_for(folder: str) -> str:
    """Says who runs, with a child in a session of its own making, and returns once the file `go` is there."""
    child = subprocess.Popen(["sleep", "600"])
    with Path(folder, "runs").open("a") as runs:
        runs.write(f"{os.getpid()} {child.pid}\n")
    while not Path(folder, "go").exists():
        time.sleep(0.05)
    child.kill()
    return str(current_context().execution_id.name)


@workflow
def drain_wf(folder: str) -> str:
    """One patient task."""
    return wait_for(folder=folder)
