"""The filter language of list rpcs: `function(field,value)` joined by `+`, several values joined by `;`.

There is no quoting: a value cannot hold `+`, and an empty value cannot be written. Parsing knows nothing of tables;
which fields exist, and of what type, is judged by `listing.query`.
"""

import re
from dataclasses import dataclass
from enum import Enum

from wingbeat_controlplane.errors import invalid_argument, invalid_value

FILTERS_MAX = 100
"""Conditions of one request; each costs a parameter of the statement."""

_EXPRESSION = re.compile(r"(\w+)\(([\w.]+), ?(.+)\)", re.DOTALL)


class Function(Enum):
    """How a column and a value are compared."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    CONTAINS = "contains"
    NOT_LIKE = "not_like"
    VALUE_IN = "value_in"
    VALUE_NOT_IN = "value_not_in"


LISTS = frozenset({Function.VALUE_IN, Function.VALUE_NOT_IN})
"""Functions that take several values."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition. `entity` is the prefix before the dot, empty for the listed entity itself."""

    function: Function
    entity: str
    column: str
    values: tuple[str, ...]

    @property
    def field(self) -> str:
        """The field as written."""
        return f"{self.entity}.{self.column}" if self.entity else self.column

    def __str__(self) -> str:
        return f"{self.function.value}({self.field},{';'.join(self.values)})"


def parse_filters(text: str) -> tuple[Filter, ...]:
    """The conditions of a request's `filters`, all of which must hold; empty text gives none.

    Raises ApiError INVALID_ARGUMENT: `invalid value for filters`, `unrecognized filter function: x` or
    `'a.b.c' is invalid filter`.
    """
    if not text:
        return ()
    if "\0" in text:
        raise invalid_value("filters")
    parts = text.split("+")
    if len(parts) > FILTERS_MAX:
        raise invalid_argument(f"invalid value for filters: at most {FILTERS_MAX} conditions are allowed")
    return tuple(_expression(part.strip()) for part in parts)


def _expression(text: str) -> Filter:
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise invalid_value("filters")
    name, field, value = match.groups()
    try:
        function = Function(name)
    except ValueError:
        raise invalid_argument(f"unrecognized filter function: {name}") from None
    entity, _, column = field.rpartition(".")
    if not column or "." in entity or (not entity and "." in field):
        raise invalid_argument(f"'{field}' is invalid filter")
    values = tuple(value.split(";")) if function in LISTS else (value,)
    return Filter(function, entity, column, values)
