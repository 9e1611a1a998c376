"""Lines of other processes, as the supervisor shows them."""

import pytest

from wingbeat_controlplane.logging import parse_line


@pytest.mark.parametrize("line", ["LOG:  ready", "[1]", "3", '{"half": ', '{"no": "event"}'])
def test_a_line_that_is_no_event_is_kept_as_text(line: str) -> None:
    """Output of programs that know no JSON is shown as it is, with the role that wrote it."""
    assert parse_line(line, "postgres") == {"event": line, "role": "postgres"}


def test_an_event_keeps_its_fields() -> None:
    """A JSON line of ours is the event it was."""
    assert parse_line('{"event":"ready","level":"info","pid":7}', "server") == {
        "event": "ready",
        "level": "info",
        "pid": 7,
    }
