"""How the client's commands speak: facts on the standard output, one sentence on the error output otherwise."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from rich.console import RenderableType


class Format(Enum):
    """What `-o` chooses where there is an answer without a name."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    TEXT = "table"  # noqa: PIE796  (an alias)
    """The same as TABLE."""


class Output(Enum):
    """What `-o` chooses where there are things with names."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing: its name, its cells of a table in Rich's markup, and all of it for programs."""

    name: str
    cells: Sequence[str]
    document: object


def show(output: Output, headings: Sequence[str], things: Iterable[Shown], *, none: str = "") -> None:
    """Print a list of things in the chosen form; `none` is what a person reads when there are none."""
    if output is Output.NAME:
        for thing in things:
            typer.echo(thing.name)
    elif output is not Output.TABLE:
        say_document(output, [thing.document for thing in things])
    else:
        rows = [thing.cells for thing in things]
        if rows:
            say_table(headings, rows)
        elif none:
            fail_softly(none)


def show_one(output: Output, headings: Sequence[str], thing: Shown) -> None:
    """Print one thing in the chosen form."""
    if output is Output.NAME:
        typer.echo(thing.name)
    elif output is Output.TABLE:
        say_table(headings, [thing.cells])
    else:
        say_document(output, thing.document)


def say_document(output: Output | Format, document: object) -> None:
    """Print a value as YAML, or else as JSON."""
    if output in (Output.YAML, Format.YAML):
        from wingbeat.cli.yaml_text import to_yaml

        typer.echo(to_yaml(document), nl=False)
    else:
        say_json(document)


def say_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of cells in Rich's markup, each column as wide as its widest cell: what is cut or broken to fit a
    terminal can be neither copied nor searched."""
    from rich.text import Text

    head = [Text(heading, style="bold") for heading in headings]
    lines = [head, *([Text.from_markup(cell, emoji=False) for cell in row] for row in rows)]
    widths = [max(cell.cell_len for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        for cell, width in zip(line[:-1], widths[:-1], strict=True):
            cell.pad_right(width - cell.cell_len)
    joined = [Text("  ").join(line) for line in lines]
    for line in joined:
        line.rstrip()
    say(Text("\n").join(joined))


def fail_softly(sentence: str) -> None:
    """Say on the error output what is no error."""
    typer.echo(sentence, err=True)


def say(what: "RenderableType") -> None:
    """Print a fact: text in Rich's markup, a table, a tree. Colours only on a terminal, lines never broken."""
    from rich.console import Console

    Console(emoji=False, highlight=False, soft_wrap=True).print(what)


def say_json(value: object) -> None:
    """Print a value for programs."""
    typer.echo(json.dumps(value, indent=2))


def fail(sentence: str, status: int = 1) -> NoReturn:
    """Say what is wrong and end the command."""
    from rich.console import Console

    Console(stderr=True, emoji=False, highlight=False, soft_wrap=True).print(f"[bold red]Error:[/] {escape(sentence)}")
    raise typer.Exit(status)


def escape(text: str) -> str:
    """Text as it is, square brackets included."""
    from rich.markup import escape as rich_escape

    return rich_escape(text)


def as_json(message: "Message") -> dict[str, object]:
    """A message as protobuf's JSON, empty fields included."""
    from google.protobuf import json_format

    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
