"""Failures of many elements as one message: `[0-1][3]: text`, a line for each text that differs."""

from collections.abc import Iterable, Iterator

from wingbeat_propeller.core.outcome import ErrorKind, Failure

TEXT_BYTES_MAX = 256 * 1024
"""Texts kept; elements that fail with yet another text are counted only."""


class FailureSummary:
    """Gathers failures by element, in any order; equal texts are kept once."""

    __slots__ = ("_code", "_elements", "_first", "_others", "_room")

    def __init__(self) -> None:
        self._elements: dict[str, list[int]] = {}
        self._others: list[int] = []
        self._room = TEXT_BYTES_MAX
        self._first = -1
        self._code = ""

    def add(self, element: int, failure: Failure) -> None:
        """Note the failure of one element."""
        if self._first < 0 or element < self._first:
            self._first, self._code = element, failure.code
        known = self._elements.get(failure.message)
        if known is not None:
            known.append(element)
        elif not self._elements or self._room >= len(failure.message):
            self._room -= len(failure.message)
            self._elements[failure.message] = [element]
        else:
            self._others.append(element)

    def failure(self) -> Failure:
        """All of them as the failure of the array, with the code of the first element that failed."""
        groups = sorted((sorted(elements), text) for text, elements in self._elements.items())
        if self._others:
            groups.append((sorted(self._others), "failed with further messages"))
        lines = [f"{''.join(_ranges(elements))}: {text}" for elements, text in groups]
        return Failure(ErrorKind.USER, self._code, "\n".join([*lines, ""]))


def _ranges(elements: Iterable[int]) -> Iterator[str]:
    """`[2-4]` for neighbours, `[7]` for one alone; `elements` in order."""
    first = last = -2
    for element in elements:
        if element == last + 1:
            last = element
            continue
        if last >= 0:
            yield _range(first, last)
        first = last = element
    if last >= 0:
        yield _range(first, last)


def _range(first: int, last: int) -> str:
    return f"[{first}]" if first == last else f"[{first}-{last}]"
