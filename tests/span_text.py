"""Trees of spans as text, and what holds for every one of them."""

from collections.abc import Iterator
from itertools import pairwise

from flyteidl.core import metrics_pb2
from google.protobuf.timestamp_pb2 import Timestamp

WORKFLOW_OPERATIONS = {"WORKFLOW_SETUP", "WORKFLOW_TEARDOWN"}
TASK_OPERATIONS = ["TASK_SETUP", "TASK_RUNTIME", "TASK_TEARDOWN"]
NODE_OPERATIONS = {"NODE_TRANSITION", "NODE_SETUP", "NODE_IDLE", "NODE_RESET", "NODE_TEARDOWN"}


def kind_of(span: metrics_pb2.Span) -> str:
    """Which of its ids a span has."""
    return span.WhichOneof("id") or ""


def operations(span: metrics_pb2.Span) -> list[metrics_pb2.Span]:
    """The operations directly inside."""
    return [inner for inner in span.spans if kind_of(inner) == "operation_id"]


def names(span: metrics_pb2.Span) -> list[str]:
    """What is directly inside, in order: names of operations, kinds of the others."""
    return [inner.operation_id or kind_of(inner) for inner in span.spans]


def walk(span: metrics_pb2.Span, depth: int = 0) -> Iterator[tuple[metrics_pb2.Span, int]]:
    """All spans that are no operations, with their depth."""
    if kind_of(span) != "operation_id":
        yield span, depth
        for inner in span.spans:
            yield from walk(inner, depth + 1)


def span_lines(span: metrics_pb2.Span, indent: str = "") -> list[str]:
    """A line for each span: what it is, and its seconds since the epoch modulo 1000."""
    match kind_of(span):
        case "workflow_id":
            name = span.workflow_id.name
        case "node_id":
            name = span.node_id.node_id
        case "task_id":
            name = f"{span.task_id.task_id.name}/{span.task_id.retry_attempt}"
        case _:
            name = span.operation_id
    line = f"{indent}{name} {_second(span.start_time)}-{_second(span.end_time)}"
    return [line, *(text for inner in span.spans for text in span_lines(inner, f"{indent}  "))]


def check(root: metrics_pb2.Span, *, steady: bool) -> None:
    """No time is negative; operations belong to what they are in, begin with its set-up, and follow each other without
    going back; inside of an attempt without a gap. `steady`: also inside of nodes, as clocks never went back and no
    level is left out."""
    for span, _ in walk(root):
        inside = names(span)
        assert _at(span.start_time) <= _at(span.end_time)
        for operation in operations(span):
            assert not operation.spans
            assert _at(operation.start_time) <= _at(operation.end_time)
        match kind_of(span):
            case "workflow_id":
                assert set(inside) <= {*WORKFLOW_OPERATIONS, "node_id"}
                assert inside[1:].count("WORKFLOW_SETUP") == 0
                assert "WORKFLOW_TEARDOWN" not in inside[:-1]
                _check_line(span, list(span.spans), gaps="node_id")
            case "node_id":
                assert set(inside) <= {*NODE_OPERATIONS, "node_id", "task_id", "workflow_id"}
                assert "NODE_TRANSITION" not in inside[1:]
                own = [inner for inner in span.spans if inner.operation_id != "NODE_TRANSITION"]
                assert [inner.operation_id for inner in own[1:]].count("NODE_SETUP") == 0
                assert "NODE_TEARDOWN" not in inside[:-1]
                _check_line(span, own, gaps="node_id" if steady else "operation_id task_id node_id workflow_id")
            case _:
                assert inside == TASK_OPERATIONS[: len(inside)]
                assert inside
                _check_line(span, list(span.spans), gaps="")


def _check_line(span: metrics_pb2.Span, inside: list[metrics_pb2.Span], *, gaps: str) -> None:
    """`gaps` are the kinds of spans that operations may have a gap around: those that run at the same time."""
    if not inside:
        return
    assert inside[0].operation_id.endswith("_SETUP")
    assert _at(inside[0].start_time) == _at(span.start_time)
    done = [inner for inner in inside if kind_of(inner) == "operation_id"]
    for before, after in pairwise(done):
        assert _at(after.start_time) >= _at(before.end_time), (before, after)
    for before, after in pairwise(inside):
        if kind_of(before) not in gaps.split() and kind_of(after) not in gaps.split():
            assert _at(after.start_time) == _at(before.end_time), (before, after)


def cut(span: metrics_pb2.Span, depth: int) -> metrics_pb2.Span:
    """The whole tree as it is asked for with a depth: nothing but transitions on the last level, and attempts only with
    what they are made of."""
    kept = metrics_pb2.Span()
    kept.CopyFrom(span)
    del kept.spans[:]
    for inner in span.spans:
        if kind_of(inner) == "operation_id":
            if depth > 0 or inner.operation_id == "NODE_TRANSITION":
                kept.spans.append(inner)
        elif depth > 0 and (kind_of(inner) != "task_id" or depth > 1):
            kept.spans.append(cut(inner, depth - 1))
    return kept


def _at(moment: Timestamp) -> int:
    return moment.ToNanoseconds()


def _second(moment: Timestamp) -> str:
    return f"{_at(moment) / 1e9 % 1000:g}"
