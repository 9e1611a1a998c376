"""How an attempt of a task ended, in the terms the retry rules need."""

from dataclasses import dataclass
from enum import IntEnum


class ErrorKind(IntEnum):
    """Numbers of flyteidl.core.ExecutionError.ErrorKind."""

    UNKNOWN = 0
    USER = 1
    SYSTEM = 2


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt or an execution failed. `retryable` is false for errors that no retry can mend."""

    kind: ErrorKind
    code: str
    message: str
    retryable: bool = False
