"""What `wingbeat worker` makes of its options and of the machine."""

import sys
from pathlib import Path

import pytest
import typer

from wingbeat.cli.worker import _bytes, _interpreter


@pytest.mark.parametrize(
    "line", ["#!/bin/sh\n'''exec' /a/very/long/path/python \"$0\" \"$@\"", "#!/usr/bin/env python3"]
)
def test_an_interpreter_that_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Where the first line of flytekit's program names a shell or `env`, it is the interpreter of the same folder."""
    program, python = tmp_path / "pyflyte-execute", tmp_path / "python"
    program.write_text(f"{line}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _interpreter() == sys.executable
    python.symlink_to(sys.executable)
    assert _interpreter() == str(python)
    program.write_text(f"#!{python}\n")
    python.rename(tmp_path / "python3")
    assert _interpreter() == sys.executable
    program.write_text(f"#!{tmp_path / 'python3'}\n")
    assert _interpreter() == str(tmp_path / "python3")


@pytest.mark.parametrize("text", ["much", "inf", "nanMi", "-1Gi", "0"])
def test_no_amount_of_memory(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused with a sentence that says how one is written."""
    with pytest.raises((typer.Exit, SystemExit)):
        _bytes(text)
    assert "is no amount of memory" in capsys.readouterr().err


def test_amounts_of_memory() -> None:
    """With a unit, or in bytes."""
    assert (_bytes("1.5Gi"), _bytes("512")) == (3 << 29, 512)
