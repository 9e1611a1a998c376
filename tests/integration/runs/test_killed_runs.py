"""A run of the tests that is killed leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
from tests.e2e.installation import until

ROOT = Path(__file__).parents[3]


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_nothing_is_left(tmp_path: Path) -> None:
    """Neither PostgreSQL nor a worker, nor a process in a session of its own, nor the folder for temporary files."""
    said, program = tmp_path / "said", Path(__file__).with_name("unending.py")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "1", program],
            env={**inherited, "WINGBEAT_TEST_SAID": str(said), "PYTEST_DEBUG_TEMPROOT": str(tmp_path)},
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    try:
        until(lambda: said.exists() or run.poll() is not None, timeout_s=120, what="a beginning")
        assert run.poll() is None, (tmp_path / "log").read_text()
        *pids, folder = said.read_text().split()
        assert all(_is_alive(int(pid)) for pid in pids)
        assert Path(folder).exists()
    finally:
        run.terminate()
        run.wait()
    until(lambda: not any(_is_alive(int(pid)) for pid in pids), timeout_s=120, what=f"the end of {pids}")
    until(lambda: not Path(folder).exists(), what=f"the end of {folder}")
