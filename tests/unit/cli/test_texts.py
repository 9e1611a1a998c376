"""Executions and instants as people type them."""

from datetime import UTC, datetime, timedelta

import pytest

from wingbeat.cli.execution_names import execution_path, parse_execution
from wingbeat.cli.times import parse_time, show_span, show_time

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_executions() -> None:
    """A name alone belongs to the flags' project and domain; a whole path says both itself."""
    assert execution_path(parse_execution("e1", "p", "d")) == "p/d/e1"
    assert execution_path(parse_execution("a/b/e1", "p", "d")) == "a/b/e1"
    assert execution_path(parse_execution("a:b:e1", "p", "d")) == "a/b/e1"


@pytest.mark.parametrize("text", ["", "a/b", "a//e1", "a/b/c/d"])
def test_what_names_no_execution(text: str) -> None:
    """A sentence says what to write."""
    with pytest.raises(ValueError, match="project/domain/name"):
        parse_execution(text, "p", "d")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("90s", NOW - timedelta(seconds=90)),
        ("1.5s", NOW - timedelta(seconds=1.5)),
        ("1h30m", NOW - timedelta(hours=1, minutes=30)),
        ("2d", NOW - timedelta(days=2)),
        ("2026-04-30T10:00:00+02:00", datetime(2026, 4, 30, 8, tzinfo=UTC)),
        ("2026-04-30T10:00:00Z", datetime(2026, 4, 30, 10, tzinfo=UTC)),
        ("2026-04-30 10:00:00", datetime(2026, 4, 30, 10).astimezone()),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    """With a zone, in local time, or how long ago."""
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "5", "1s1h", "2026-13-01T00:00:00"])
def test_what_is_no_time(text: str) -> None:
    """A sentence shows what to write."""
    with pytest.raises(ValueError, match="how long ago"):
        parse_time(text, NOW)


def test_shown_times() -> None:
    """The date is left out where it goes without saying; spans have two units at most."""
    local = NOW.astimezone()
    assert show_time(NOW, beside=NOW) == f"{local:%H:%M:%S}.000"
    assert show_time(NOW, beside=NOW - timedelta(days=2)).startswith("2026-0")
    spans = [show_span(timedelta(seconds=seconds)) for seconds in (0.04, 2.25, 61, 3600, 90061)]
    assert spans == ["40 ms", "2.2 s", "1 min 1 s", "1 h", "1 d 1 h"]
