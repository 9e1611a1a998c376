"""Processes that outlive the memory of who started them: a pid with a token that a reused pid does not have.

The token joins the boot and the start time of the process, so a pid written to a file yesterday is recognised today,
or known to belong to another program now.
"""

import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One run of one process."""

    pid: int
    token: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """The process that has this pid now; None when there is none, or only a zombie."""
        token = _token(pid)
        return None if token is None else cls(pid, token)

    def is_alive(self) -> bool:
        """Whether this very run still goes on."""
        return _token(self.pid) == self.token

    def send(self, number: signal.Signals) -> None:
        """Signal the process unless it has ended."""
        if self.is_alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def wait(self, timeout_s: float) -> bool:
        """Block until the process, which need not be a child, ends; False when it still runs after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            while self.is_alive():
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                poller.poll(remaining * 1000)
            return True
        finally:
            os.close(descriptor)


def _token(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}:{start_ticks}"
