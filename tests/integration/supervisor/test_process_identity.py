"""A recorded process is recognised, its successors and its ashes are not."""

import os
import signal
import subprocess
import sys

from wingbeat_controlplane.supervisor.process_identity import ProcessIdentity


def test_our_own_process_is_alive() -> None:
    """A process is the one that was recorded as long as it lives."""
    own = ProcessIdentity.of(os.getpid())

    assert own is not None
    assert own.is_alive()


def test_a_reused_pid_is_another_process() -> None:
    """Same pid, other start: not the one that was recorded, and it gets no signal."""
    stranger = ProcessIdentity(os.getpid(), "another-boot:1")

    assert not stranger.is_alive()
    stranger.send(signal.SIGKILL)
    assert stranger.wait(0)


def test_an_ended_process_is_not_alive_even_as_a_zombie() -> None:
    """A process that was signalled ends, and `wait` sees it although nobody has collected it yet."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    recorded = ProcessIdentity.of(child.pid)
    assert recorded is not None
    assert not recorded.wait(0)

    recorded.send(signal.SIGKILL)

    assert recorded.wait(30)
    assert not recorded.is_alive()
    child.wait()
    assert ProcessIdentity.of(child.pid) is None
