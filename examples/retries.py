"""Errors: a recoverable one is tried again, any other ends the execution with the user's own message.

Run it here:        python examples/retries.py
Run it on Wingbeat: pyflyte run --remote examples/retries.py flaky_wf
                    pyflyte run --remote examples/retries.py share_wf --people 0
"""

import os

from flytekit import task, workflow
from flytekit.exceptions.user import FlyteRecoverableException

FAILURES = 2
"""How often the service is not there at first."""


@task(retries=3)
def ask_service(question: str) -> str:
    """Ask a service that is down for the first two attempts. The attempt number is in the environment of the task."""
    attempt = int(os.environ.get("FLYTE_ATTEMPT_NUMBER", FAILURES))  # unset when run here: then it is up
    if attempt < FAILURES:
        raise FlyteRecoverableException(f"the service is down (attempt {attempt})")
    return f"{question} 42"


@task
def share(cakes: int, people: int) -> float:
    """Nobody can share among nobody: a mistake of the caller, which no retry can mend."""
    if people <= 0:
        raise ValueError(f"cannot share {cakes} cakes among {people} people")
    return cakes / people


@workflow
def flaky_wf(question: str = "What is the answer?") -> str:
    """Succeeds in the third attempt."""
    return ask_service(question=question)


@workflow
def share_wf(cakes: int = 3, people: int = 2) -> float:
    """Fails for nobody."""
    return share(cakes=cakes, people=people)


if __name__ == "__main__":
    print(flaky_wf(), share_wf())
