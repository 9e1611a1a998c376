"""Retry budgets: user and system failures are counted apart."""

import pytest

from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.retry import GiveUp, Retry, decide_retry


def _failure(kind: ErrorKind, *, retryable: bool = True) -> Failure:
    return Failure(kind, "Boom", "it broke", retryable=retryable)


@pytest.mark.parametrize(
    ("kind", "attempt", "system_failures", "attempts_max", "again"),
    [
        (ErrorKind.USER, 0, 0, 1, False),
        (ErrorKind.USER, 0, 0, 3, True),
        (ErrorKind.USER, 2, 0, 3, False),
        (ErrorKind.USER, 4, 2, 3, False),
        (ErrorKind.USER, 3, 2, 3, True),
        (ErrorKind.UNKNOWN, 0, 0, 2, True),
        (ErrorKind.SYSTEM, 0, 1, 1, True),
        (ErrorKind.SYSTEM, 2, 3, 1, True),
        (ErrorKind.SYSTEM, 3, 4, 1, False),
    ],
)
def test_budgets(kind: ErrorKind, attempt: int, system_failures: int, attempts_max: int, *, again: bool) -> None:
    """Each kind uses its own budget."""
    decision = decide_retry(
        _failure(kind),
        attempt=attempt,
        system_failures=system_failures,
        attempts_max=attempts_max,
        system_retries_max=3,
    )
    assert isinstance(decision, Retry) is again


def test_exhausted_error_tells_the_last_one() -> None:
    """The final error has kind USER, names the last code and counts the attempts."""
    decision = decide_retry(
        _failure(ErrorKind.SYSTEM), attempt=3, system_failures=4, attempts_max=1, system_retries_max=3
    )
    assert decision == GiveUp(
        Failure(ErrorKind.USER, "RetriesExhausted|Boom", "[4/4] currentAttempt done. Last Error: SYSTEM::it broke")
    )


def test_permanent_failures_are_never_retried() -> None:
    """No budget helps an error that is not retryable; it is reported as it is."""
    failure = _failure(ErrorKind.USER, retryable=False)
    assert decide_retry(failure, attempt=0, system_failures=0, attempts_max=9, system_retries_max=3) == GiveUp(failure)
