"""Retry budgets: user and system failures are counted apart; pauses; who stays interruptible."""

import pytest

from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.core.retry import Decision, GiveUp, Retry, RetryPolicy, decide_retry, stays_interruptible

POLICY = RetryPolicy()


def _failure(kind: ErrorKind, *, retryable: bool = True) -> Failure:
    return Failure(kind, "Boom", "it broke", retryable=retryable)


def _decide(
    kind: ErrorKind,
    attempt: int,
    system_failures: int,
    attempts_max: int,
    policy: RetryPolicy = POLICY,
    name: str = "a",
) -> Decision:
    return decide_retry(
        _failure(kind),
        attempt=attempt,
        system_failures=system_failures,
        attempts_max=attempts_max,
        policy=policy,
        name=name,
    )


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
    assert isinstance(_decide(kind, attempt, system_failures, attempts_max), Retry) is again


@pytest.mark.parametrize(
    ("kind", "attempt", "system_failures", "message"),
    [
        (ErrorKind.SYSTEM, 3, 4, "[3/3] currentAttempt done. Last Error: SYSTEM::it broke"),
        (ErrorKind.USER, 3, 2, "[2/2] currentAttempt done. Last Error: USER::it broke"),
    ],
)
def test_exhausted_error_tells_the_last_one(kind: ErrorKind, attempt: int, system_failures: int, message: str) -> None:
    """The final error has kind USER, names the last code and counts as Flyte v1 does: user attempts, system retries."""
    assert _decide(kind, attempt, system_failures, 2) == GiveUp(
        Failure(ErrorKind.USER, "RetriesExhausted|Boom", message)
    )


def test_permanent_failures_are_never_retried() -> None:
    """No budget helps an error that is not retryable; it is reported as it is."""
    failure = _failure(ErrorKind.USER, retryable=False)
    decision = decide_retry(failure, attempt=0, system_failures=0, attempts_max=9, policy=POLICY, name="a")
    assert decision == GiveUp(failure)


def test_one_budget_for_all_failures() -> None:
    """Where the cause is ignored every attempt uses up the user's number, failures of the system too."""
    policy = RetryPolicy(ignores_cause=True)
    assert isinstance(_decide(ErrorKind.SYSTEM, 1, 2, 3, policy), Retry)
    decision = _decide(ErrorKind.SYSTEM, 2, 1, 3, policy)
    assert isinstance(decision, GiveUp)
    assert decision.failure.message.startswith("[3/3]")


def test_the_installation_says_how_often_tasks_run_that_ask_for_no_retries() -> None:
    """A task that asks for some keeps its own number."""
    policy = RetryPolicy(attempts_default=3)
    assert isinstance(_decide(ErrorKind.USER, 1, 0, 1, policy), Retry)
    assert isinstance(_decide(ErrorKind.USER, 2, 0, 1, policy), GiveUp)
    assert isinstance(_decide(ErrorKind.USER, 1, 0, 2, policy), GiveUp)


def test_pauses_double_up_to_a_bound() -> None:
    """Only failures of the system cause one; whatever the name takes off, a pause is never longer than its bound and
    never shorter than three quarters of it."""
    policy = RetryPolicy(system_retries_max=5_000, backoff_s=2.0, backoff_s_max=10.0)
    assert _decide(ErrorKind.USER, 1, 1, 9, policy) == Retry(0.0)
    for failures, whole_s in ((1, 2.0), (2, 4.0), (3, 8.0), (4, 10.0), (4_000, 10.0)):
        delays = set()
        for number in range(20):
            decision = _decide(ErrorKind.SYSTEM, failures - 1, failures, 1, policy, f"e-n{number}-0")
            assert isinstance(decision, Retry)
            assert 0.75 * whole_s <= decision.delay_s <= whole_s
            delays.add(decision.delay_s)
        assert len(delays) == 20
    assert _decide(ErrorKind.SYSTEM, 0, 1, 1, RetryPolicy(backoff_s=0.0)) == Retry(0.0)


@pytest.mark.parametrize(
    ("threshold", "interruptible"),
    [
        (-1, [True, True, True, False]),
        (-2, [True, True, False, False]),
        (-9, [False, False, False, False]),
        (0, [True, True, True, True]),
        (1, [True, False, False, False]),
        (3, [True, True, True, False]),
    ],
)
def test_which_system_attempts_are_interruptible(threshold: int, interruptible: list[bool]) -> None:
    """Of four system attempts; a negative threshold counts from the last one, a positive one is the number itself."""
    policy = RetryPolicy(interruptible_failure_threshold=threshold)
    found = [
        stays_interruptible(attempt=failures, system_failures=failures, attempts_max=1, policy=policy)
        for failures in range(4)
    ]
    assert found == interruptible


def test_user_failures_leave_a_node_interruptible() -> None:
    """Only failures of the system count, unless the cause is ignored; then the first attempt always is."""
    assert stays_interruptible(attempt=8, system_failures=0, attempts_max=9, policy=POLICY)
    policy = RetryPolicy(ignores_cause=True)
    found = [
        stays_interruptible(attempt=attempt, system_failures=0, attempts_max=3, policy=policy) for attempt in range(3)
    ]
    assert found == [True, True, False]
    assert stays_interruptible(attempt=0, system_failures=0, attempts_max=1, policy=policy)
