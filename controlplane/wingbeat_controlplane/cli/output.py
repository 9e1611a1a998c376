"""How commands speak: facts on the standard output, one sentence on the error output when something is wrong."""

from typing import TYPE_CHECKING, NoReturn

import typer

from wingbeat_controlplane.settings import LoadedSettings, SettingsError, Tree, load_settings

if TYPE_CHECKING:
    from rich.table import Table


def say(what: "str | Table") -> None:
    """Print a fact: text in Rich's markup, or a table. Colours only on a terminal, lines never broken."""
    from rich.console import Console  # slow to load, and `up` has better things to do first

    Console(emoji=False, highlight=False, soft_wrap=True).print(what)


def fail(sentence: str, status: int = 1) -> NoReturn:
    """Say what is wrong and end the command."""
    from rich.console import Console

    Console(stderr=True, emoji=False, highlight=False, soft_wrap=True).print(f"[bold red]Error:[/] {escape(sentence)}")
    raise typer.Exit(status)


def escape(text: str) -> str:
    """Text as it is, square brackets included."""
    return text.replace("[", r"\[")


def settings_or_fail(flags: Tree, config: str | None) -> LoadedSettings:
    """Load the settings; a mistake in them ends the command."""
    from pathlib import Path

    try:
        return load_settings(flags, Path(config).expanduser() if config else None)
    except SettingsError as error:
        fail(str(error))


def flags_of(**values: object) -> dict[str, object]:
    """Flags that were typed, as a tree of settings: `server__grpc_port=1` becomes {"server": {"grpc_port": 1}}."""
    tree: dict[str, object] = {}
    for name, value in values.items():
        if value is None:
            continue
        section, delimiter, key = name.partition("__")
        if delimiter:
            below = tree.setdefault(section, {})
            assert isinstance(below, dict)
            below[key] = value
        else:
            tree[section] = value
    return tree
