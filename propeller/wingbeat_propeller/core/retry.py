"""Whether a failed attempt is tried again, when, and where: Flyte v1's two budgets, with a pause that v1 does not make.

Errors of kind USER and UNKNOWN consume the user's attempts (`retries=`) and are tried again at once; errors of kind
SYSTEM consume the installation's and are tried again after a pause that doubles, so that what is broken is not hammered
on. The kinds of nodes call this; what is decided is theirs to keep in rows.
"""

from dataclasses import dataclass
from typing import TypeAlias

from wingbeat_propeller.core.ids import fnv1a
from wingbeat_propeller.core.outcome import ErrorKind, Failure

_SPREAD = 0.25
"""Share of a pause that the name of the attempt takes off, so that what failed together does not come back together."""
_DOUBLINGS_MAX = 60


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What an installation grants every node. Times in seconds."""

    system_retries_max: int = 3
    """How often attempts lost to failures of kind SYSTEM are repeated, whatever the task says."""
    attempts_default: int = 1
    """User attempts of nodes and tasks that ask for no retries."""
    ignores_cause: bool = False
    """All failures consume the user's attempts, whatever their kind."""
    interruptible_failure_threshold: int = -1
    """Failures of the system after which a node is not interruptible any more. Negative: so many of the last system
    attempts are not; 0: all are. With `ignores_cause` all attempts count."""
    backoff_s: float = 1.0
    """Pause after the first failure of the system; doubles with each one. 0: none."""
    backoff_s_max: float = 60.0

    def user_attempts_max(self, attempts_max: int) -> int:
        """User attempts of a node whose own number is `attempts_max`; 1 says nothing."""
        return attempts_max if attempts_max > 1 else self.attempts_default


@dataclass(frozen=True, slots=True)
class Retry:
    """Start the next attempt after `delay_s` seconds."""

    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The node fails with this."""

    failure: Failure


Decision: TypeAlias = Retry | GiveUp


def decide_retry(
    failure: Failure, *, attempt: int, system_failures: int, attempts_max: int, policy: RetryPolicy, name: str
) -> Decision:
    """Decide after attempt number `attempt` (from 0) failed; `system_failures` counts this one if it was of that kind.

    `attempts_max` is the node's number of user attempts, `name` that of the failed attempt. The rules and the text of
    the final error are Flyte v1's.
    """
    if not failure.retryable:
        return GiveUp(failure)
    is_system = failure.kind is ErrorKind.SYSTEM
    if is_system and not policy.ignores_cause:
        used, allowed = system_failures - 1, policy.system_retries_max
    else:
        used = attempt + 1 if policy.ignores_cause else attempt + 1 - system_failures
        allowed = policy.user_attempts_max(attempts_max)
    if used < allowed:
        return Retry(_pause_s(policy, system_failures, name) if is_system else 0.0)
    message = f"[{used}/{allowed}] currentAttempt done. Last Error: {failure.kind.name}::{failure.message}"
    return GiveUp(Failure(ErrorKind.USER, f"RetriesExhausted|{failure.code}", message))


def stays_interruptible(*, attempt: int, system_failures: int, attempts_max: int, policy: RetryPolicy) -> bool:
    """Whether an attempt of a node that is interruptible still runs where it can be interrupted."""
    if policy.ignores_cause:
        failed, most = attempt, policy.user_attempts_max(attempts_max)
        if not failed:
            return True  # the first one does, even when there is no other
    else:
        failed, most = system_failures, policy.system_retries_max + 1
    threshold = policy.interruptible_failure_threshold
    return failed < (threshold if threshold > 0 else most + threshold)


def _pause_s(policy: RetryPolicy, system_failures: int, name: str) -> float:
    whole_s = min(policy.backoff_s * 2.0 ** min(system_failures - 1, _DOUBLINGS_MAX), policy.backoff_s_max)
    return whole_s * (1.0 - _SPREAD * fnv1a(name.encode(), 32) / 2**32)
