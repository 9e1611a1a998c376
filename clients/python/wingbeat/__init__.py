"""Wingbeat: typed DAGs at high volume. Importing this package loads nothing else until a name is used."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        if name == "__version__":
            from importlib.metadata import version

            return version("wingbeat")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["__version__"]
