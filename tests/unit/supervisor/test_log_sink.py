"""Where lines of an installation go. Files of a temporary folder are all that is touched."""

import io
import json
from pathlib import Path

import pytest

from wingbeat_controlplane.supervisor import log_sink
from wingbeat_controlplane.supervisor.log_sink import LogSink


def test_lines_go_to_the_role_s_file_and_to_the_output(tmp_path: Path) -> None:
    """Files keep lines as they came; the output is JSON throughout, quiet roles are left out of it."""
    out = io.StringIO()
    sink = LogSink(tmp_path, "json", out, quiet=["postgres"])

    sink.write("server", '{"event":"serving","level":"info","port":1}')
    sink.write("server", "Segmentation fault")
    sink.write("postgres", "LOG:  ready")
    sink.close()

    assert (tmp_path / "server.log").read_text().splitlines()[1] == "Segmentation fault"
    assert (tmp_path / "postgres.log").read_text() == "LOG:  ready\n"
    shown = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [event["event"] for event in shown] == ["serving", "Segmentation fault"]
    assert shown[1]["role"] == "server"


def test_a_terminal_gets_readable_lines(tmp_path: Path) -> None:
    """People see the event and its fields, no JSON."""
    out = io.StringIO()
    sink = LogSink(tmp_path, "console", out)

    sink.write("server", '{"event":"serving","level":"info","port":1}')
    sink.close()

    assert "serving" in out.getvalue()
    assert "port=1" in out.getvalue()
    assert "{" not in out.getvalue()


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that grows past its limit becomes the former generation, at start as well; older ones go."""
    monkeypatch.setattr(log_sink, "_FILE_BYTES_MAX", 10)
    (tmp_path / "server.log").write_text("an earlier run\n")
    sink = LogSink(tmp_path, "json", io.StringIO())

    sink.write("server", "one")
    assert (tmp_path / "server.log.1").read_text() == "an earlier run\n"
    sink.write("server", "two")
    sink.write("server", "three")
    sink.close()

    assert (tmp_path / "server.log").read_text() == "three\n"
    assert (tmp_path / "server.log.1").read_text() == "one\ntwo\n"


def test_an_output_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    """A closed terminal costs the line on it, the file still gets it."""
    out = io.StringIO()
    out.close()
    sink = LogSink(tmp_path, "json", out)

    sink.write("server", "one")
    sink.close()

    assert (tmp_path / "server.log").read_text() == "one\n"
