"""What the end of a process means for the retry rules."""

import signal

from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import (
    ABORTED,
    OUT_OF_MEMORY,
    SETUP_FAILED,
    STOPPED,
    TIMEOUT,
    VANISHED,
    Exit,
)

_KILLED_CODES = (137, 247)
"""Exit statuses that stand for SIGKILL when a shell or a runtime in between reports it."""
_ENDED_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)
_SYSTEM_REASONS = {
    ABORTED: ("Aborted", "The task was stopped on request"),
    STOPPED: ("Interrupted", "The task was stopped together with the installation"),
    VANISHED: ("Interrupted", "The process of the task vanished without a trace"),
    SETUP_FAILED: ("SetupFailed", "The process of the task could not be set up"),
}


def failure_of(end: Exit, stderr_tail: str) -> Failure | None:
    """The failure that an ended process stands for, None when it says that it did its work.

    An exit code is the user's, an end from outside is the system's. `stderr_tail` becomes part of the message.
    """
    reason, detail = end.reason, end.detail
    if reason == TIMEOUT:
        limit = f" [{detail}s]" if detail else ""
        return Failure(ErrorKind.USER, "TimeoutExpired", f"task execution timeout{limit} expired", retryable=True)
    if reason == OUT_OF_MEMORY:
        used, _, limit = detail.partition("/")
        message = f"The task was killed because it used {_mebibytes(used)} of memory; its limit is {_mebibytes(limit)}."
        return Failure(ErrorKind.USER, "OOMKilled", message, retryable=True)
    if reason:
        code_name, sentence = _SYSTEM_REASONS[reason]
        return Failure(ErrorKind.SYSTEM, code_name, f"{sentence}{f': {detail}' if detail else ''}.", retryable=True)
    if end.signal is not None:
        return _signalled(end.signal, stderr_tail)
    if end.code == 0:
        return None
    if end.code in _KILLED_CODES:
        return Failure(ErrorKind.SYSTEM, "Interrupted", f"The task was killed (exit code {end.code}).", retryable=True)
    message = _with_tail(f"The task ended with exit code {end.code}.", stderr_tail)
    return Failure(ErrorKind.USER, "Error", message, retryable=True)


def _signalled(number: int, stderr_tail: str) -> Failure:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number in _ENDED_FROM_OUTSIDE:
        return Failure(ErrorKind.SYSTEM, "Interrupted", f"The task was ended from outside by {name}.", retryable=True)
    return Failure(ErrorKind.USER, "Error", _with_tail(f"The task was ended by {name}.", stderr_tail), retryable=True)


def _with_tail(sentence: str, tail: str) -> str:
    return f"{sentence} It last wrote:\n{tail}" if tail else sentence


def _mebibytes(amount: str) -> str:
    return f"{int(amount) / (1 << 20):.0f} MiB"
