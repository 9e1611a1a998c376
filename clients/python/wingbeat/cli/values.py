"""Inputs and outputs as commands show them."""

from collections.abc import Mapping
from typing import Any

from wingbeat.cli.output import Output, escape, say, say_document
from wingbeat.literals.decode import plain


def show_values(output: Output, values: Mapping[str, Any], heading: str = "") -> None:
    """A line for each value, or all as a document."""
    if output is not Output.TABLE:
        say_document(output, plain(values))
        return
    import json

    if heading and values:
        say(f"[bold]{heading}[/]")
    for name, value in values.items():
        found = plain(value)
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
        say(f"  {escape(name)}: {escape(text)}")
