"""The `wingbeat` command around a running installation."""

import shutil
import tempfile
from pathlib import Path

from tests.e2e.installation import Installation, until


def test_second_up_on_the_same_folder(installation: Installation) -> None:
    """It says that the folder is taken, by whom and what to do, and leaves the first alone."""
    pids = {role: installation.pid(role) for role in installation.roles}
    done = installation.wingbeat(
        "up", "--data-dir", str(installation.data_dir), "--grpc-port", "0", "--http-port", "0", "--detach", check=False
    )
    assert done.returncode != 0
    assert "already runs" in done.stdout + done.stderr
    assert "wingbeat down" in " ".join((done.stdout + done.stderr).split())
    assert {role: installation.pid(role) for role in installation.roles} == pids


def test_status_and_doctor(installation: Installation) -> None:
    """Both tell endpoints and roles of what runs."""
    status = installation.wingbeat("status", "--data-dir", str(installation.data_dir)).stdout
    assert installation.endpoint in status
    for role in installation.roles:
        assert role in status
    installation.wingbeat("doctor", "--data-dir", str(installation.data_dir))
    shown = installation.wingbeat("config", "show", "--data-dir", str(installation.data_dir)).stdout
    assert str(installation.data_dir) in "".join(shown.split())


def test_stop_and_start_again() -> None:
    """`down` leaves nothing running, a second `down` is no error to fear, and `up` finds everything again."""
    folder = Path(tempfile.mkdtemp(prefix="wb-restart-"))
    installation = Installation(folder)
    try:
        for _ in range(2):
            installation.up()
            assert installation.state["ready"]
            installation.down()
            until(lambda: not installation.leftovers(), timeout_s=60, what=f"an end of {installation.leftovers()}")
        for command in ("status", "down"):
            done = installation.wingbeat(command, "--data-dir", str(folder), check=False)
            assert "does not run" in done.stdout, done.stderr
    finally:
        shutil.rmtree(folder)
