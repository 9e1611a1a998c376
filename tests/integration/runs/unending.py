"""What test_killed_runs.py has pytest run, and kills: it waits forever, with PostgreSQL and a process of its own."""

import os
import subprocess
import time
from pathlib import Path

from wingbeat_controlplane.supervisor.embedded_postgres import EmbeddedPostgres


def test_waits(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """Says what runs, and where temporary files are, when all of it runs."""
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}  # and no more, as tasks have it
    task = subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True)
    server = (postgres.folder / "postmaster.pid").read_text().split("\n")[0]
    said = Path(os.environ["WINGBEAT_TEST_SAID"])
    said.with_suffix(".part").write_text(f"{os.getpid()} {task.pid} {server} {os.environ['TMPDIR']}")
    said.with_suffix(".part").rename(said)
    time.sleep(600)
