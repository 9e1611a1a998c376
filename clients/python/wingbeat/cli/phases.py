"""Phases, instants and spans as cells of tables."""

from datetime import datetime, timedelta
from enum import Enum

from wingbeat.cli.output import escape
from wingbeat.cli.times import show_span, show_time

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


def text_cell(text: str, length_max: int = 80) -> str:
    """The beginning of a text on one line, or a dash."""
    line = " ".join(text.split())
    return escape(line if len(line) <= length_max else f"{line[: length_max - 3]}...") or "[dim]-[/]"
