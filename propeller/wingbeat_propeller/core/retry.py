"""Whether a failed attempt is tried again: Flyte v1's two budgets.

Errors of kind USER and UNKNOWN consume the user's attempts (`retries=`), errors of kind SYSTEM the installation's.
"""

from dataclasses import dataclass
from typing import TypeAlias

from wingbeat_propeller.core.outcome import ErrorKind, Failure


@dataclass(frozen=True, slots=True)
class Retry:
    """Start the next attempt."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The node fails with this."""

    failure: Failure


Decision: TypeAlias = Retry | GiveUp


def decide_retry(
    failure: Failure, *, attempt: int, system_failures: int, attempts_max: int, system_retries_max: int
) -> Decision:
    """Decide after attempt number `attempt` (from 0) failed; `system_failures` counts this one if it was of that kind.

    `attempts_max` is the number of user attempts, `system_retries_max` of further system attempts.
    """
    if not failure.retryable:
        return GiveUp(failure)
    if failure.kind is ErrorKind.SYSTEM:
        used, allowed = system_failures, system_retries_max + 1
        if system_failures <= system_retries_max:
            return Retry()
    else:
        used, allowed = attempt + 1 - system_failures, attempts_max
        if used < attempts_max:
            return Retry()
    message = f"[{used}/{allowed}] currentAttempt done. Last Error: {failure.kind.name}::{failure.message}"
    return GiveUp(Failure(ErrorKind.USER, f"RetriesExhausted|{failure.code}", message))
