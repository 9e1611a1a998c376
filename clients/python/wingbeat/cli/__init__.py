"""The command `wingbeat`: a table of commands, each imported when it is typed.

The server's commands live in the server's package, so that a client installation is small and `wingbeat --help` needs
none of it. Whatever a user can mend is a sentence, never a traceback.
"""

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is (`module:attribute`) and one line about it. `server` ones need `wingbeat[server]`."""

    target: str
    summary: str
    server: bool = True


COMMANDS = {
    "up": Command("wingbeat_controlplane.cli.up:up", "Start an installation on this machine."),
    "down": Command("wingbeat_controlplane.cli.down:down", "Stop it."),
    "status": Command("wingbeat_controlplane.cli.status:status", "Show what runs, and where."),
    "doctor": Command("wingbeat_controlplane.cli.doctor:doctor", "Check this machine and the installation."),
    "config": Command("wingbeat_controlplane.cli.config:config", "Show every setting and where it comes from."),
    "history": Command("wingbeat.cli.history:history", "Show how an execution stood at an instant.", server=False),
    "why": Command("wingbeat.cli.why:why", "Say why an execution or a node is not running.", server=False),
    "recover": Command("wingbeat.cli.recover:recover", "Go on from what an execution has done.", server=False),
    "lineage": Command("wingbeat.cli.lineage:lineage", "Show what a value was made from, or into.", server=False),
    "limits": Command("wingbeat.cli.limits:limits", "Weights and limits of projects and domains.", server=False),
    "sql": Command("wingbeat.cli.sql:sql", "Ask a read-only question in SQL.", server=False),
    "retention": Command("wingbeat.cli.retention:retention", "How long things are kept.", server=False),
    "version": Command("wingbeat.cli.version:version", "Print the version.", server=False),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script; ends the process with the command's exit status."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in {"--version", "-V"}:
        name = "version"
    if name in {"--help", "-h", "help"}:
        _print_help()
        sys.exit(0)
    command = COMMANDS.get(name)
    if command is None:
        _stop(f"there is no command {name!r}; `wingbeat --help` lists them", status=2)
    _run(name, command, rest)


def _run(name: str, command: Command, arguments: Sequence[str]) -> None:
    gc.disable()  # loading makes no garbage; the one command that stays, `up`, turns it on again
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for plugins takes longer than all of ours

    import typer

    module, _, attribute = command.target.partition(":")
    try:
        target: object = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if not command.server:
            raise
        _stop(f"`wingbeat {name}` is part of the server: install wingbeat[server] (there is no module {error.name})")
    if isinstance(target, typer.Typer):
        app = target
    else:
        assert callable(target), command.target
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(target)
    app(args=list(arguments), prog_name=f"wingbeat {name}")


def _print_help() -> None:
    lines = [f"  {name:10}{command.summary}" for name, command in COMMANDS.items()]
    print(  # noqa: T201  (the answer)
        "Usage: wingbeat COMMAND [OPTIONS]\n\nTyped DAGs at high volume, for clients of Flyte.\n\nCommands:\n"
        + "\n".join(lines)
        + "\n\n`wingbeat COMMAND --help` lists the options of a command."
    )


def _stop(sentence: str, status: int = 1) -> NoReturn:
    print(f"Error: {sentence}", file=sys.stderr)  # noqa: T201  (the answer)
    sys.exit(status)
