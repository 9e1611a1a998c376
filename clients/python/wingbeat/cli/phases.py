"""Phases, instants and spans as cells of tables."""

from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from wingbeat.cli.output import escape
from wingbeat.cli.times import show_span, show_time

if TYPE_CHECKING:
    from wingbeat.executions import Failure

_COLOURS = {
    "SUCCEEDED": "green",
    "RECOVERED": "green",
    "COMPLETED": "green",
    "RUNNING": "cyan",
    "DYNAMIC_RUNNING": "cyan",
    "FAILED": "red",
    "RETRYABLE_FAILED": "red",
    "TIMED_OUT": "red",
    "REFUSED": "red",
    "ABORTED": "magenta",
    "SKIPPED": "dim",
}


def phase_cell(phase: Enum) -> str:
    """A phase in its colour."""
    return f"[{_COLOURS.get(phase.name, 'yellow')}]{phase.name}[/]"


def time_cell(moment: datetime | None) -> str:
    """An instant, or a dash."""
    return show_time(moment).partition(".")[0] if moment else "[dim]-[/]"


def span_cell(span: timedelta | None) -> str:
    """A span, or a dash."""
    return show_span(span) if span is not None else "[dim]-[/]"


def error_text(message: str) -> str:
    """What went wrong, on one line: of flytekit's errors, which begin with a traceback, the message behind it."""
    trace, found, reason = message.rpartition("\nMessage:\n")
    return " ".join((reason if found and trace.startswith("Trace:") else message).split())


def failure_text(failure: "Failure | None") -> str:
    """The same of a failure; its code where a list has cut the message within the traceback."""
    if failure is None:
        return ""
    text = error_text(failure.message)
    return failure.code if text.startswith("Trace:") and failure.code else text


def text_cell(text: str, length_max: int = 80) -> str:
    """The beginning of a text on one line, or a dash."""
    line = " ".join(text.split())
    return escape(line if len(line) <= length_max else f"{line[: length_max - 3]}...") or "[dim]-[/]"
