"""What the end of a process means."""

import pytest

from wingbeat_propeller.core.outcome import ErrorKind
from wingbeat_propeller.runtimes.local.exits import failure_of
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import Exit


def test_zero_is_no_failure() -> None:
    """A program that exits with 0 did its work, whatever it wrote."""
    assert failure_of(Exit(0, None, "", "", 0.0), "noise") is None


@pytest.mark.parametrize(
    ("end", "kind", "code", "part"),
    [
        (Exit(1, None, "", "", 0.0), ErrorKind.USER, "Error", "exit code 1. It last wrote:\ntail"),
        (Exit(143, None, "", "", 0.0), ErrorKind.USER, "Error", "exit code 143"),
        (Exit(137, None, "", "", 0.0), ErrorKind.SYSTEM, "Interrupted", "exit code 137"),
        (Exit(247, None, "", "", 0.0), ErrorKind.SYSTEM, "Interrupted", "exit code 247"),
        (Exit(None, 9, "", "", 0.0), ErrorKind.SYSTEM, "Interrupted", "SIGKILL"),
        (Exit(None, 15, "", "", 0.0), ErrorKind.SYSTEM, "Interrupted", "SIGTERM"),
        (Exit(None, 11, "", "", 0.0), ErrorKind.USER, "Error", "SIGSEGV"),
        (Exit(None, 63, "", "", 0.0), ErrorKind.USER, "Error", "signal 63"),
        (Exit(None, 15, "timeout", "30", 0.0), ErrorKind.USER, "TimeoutExpired", "[30s]"),
        (Exit(0, None, "timeout", "", 0.0), ErrorKind.USER, "TimeoutExpired", "expired"),
        (Exit(None, 9, "oom", f"{200 << 20}/{100 << 20}", 0.0), ErrorKind.USER, "OOMKilled", "200 MiB of memory"),
        (Exit(None, None, "vanished", "", 0.0), ErrorKind.SYSTEM, "Interrupted", "vanished"),
        (Exit(None, 9, "stopped", "", 0.0), ErrorKind.SYSTEM, "Interrupted", "installation"),
        (Exit(None, 9, "aborted", "", 0.0), ErrorKind.SYSTEM, "Aborted", "on request"),
        (Exit(None, None, "setup", "disk full", 0.0), ErrorKind.SYSTEM, "SetupFailed", "disk full"),
    ],
)
def test_every_end_has_an_owner(end: Exit, kind: ErrorKind, code: str, part: str) -> None:
    """Exit codes and limits are the user's, ends from outside the system's; all may be retried."""
    failure = failure_of(end, "tail")
    assert failure is not None
    assert (failure.kind, failure.code, failure.retryable) == (kind, code, True)
    assert part in failure.message
