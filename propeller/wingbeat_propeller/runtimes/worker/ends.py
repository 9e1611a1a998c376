"""What a worker's report of an end means for the engine; pure.

The rules are those of local tasks: an exit status is the user's, an end from outside is the system's.
"""

from collections.abc import Sequence

from wingbeat_propeller.core.outcome import ErrorKind, Failure
from wingbeat_propeller.ports.runtime import Ended, LogLink
from wingbeat_propeller.runtimes.local.exits import failure_of
from wingbeat_propeller.runtimes.local.wingbeat_task_host.record import (
    OUT_OF_MEMORY,
    SETUP_FAILED,
    STOPPED,
    TIMEOUT,
    Exit,
)
from wingbeat_propeller.tasks.error_document import parse_error_document
from wingbeatidl.worker.v1 import worker_pb2

_REASONS = {
    worker_pb2.Exit.REASON_TIMEOUT: TIMEOUT,
    worker_pb2.Exit.REASON_OUT_OF_MEMORY: OUT_OF_MEMORY,
    worker_pb2.Exit.REASON_STOPPED: STOPPED,
    worker_pb2.Exit.REASON_SETUP_FAILED: SETUP_FAILED,
}


def end_of(report: worker_pb2.Ended, at: float, logs: Sequence[LogLink]) -> Ended:
    """The event of an end at `at`."""
    name = report.reference.name
    match report.WhichOneof("end"):
        case "outputs":
            return Ended(name, at, outputs=report.outputs, logs=logs)
        case "files":
            return Ended(name, at, logs=logs)
        case "error_document":
            return Ended(name, at, parse_error_document(report.error_document), logs=logs)
        case "exit":
            return Ended(name, at, _exit_failure(report.exit), logs=logs)
        case _:
            text = "the worker has reported an end of a kind that this release does not know"
            return Ended(name, at, Failure(ErrorKind.SYSTEM, "WorkerReportUnknown", text, retryable=True), logs=logs)


def lost(worker: str, why: str) -> Failure:
    """The failure of an attempt whose worker is gone."""
    return Failure(ErrorKind.SYSTEM, "WorkerLost", f"The worker {worker} that ran the task {why}.", retryable=True)


def _exit_failure(end: worker_pb2.Exit) -> Failure | None:
    try:
        if end.reason == worker_pb2.Exit.REASON_STOPPED:
            return Failure(
                ErrorKind.SYSTEM, "Interrupted", "The task was stopped together with its worker.", retryable=True
            )
        code = None if end.signal else end.code
        record = Exit(code, end.signal or None, _REASONS.get(end.reason, ""), end.detail, 0.0)
        return failure_of(record, end.stderr_tail)  # none for status 0: what it has left in the store is judged
    except ValueError:  # a detail that is not what it should be
        return Failure(ErrorKind.SYSTEM, "Interrupted", f"The task was ended: {end.detail}.", retryable=True)
