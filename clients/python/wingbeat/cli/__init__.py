"""The command `wingbeat`: a table of commands, each imported when it is typed.

The server's commands live in the server's package, so that a client installation is small and `wingbeat --help` needs
none of it. Whatever a user can mend is a sentence, never a traceback.
"""

import errno
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
    examples: str = ""
    """`module:attribute` of lines for the end of its help."""


COMMANDS = {
    "up": Command("wingbeat_controlplane.cli.up:up", "Start an installation on this machine."),
    "down": Command("wingbeat_controlplane.cli.down:down", "Stop it."),
    "status": Command("wingbeat_controlplane.cli.status:status", "Show what runs, and where."),
    "doctor": Command("wingbeat_controlplane.cli.doctor:doctor", "Check this machine and the installation."),
    "config": Command("wingbeat_controlplane.cli.config:config", "Show every setting and where it comes from."),
    "launch": Command("wingbeat.cli.launch:launch", "Start an execution.", False, "wingbeat.cli.launch:EXAMPLES"),
    "watch": Command(
        "wingbeat.cli.waiting:watch",
        "Watch an execution, or all that happens.",
        False,
        "wingbeat.cli.waiting:WATCH_EXAMPLES",
    ),
    "wait": Command(
        "wingbeat.cli.waiting:wait", "Wait until executions have ended.", False, "wingbeat.cli.waiting:WAIT_EXAMPLES"
    ),
    "get": Command("wingbeat.cli.reading:get", "Show one thing.", False, "wingbeat.cli.reading:GET_EXAMPLES"),
    "list": Command(
        "wingbeat.cli.reading:list_things",
        "List executions, nodes, tasks, workflows and all else.",
        False,
        "wingbeat.cli.reading:LIST_EXAMPLES",
    ),
    "describe": Command(
        "wingbeat.cli.reading:describe", "Tell all about one thing.", False, "wingbeat.cli.reading:DESCRIBE_EXAMPLES"
    ),
    "logs": Command("wingbeat.cli.logs:logs", "Print what tasks print.", False, "wingbeat.cli.logs:EXAMPLES"),
    "signal": Command(
        "wingbeat.cli.changes:signal", "Give a gate its value.", False, "wingbeat.cli.changes:SIGNAL_EXAMPLES"
    ),
    "abort": Command("wingbeat.cli.changes:abort", "Abort executions.", False, "wingbeat.cli.changes:ABORT_EXAMPLES"),
    "relaunch": Command(
        "wingbeat.cli.changes:relaunch", "Run an execution once more.", False, "wingbeat.cli.changes:RELAUNCH_EXAMPLES"
    ),
    "batch": Command("wingbeat.cli.batch:batch", "Many rows, one execution each.", False),
    "history": Command("wingbeat.cli.history:history", "Show how an execution stood at an instant.", server=False),
    "why": Command("wingbeat.cli.why:why", "Say why an execution or a node is not running.", server=False),
    "recover": Command("wingbeat.cli.recover:recover", "Go on from what an execution has done.", server=False),
    "foretell": Command("wingbeat.cli.foretell:foretell", "Say what a launch would find in the cache.", server=False),
    "artifact": Command("wingbeat.cli.artifact:artifact", "Named, versioned outputs of tasks.", server=False),
    "lineage": Command("wingbeat.cli.lineage:lineage", "Show what a value was made from, or into.", server=False),
    "cache": Command("wingbeat.cli.cache:cache", "Why calls were not cached; evict.", server=False),
    "limits": Command("wingbeat.cli.limits:limits", "Weights and limits of projects and domains.", server=False),
    "sql": Command("wingbeat.cli.sql:sql", "Ask a read-only question in SQL.", server=False),
    "erase": Command("wingbeat.cli.erase:erase", "Erase executions with all that is theirs.", server=False),
    "gc": Command("wingbeat.cli.garbage:collect", "Remove blobs that nothing refers to.", server=False),
    "retention": Command("wingbeat.cli.retention:retention", "How long things are kept.", server=False),
    "worker": Command("wingbeat.cli.worker:worker", "Run tasks with their code kept loaded.", server=False),
    "version": Command("wingbeat.cli.version:version", "Print the version.", server=False),
}


_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


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

    from wingbeat.cli.connection import with_ca_cert

    try:
        target = _load(command.target)
    except ModuleNotFoundError as error:
        if not command.server:
            raise
        _stop(f"`wingbeat {name}` is part of the server: install wingbeat[server] (there is no module {error.name})")
    if isinstance(target, typer.Typer):
        app = target
        for inner in app.registered_commands:
            assert inner.callback is not None, command.target
            inner.callback = with_ca_cert(inner.callback)
    else:
        assert callable(target), command.target
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(epilog=_epilog(name, command))(with_ca_cert(target))
    try:
        app(args=list(arguments), prog_name=f"wingbeat {name}")
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _stop(f"what there is to say cannot be written: {error.strerror}")


def _load(target: str) -> object:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _epilog(name: str, command: Command) -> str | None:
    """Examples, for the end of the help."""
    from wingbeat.cli.examples import epilog

    lines = _load(command.examples or "wingbeat.cli.examples:EXAMPLES")
    if isinstance(lines, dict):
        lines = lines.get(name, ())  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    assert isinstance(lines, tuple), command.examples
    return epilog(*map(str, lines)) if lines else None  # pyright: ignore[reportUnknownArgumentType]


def _print_help() -> None:
    lines = [f"  {name:11}{command.summary}" for name, command in COMMANDS.items()]
    print(  # noqa: T201  (the answer)
        "Usage: wingbeat COMMAND [OPTIONS]\n\nTyped DAGs at high volume, for clients of Flyte.\n\nCommands:\n"
        + "\n".join(lines)
        + "\n\n`wingbeat COMMAND --help` lists the options of a command."
    )


def _stop(sentence: str, status: int = 1) -> NoReturn:
    print(f"Error: {sentence}", file=sys.stderr)  # noqa: T201  (the answer)
    sys.exit(status)
