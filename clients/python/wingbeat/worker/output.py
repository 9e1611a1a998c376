"""What tasks write to their standard streams, on its way to their engines.

A child's streams are two files, which its tasks write one after another. What is read of them counts for the task that
runs; they are cut when nothing in line could write to them meanwhile.
"""

from wingbeat.worker.attempt import Attempt
from wingbeat.worker.child import Child
from wingbeat.worker.logs import cut, read_new, tail
from wingbeat.worker.wingbeat_task_child.messages import Report
from wingbeatidl.worker.v1 import worker_pb2


def pass_on(attempt: Attempt, child: Child, bytes_max: int, *, last: bool, report: Report | None = None) -> None:
    """Send what the task has written since; of each stream at most `bytes_max` in all. A report tells where it ends,
    and spares looking at the files."""
    for stream in ("stdout", "stderr"):
        until = None if report is None else _size(report, stream)
        if until is not None and until <= child.sent[stream]:
            continue
        for content in read_new(child.folder / stream, child.sent, stream, whole=last, until=until):
            room = bytes_max - attempt.logged[stream]
            if room <= 0:
                break  # the file may be of any size
            attempt.logged[stream] += len(content)
            if attempt.engine is not None:
                is_stderr = stream == "stderr"
                chunk = worker_pb2.LogChunk(reference=attempt.reference, stderr=is_stderr, content=content[:room])
                attempt.engine.output(chunk)


def stderr_tail(child: Child, report: Report | None = None) -> str:
    """The last lines that the present task has written to its standard error, by the report those of the one before."""
    return tail(child.folder / "stderr", child.since["stderr"], None if report is None else report["stderr_bytes"])


def end_part(child: Child, report: Report) -> None:
    """What a task has written is read; what follows is the next one's."""
    for stream, sent in child.sent.items():
        child.since[stream] = _size(report, stream)
        if child.line:
            continue
        child.since[stream] = 0
        if sent:
            cut(child.folder / stream)
            child.sent[stream] = 0


def _size(report: Report, stream: str) -> int:
    return report["stdout_bytes"] if stream == "stdout" else report["stderr_bytes"]
