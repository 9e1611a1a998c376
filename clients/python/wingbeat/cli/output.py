"""How the client's commands speak: facts on the standard output, one sentence on the error output otherwise."""

import json
from enum import Enum
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import RenderableType


class Format(Enum):
    """What `-o` chooses."""

    TEXT = "text"
    JSON = "json"


def say(what: "RenderableType") -> None:
    """Print a fact: text in Rich's markup, a table, a tree. Colours only on a terminal, lines never broken."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(what)


def say_json(value: object) -> None:
    """Print a value for programs."""
    typer.echo(json.dumps(value, indent=2))


def fail(sentence: str, status: int = 1) -> NoReturn:
    """Say what is wrong and end the command."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]Error:[/] {escape(sentence)}")
    raise typer.Exit(status)


def escape(text: str) -> str:
    """Text as it is, square brackets included."""
    from rich.markup import escape as rich_escape

    return rich_escape(text)


def as_json(message: "Message") -> dict[str, object]:
    """A message as protobuf's JSON, empty fields included."""
    from google.protobuf import json_format

    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
