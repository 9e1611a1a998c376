"""What is made of an object that lives long and does not change, made once for each: of a task's template, above all.

Templates are messages, which have no hash and are slow to compare, so it is the object itself that counts.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Calls `make` for objects that it does not know; called with one of them, it answers from memory."""

    def __init__(self, make: Callable[[K], V], size_max: int) -> None:
        """Beyond `size_max` objects all are forgotten, and made again as they are needed. An error is not kept."""
        self._make = make
        self._size_max = size_max
        self._known: dict[int, tuple[K, V]] = {}
        """By id; the object is kept with it, lest another one gets its id."""

    def __call__(self, of: K) -> V:
        known = self._known.get(id(of))
        if known is not None:
            return known[1]
        made = self._make(of)
        if len(self._known) >= self._size_max:
            self._known.clear()
        self._known[id(of)] = of, made
        return made
