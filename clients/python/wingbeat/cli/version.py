"""`wingbeat version`."""

import typer

from wingbeat import __version__


def version() -> None:
    """Print the version of this installation."""
    typer.echo(__version__)
