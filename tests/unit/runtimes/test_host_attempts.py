"""The attempts that a task host watches."""

import subprocess
from pathlib import Path

from wingbeat_propeller.runtimes.local.wingbeat_task_host.attempts import Attempts
from wingbeat_propeller.runtimes.local.wingbeat_task_host.loop import Loop
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import VANISHED, Claim, Exit


def test_an_orphan_that_ended_as_it_was_found(tmp_path: Path) -> None:
    """It is there for whoever has added it, and its end is told in the next turn."""
    ended: dict[str, Exit] = {}
    loop = Loop()
    attempts = Attempts(loop, ended.__setitem__, kill_grace_s=1.0, memory_poll_s=1.0)
    with subprocess.Popen(["true"]) as process:
        pid = process.pid
    attempts.add_orphan("a", str(tmp_path / "tasks/a"), Claim(pid, 1, "", "plain", None, None))
    assert attempts.started_at("a")
    assert not ended
    loop.turn(wait=False)
    assert ended["a"].reason == VANISHED
    assert "a" not in attempts
