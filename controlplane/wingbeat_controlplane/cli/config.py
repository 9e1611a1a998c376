"""`wingbeat config show`: every setting and which layer said it."""

from typing import Annotated

import typer
from rich.table import Table

from wingbeat_controlplane.cli.output import escape, flags_of, say, settings_or_fail

config = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at the settings.")


@config.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]  (makes `show` a subcommand of its own)
    return


@config.command()
def show(
    data_dir: Annotated[str | None, typer.Option(help="Folder of the installation; by default ~/.wingbeat.")] = None,
    config: Annotated[
        str | None, typer.Option(help="Settings file; by default wingbeat.toml in the data folder.")
    ] = None,
) -> None:
    """Print every setting, its value, and whether a default, the file, the environment or a flag said it."""
    loaded = settings_or_fail(flags_of(data_dir=data_dir), config)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("setting", "value", "origin"):
        table.add_column(heading, overflow="fold", no_wrap=False)
    for setting in loaded.explain():
        table.add_row(setting.name, escape(setting.value), setting.origin)
    say(table)
    say(f"[dim]file:[/] {escape(str(loaded.file)) if loaded.file else 'none read'}")
