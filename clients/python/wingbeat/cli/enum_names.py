"""Members of Enums as people type them."""

from enum import Enum
from typing import TypeVar

E = TypeVar("E", bound=Enum)


def named(kind: type[E], text: str) -> E:
    """The member meant: `timed_out`, `timed-out`, `TIMED_OUT`. Raises ValueError with those that there are."""
    try:
        return kind[text.upper().replace("-", "_")]
    except KeyError:
        known = ", ".join(one.name.lower() for one in kind)
        raise ValueError(f"'{text}' is none of {known}") from None
