"""What the help of commands says, and how errors stand in a line."""

import pytest
import typer

from wingbeat.cli import COMMANDS, _epilog, _load, main
from wingbeat.cli.phases import error_text, failure_text
from wingbeat.executions import Failure


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"version"}))
def test_examples(name: str) -> None:
    """Each command, and each one below it, ends its help with examples that begin as it is typed."""
    target = _load(COMMANDS[name].target)
    if isinstance(target, typer.Typer):
        commands = target.registered_commands
        helps = {f"{name} {one.name or one.callback.__name__}": one.epilog or "" for one in commands if one.callback}
    else:
        helps = {name: _epilog(name, COMMANDS[name]) or target.__doc__ or ""}
    for typed, text in helps.items():
        assert "Examples:" in text, typed
        assert f"wingbeat {typed}" in text.partition("Examples:")[2], typed


@pytest.mark.parametrize("name", [name for name, one in COMMANDS.items() if not one.server and name != "version"])
def test_connection(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command that speaks to a server can be told which one, and who vouches for it."""
    monkeypatch.setenv("COLUMNS", "200")
    target = _load(COMMANDS[name].target)
    inner = [str(one.name) for one in target.registered_commands] if isinstance(target, typer.Typer) else [""]
    for typed in inner:
        with pytest.raises(SystemExit):
            main([name, *filter(None, [typed]), "--help"])
        text = capsys.readouterr().out
        assert all(option in text for option in ("--ca-cert", "--endpoint", "--data-dir")), typed


def test_errors_in_a_line() -> None:
    """Of an error of flytekit what was raised, and not the beginning of its traceback; others as they are."""
    theirs = "Trace:\n\n    Traceback (most recent call last):\n      x\n\nMessage:\n\n    ValueError: it is broken"
    assert error_text(theirs) == "ValueError: it is broken"
    assert error_text("two\n  lines\nMessage:\n x") == "two lines Message: x"
    assert error_text("") == ""
    assert failure_text(None) == ""
    assert failure_text(Failure("USER:RuntimeError", theirs)) == "ValueError: it is broken"
    assert failure_text(Failure("USER:RuntimeError", theirs[:40])) == "USER:RuntimeError"
