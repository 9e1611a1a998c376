"""`wingbeat config show`: every setting and which layer said it."""

from typing import Annotated

import typer

from wingbeat.cli.examples import epilog
from wingbeat.cli.output import escape, say, say_table
from wingbeat_controlplane.cli.settings_flags import flags_of, settings_or_fail

config = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at the settings.")


@config.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]  (makes `show` a subcommand of its own)
    return


@config.command(epilog=epilog("wingbeat config show", "wingbeat config show --config staging.toml"))
def show(
    data_dir: Annotated[str | None, typer.Option(help="Folder of the installation; by default ~/.wingbeat.")] = None,
    config: Annotated[
        str | None, typer.Option(help="Settings file; by default wingbeat.toml in the data folder.")
    ] = None,
) -> None:
    """Print every setting, its value, and whether a default, the file, the environment or a flag said it."""
    loaded = settings_or_fail(flags_of(data_dir=data_dir), config)
    rows = [[setting.name, escape(setting.value), setting.origin] for setting in loaded.explain()]
    say_table(["setting", "value", "origin"], rows)
    say(f"[dim]file:[/] {escape(str(loaded.file)) if loaded.file else 'none read'}")
